#!/usr/bin/env bash
# Installs the PostgreSQL clients of Python and prints the path of a Python that has them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/once.sh"

# What they depend on is pinned too: a test fails for what changed here.
packages="psycopg2-binary==2.9.13 psycopg==3.3.9 psycopg-binary==3.3.9 asyncpg==0.32.0 SQLAlchemy==2.1.9 pandas==3.1.1 \
  numpy==2.4.6 python-dateutil==4.0.0 typing_extensions==4.16.0 tzdata==2026.6"
version=$(cksum <<<"$packages" | cut -d ' ' -f 1)

install() {
  python3 -m venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check $packages
}

need python3 python3
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$(python3 --version) is too old; it needs 3.11 or newer"
once "python-clients-$version" install
echo "$cache/python-clients-$version/bin/python"
