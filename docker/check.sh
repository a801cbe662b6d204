#!/usr/bin/env bash
# Runs what the files of this folder say, as far as that goes without a container engine: the build's files are complete, the gateway starts
# over an S3 server with the arguments, variables and scripts of compose.yaml, asks for a password, and the health check tells ready from not.
# Not run: the images themselves, `apt-get` and `useradd` in them, and the network between containers.
# PROGRAM is the gateway to take (default: the debug build).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
program=${PROGRAM:-${CARGO_TARGET_DIR:-$checkout/target}/debug/sparkgate}
work=$(mktemp -d)
gateway=
finish() {
  [ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true
  [ ! -e "$work/s3/pid" ] || "$checkout/tests/rigs/s3.sh" stop "$work/s3" || true
  rm -rf "$work"
}
trap finish EXIT
step() { echo "== $*"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

step "what the build stage copies is a whole package"
mkdir -p "$work/src/tests/it"
grep -E '^COPY [^-]' "$here/Dockerfile" | grep -v health.sh | while read -r _ rest; do
  read -ra words <<<"$rest"
  target=${words[-1]}
  unset 'words[-1]'
  for file in "${words[@]}"; do
    if [ "$target" = ./ ]; then cp -r "$checkout/$file" "$work/src/"; else cp -r "$checkout/$file" "$work/src/$target"; fi
  done
done
(cd "$work/src" && cargo metadata --locked --offline --no-deps --format-version 1 >/dev/null)
# Files that the code takes in must be among them.
(cd "$work/src" && grep -rhoE 'include_str!\("[^"]+"\)' src | wc -l | grep -qv '^0$')

step "compose.yaml: an S3 server with the sample logs"
s3_port=$(free_port)
mkdir -p "$work/s3/data/logs"
cp -r "$checkout/tests/fixtures/logs" "$work/s3/data/logs/spark-events"
"$checkout/tests/rigs/s3.sh" start "$work/s3" "$s3_port"

step "compose.yaml: the gateway, with its command and its variables"
pg_port=$(free_port) http_port=$(free_port)
mkdir -p "$work/bin" "$work/home"
ln -s "$program" "$work/bin/sparkgate"
# The variables as they stand in the file, but for the server's address and keys, which are the rig's.
variables=$(sed -n '/^  gateway:/,/^volumes:/p' "$here/compose.yaml" | sed -nE 's/^      ([A-Z][A-Z0-9_]*): "?([^"]*)"?$/\1=\2/p')
variables=$(sed -e "s|^SPARKGATE_S3__ENDPOINT=.*|SPARKGATE_S3__ENDPOINT=http://127.0.0.1:$s3_port|" \
  -e 's|^SPARKGATE_S3__ACCESS_KEY_ID=.*|SPARKGATE_S3__ACCESS_KEY_ID=rigkey|' \
  -e 's|^SPARKGATE_S3__SECRET_ACCESS_KEY=.*|SPARKGATE_S3__SECRET_ACCESS_KEY=rigsecret123|' <<<"$variables")
source=$(sed -nE 's/^    command: \["(s3:[^"]*)"\]$/\1/p' "$here/compose.yaml")
(
  cd "$work/home"
  exec env -i PATH="$work/bin:$PATH" HOME="$work/home" XDG_CACHE_HOME="$work/home/cache" DEMO_ADDRESS=127.0.0.1 DEMO_PG_PORT="$pg_port" \
    DEMO_HTTP_PORT="$http_port" $variables sh "$here/start.sh" "$source"
) >"$work/out" 2>"$work/err" &
gateway=$!

step "the health check says when it is ready"
if "$here/health.sh" "$(free_port)" 2>/dev/null; then echo "health.sh takes a closed port for a gateway" >&2; exit 1; fi
for _ in $(seq 600); do
  if "$here/health.sh" "$http_port" 2>/dev/null; then break; fi
  kill -0 "$gateway" || { cat "$work/err" >&2; exit 1; }
  sleep 0.1
done
"$here/health.sh" "$http_port"
applications=$(curl -sf "http://127.0.0.1:$http_port/api/v1/applications" | grep -c '"id" : ')
[ "$applications" -gt 20 ] || { echo "$applications applications" >&2; exit 1; }

step "who comes from elsewhere needs the password"
grep -q spark "$work/home/users"
if grep -q "$(sed -nE 's/^      DEMO_PASSWORD: (.*)$/\1/p' "$here/compose.yaml")\$" "$work/home/users"; then echo "the password lies in the users file" >&2; exit 1; fi
echo "checked; $applications applications"
