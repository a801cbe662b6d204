#!/usr/bin/env bash
# start DIRECTORY PORT: a throw-away PostgreSQL on 127.0.0.1 that trusts everybody on this machine.  stop DIRECTORY
# PostgreSQL 15 if the machine has it, else the newest it has; PGBIN names another directory of its programs.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

directory=$2
bin=${PGBIN:-/usr/lib/postgresql/15/bin}
[ -d "$bin" ] || bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -x "$bin/initdb" ] || fail "PostgreSQL's server is missing (Debian's package postgresql-15)"
[ -e "$("$bin/pg_config" --sharedir)/extension/postgres_fdw.control" ] || fail "postgres_fdw is missing (Debian's package postgresql-15)"

# PostgreSQL does not run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then
    runuser -u postgres -- "$@"
  else
    "$@"
  fi
}

case $1 in
  start)
    mkdir -p "$directory"
    [ "$(id -u)" != 0 ] || chown postgres "$directory"
    as_postgres "$bin/initdb" -D "$directory/data" -U postgres -A trust --no-sync >"$directory.log" 2>&1 || fail "$(tail -n 3 "$directory.log")"
    as_postgres "$bin/pg_ctl" -D "$directory/data" -w -l "$directory/log" \
      -o "-h 127.0.0.1 -p $3 -k $directory -c fsync=off -c max_parallel_workers=0" start >>"$directory.log" 2>&1 || fail "$(tail -n 3 "$directory/log")"
    ;;
  stop)
    as_postgres "$bin/pg_ctl" -D "$directory/data" -w -m immediate stop >/dev/null
    ;;
esac
