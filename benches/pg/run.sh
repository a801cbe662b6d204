#!/usr/bin/env bash
# Measures the PostgreSQL door beside a PostgreSQL 15 that holds the same rows; what each figure is: benches/pg/README.md.
#
#   benches/pg/run.sh BINARY OUTDIR [STEP...]
#
# BINARY is the optimised sparkgate, OUTDIR where pg-STEP.json and pg.md go (benches/results/DATE-N-cores), STEP one of connect, point, rows,
# group, describe, load (all of them, in this order). CORPORA (/tmp/load-corpora, as benches/load makes it) holds big, medium and many.
# PostgreSQL 15 comes from Debian's packages, psycopg from PyPI and pgjdbc from Maven's repository, both below SPARKGATE_CACHE. Wall times
# mean something on an idle machine only.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,/^set/{/^#/p}' "$0"; exit 2; }
binary=$(realpath "$1") out=$2
shift 2
[ $# -gt 0 ] || set -- connect point rows group describe load
mkdir -p "$out"
out=$(realpath "$out")
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
corpora=$(realpath "${CORPORA:-/tmp/load-corpora}")
for corpus in big medium many; do
  [ -d "$corpora/$corpus" ] || { echo "$corpora/$corpus is missing: benches/load/run.sh makes it" >&2; exit 1; }
done
bin=${PGBIN:-/usr/lib/postgresql/15/bin}
[ -x "$bin/postgres" ] || { echo "PostgreSQL 15 is missing: install the package postgresql-15" >&2; exit 1; }

cache=${SPARKGATE_CACHE:-$HOME/.cache/sparkgate}
if ! "$cache/pg-bench/bin/python" -c 'import psycopg' 2>/dev/null; then
  python3 -m venv "$cache/pg-bench"
  "$cache/pg-bench/bin/pip" install --quiet 'psycopg[binary]==3.3.9'
fi
jar=$cache/pg-bench/postgresql-42.7.13.jar
[ -e "$jar" ] || mvn -q -B dependency:copy -Dartifact=org.postgresql:postgresql:42.7.13 -DoutputDirectory="$cache/pg-bench"

work=$(mktemp -d /tmp/pg-bench.XXXXXX)
stop() {
  [ ! -s "$work/gateway.pid" ] || kill "$(cat "$work/gateway.pid")" 2>/dev/null || true
  [ ! -s "$work/data/postmaster.pid" ] || kill -INT "$(head -1 "$work/data/postmaster.pid")" 2>/dev/null || true
  sleep 1
  rm -rf "$work"
}
trap stop EXIT

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$work/server.key" -out "$work/server.pem" 2>/dev/null

# The gateway: a user with a password, TLS, room for the load.
printf 'secret\n' | "$binary" user add bench --role admin --users-file "$work/users" >/dev/null
cat > "$work/sparkgate.toml" <<X
[pg]
max_connections = 250
[auth]
users_file = "$work/users"
rules = ["host all all all scram-sha-256"]
[tls]
certificate = "$work/server.pem"
key = "$work/server.key"
X
"$binary" ingest "$corpora/big" "$corpora/medium" "$corpora/many" --cache "$work/cache" > "$work/ingest.log" 2>&1
"$binary" serve "$corpora/big" "$corpora/medium" "$corpora/many" --config "$work/sparkgate.toml" --cache "$work/cache" \
  --pg 127.0.0.1:0 --flight off --http off > "$work/ready" 2> "$work/gateway.log" &
echo $! > "$work/gateway.pid"
until grep -q ready "$work/ready"; do sleep 0.2; kill -0 "$(cat "$work/gateway.pid")"; done
gateway_port=$(sed -n 's/.*pg=[0-9.]*:\([0-9]*\).*/\1/p' "$work/ready")

# PostgreSQL with what it needs to be at its best on such a machine.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
mkdir "$work/data"
echo secret > "$work/password"
cp "$work/server.key" "$work/pg.key"
chmod 755 "$work"
chmod 600 "$work/pg.key"
[ "$(id -u)" != 0 ] || chown postgres "$work/data" "$work/pg.key" "$work/password"
as_postgres "$bin/initdb" -D "$work/data" -U bench --pwfile="$work/password" -A scram-sha-256 > /dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >> "$work/data/postgresql.conf" <<X
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 250
shared_buffers = 2GB
work_mem = 64MB
fsync = off
ssl = on
ssl_cert_file = '$work/server.pem'
ssl_key_file = '$work/pg.key'
X
as_postgres "$bin/pg_ctl" -D "$work/data" -l "$work/data/log" -w start > /dev/null

JAR=$jar GATEWAY_PID=$(cat "$work/gateway.pid") "$cache/pg-bench/bin/python" "$here/pg.py" "$gateway_port" "$port" "$out" "$@"
