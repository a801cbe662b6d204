#!/usr/bin/env bash
# Installs the clients of Flight SQL that tests use, and prints where: a folder with `venv` (ADBC's Flight SQL driver, pyarrow, pandas, polars)
# and `flight-sql-jdbc-driver.jar`. Outside the checkout, so that they are installed once on a machine.
set -euo pipefail

version=1
jdbc=18.3.0
cache=${SPARKGATE_CACHE:-$HOME/.cache/sparkgate}
home=$cache/flight-clients-$version
log=$home.log

fail() {
  echo "the clients of Flight SQL could not be installed: $*" >&2
  exit 1
}

# Written last: without it an installation was interrupted.
complete=$home/.complete

if [ ! -e "$complete" ]; then
  command -v python3 >/dev/null || fail "python3 is missing; it needs 3.10 or newer"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$(python3 --version) is too old; it needs 3.10 or newer"
  command -v mvn >/dev/null || fail "mvn is missing (package maven)"
  command -v javac >/dev/null || fail "javac is missing (package default-jdk-headless)"
  mkdir -p "$cache"
  # Two test runs must not install into one folder at a time.
  exec 9>"$home.lock"
  flock 9
  if [ ! -e "$complete" ]; then
    rm -rf "$home"
    mkdir "$home"
    python3 -m venv "$home/venv" >"$log" 2>&1 || fail "python3 -m venv failed (package python3-venv?); see $log"
    # What they depend on is pinned too: a test fails for what changed here.
    "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      adbc-driver-flightsql==1.13.0 adbc-driver-manager==1.13.0 duckdb==2.0.0 numpy==2.4.6 pandas==3.1.1 \
      polars==2.1.0 polars-runtime-32==2.1.0 psycopg==3.3.9 psycopg-binary==3.3.9 pyarrow==26.0.1 \
      python-dateutil==4.0.0 typing_extensions==4.16.0 tzdata==2026.6 >>"$log" 2>&1 || fail "pip failed: $(tail -n 1 "$log") (all of it in $log)"
    mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
      "-Dartifact=org.apache.arrow:flight-sql-jdbc-driver:$jdbc" "-DoutputDirectory=$home" -Dmdep.stripVersion=true \
      >>"$log" 2>&1 || fail "Maven failed: $(tail -n 1 "$log") (all of it in $log)"
    [ -e "$home/flight-sql-jdbc-driver.jar" ] || fail "Maven copied no flight-sql-jdbc-driver.jar; see $log"
    touch "$complete"
  fi
fi
echo "$home"
