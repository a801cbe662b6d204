#!/usr/bin/env bash
# start DIRECTORY PORT [CERTIFICATE KEY]: versitygw, an S3 server over a directory, on 127.0.0.1; key rigkey, secret rigsecret123, bucket `logs`, whose objects
# are the files below DIRECTORY/data/logs.  stop DIRECTORY
# install: builds it, once on a machine (about five minutes of CPU). Go has caches of its own for modules and builds.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

version=1.8.0
server=$cache/versitygw-$version/versitygw

install() {
  GOBIN=$1 GOFLAGS=-buildvcs=false nice go install "github.com/versity/versitygw/cmd/versitygw@v$version"
}

start() {
  # A directory below the root of the server is a bucket; metadata lie beside it, because not every file system has extended attributes.
  mkdir -p "$1/data/logs" "$1/meta"
  ROOT_ACCESS_KEY=rigkey ROOT_SECRET_KEY=rigsecret123 nohup nice "$server" --port "127.0.0.1:$2" --region us-east-1 --health /health \
    ${3:+--cert "$3" --key "$4"} posix --sidecar "$1/meta" "$1/data" >"$1/log" 2>&1 9>&- </dev/null &
  echo $! >"$1/pid"
  for _ in $(seq 100); do
    if curl -sfk -o /dev/null "http${3:+s}://127.0.0.1:$2/health"; then return; fi
    kill -0 "$(cat "$1/pid")" 2>/dev/null || fail "it ended: $(tail -n 5 "$1/log")"
    sleep 0.1
  done
  fail "it did not start within 10 s; see $1/log"
}

need go golang
case $1 in
  install | start) once "versitygw-$version" install ;;
esac
case $1 in
  start) need curl curl && start "${@:2}" ;;
  stop) kill "$(cat "$2/pid")" ;;
esac
