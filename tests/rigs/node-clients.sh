#!/usr/bin/env bash
# Installs node-postgres with its cursors and streams, as tests/clients/node/package-lock.json has them; prints their directory.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

checks=$(cd "$(dirname "${BASH_SOURCE[0]}")/../clients/node" && pwd)
version=$(cksum <"$checks/package-lock.json" | cut -d ' ' -f 1)

install() {
  cp "$checks/package.json" "$checks/package-lock.json" "$1"
  cd "$1"
  npm ci --silent --no-audit --no-fund --no-update-notifier
}

need node nodejs
need npm npm
once "node-clients-$version" install
echo "$cache/node-clients-$version/node_modules"
