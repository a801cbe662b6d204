#!/usr/bin/env bash
# Builds the checks of pgx, a program of Go; prints its path. go.sum has the versions; Go has caches of its own for modules and builds.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

checks=$(cd "$(dirname "${BASH_SOURCE[0]}")/../clients/pgx" && pwd)
version=$(cat "$checks"/*.go "$checks"/go.* | cksum | cut -d ' ' -f 1)

install() {
  cd "$checks"
  go build -mod=readonly -o "$1/checks" .
}

need go golang
# From 1.21 on Go fetches the version that go.mod asks for.
go version | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])' || fail "$(go version) is too old; it needs 1.21 or newer (https://go.dev/dl)"
once "pgx-$version" install
echo "$cache/pgx-$version/checks"
