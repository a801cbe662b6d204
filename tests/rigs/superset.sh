#!/usr/bin/env bash
# start DIRECTORY PORT: Apache Superset on 127.0.0.1, user admin with password admin, with its own data in SQLite.  stop DIRECTORY
# python: prints the path of the Python it runs in, which has psycopg2. The installation has 820 MB and takes five minutes of CPU.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=6.1.0
home=$cache/superset-$version

install() {
  # Superset does not run on every Python.
  for python in python3.11 python3.12 python3.10; do
    if command -v "$python" >/dev/null && "$python" -c ''; then break; fi
  done
  "$python" -m venv "$1"
  # flask-caching 2.4 does not fit; rich and cachetools are imported and not declared.
  nice "$1/bin/python" -m pip install --quiet --disable-pip-version-check "apache-superset==$version" 'flask-caching<2.4' rich cachetools psycopg2-binary==2.9.13
  # Its own database, empty, is made once and copied.
  export SUPERSET_DIRECTORY=$1/template
  mkdir -p "$SUPERSET_DIRECTORY"
  environment
  nice "$1/bin/superset" db upgrade
  nice "$1/bin/superset" fab create-admin --username admin --password admin --firstname a --lastname a --email admin@example.org
  nice "$1/bin/superset" init
}

environment() {
  export SUPERSET_CONFIG_PATH=$here/superset_config.py FLASK_APP=superset PYTHONPATH= PYTHONDONTWRITEBYTECODE=1
}

start() {
  export SUPERSET_DIRECTORY=$1
  mkdir -p "$1"
  cp "$home/template/superset.db" "$1"
  environment
  nohup nice "$home/bin/superset" run -h 127.0.0.1 -p "$2" --with-threads >"$1/log" 2>&1 9>&- </dev/null &
  echo $! >"$1/pid"
  for _ in $(seq 360); do
    if curl -sf "http://127.0.0.1:$2/health" >/dev/null; then return; fi
    kill -0 "$(cat "$1/pid")" 2>/dev/null || fail "it ended: $(tail -n 5 "$1/log")"
    sleep 0.5
  done
  fail "it did not start within 3 minutes; see $1/log"
}

case $1 in
  start)
    need curl curl
    once "superset-$version" install
    start "$2" "$3"
    ;;
  stop) kill "$(cat "$2/pid")" ;;
  python) once "superset-$version" install && echo "$home/bin/python" ;;
esac
