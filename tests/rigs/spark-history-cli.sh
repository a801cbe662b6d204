#!/usr/bin/env bash
# Installs spark-history-cli, a command-line client of Spark's history server that others wrote, and prints the path of the command.
# Outside the checkout, so that it is installed once on a machine.
set -euo pipefail

version=1.5.0
cache=${SPARKGATE_CACHE:-$HOME/.cache/sparkgate}
venv=$cache/spark-history-cli-$version
command=$venv/bin/spark-history-cli
log=$venv.log

fail() {
  echo "spark-history-cli $version could not be installed: $*" >&2
  exit 1
}

# Written last: without it an installation was interrupted.
complete=$venv/.complete

if [ ! -e "$complete" ]; then
  command -v python3 >/dev/null || fail "python3 is missing; it needs 3.10 or newer"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$(python3 --version) is too old; it needs 3.10 or newer"
  mkdir -p "$cache"
  # Two test runs must not install into one folder at a time.
  exec 9>"$venv.lock"
  flock 9
  if [ ! -e "$complete" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >"$log" 2>&1 || fail "python3 -m venv failed (package python3-venv?); see $log"
    # What it depends on is pinned too: a test fails for what changed here.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "spark-history-cli==$version" \
      click==8.5.1 requests==2.34.2 prompt-toolkit==3.0.53 certifi==2026.10.18 charset-normalizer==3.5.2 idna==3.20 \
      urllib3==2.8.0 wcwidth==0.9.4 >>"$log" 2>&1 || fail "pip failed: $(tail -n 1 "$log") (all of it in $log)"
    touch "$complete"
  fi
fi
echo "$command"
