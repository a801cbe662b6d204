#!/usr/bin/env bash
# Measures REST of Sparkgate and of Spark's history server side by side over `many`, `medium` and `big`, one after the other.
#
#   benches/load/run.sh [CORPUS...]
#
# CORPORA (/tmp/load-corpora) holds the corpora; those that are missing are made. BINARY (target/release/sparkgate) is the server to
# measure, SERVERS ("sparkgate spark") which ones, RESULTS (benches/results/DATE-N-cores) where the figures go, BODIES a
# directory for one answer of each endpoint and server. Spark runs from the jars of pyspark 4.1.0 in a virtual environment, like
# tests/fixtures/make/record.sh. One server runs at a time; wall times mean something on an idle machine only.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-target}
corpora=${CORPORA:-/tmp/load-corpora}
binary=$(realpath -m "${BINARY:-$target/release/sparkgate}")
results=${RESULTS:-benches/results/$(date +%F)-$(nproc)-cores}
read -r -a servers <<<"${SERVERS:-sparkgate spark}"
[ $# -gt 0 ] || set -- many medium big

jars=
case " ${servers[*]} " in *" spark "*)
  venv=${SPARKGATE_CACHE:-$HOME/.cache/sparkgate}/pyspark-4.1.0
  if [ ! -e "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet pyspark==4.1.0
  fi
  jars=$(cd "$venv/lib/"python3.*/site-packages/pyspark/jars && pwd)
esac

mkdir -p "$corpora" "$results"
for corpus; do
  if [ ! -e "$corpora/$corpus.manifest.json" ]; then
    nice -n 10 cargo run --profile bench --example gen_corpus -- --preset "$corpus" --out "$corpora/$corpus"
  fi
  for server in "${servers[@]}"; do
    # Both find the logs in the page cache, so that the first server does not pay for the disk.
    cat "$corpora/$corpus"/* >/dev/null
    zip=()
    [ "$corpus" != big ] || zip=(--zip)
    python3 benches/load/load.py measure "$server" --corpus "$corpora/$corpus" --json "$results/load-$corpus-$server.json" \
      --sparkgate "$binary" --jars "$jars" "${zip[@]}" ${BODIES:+--bodies "$BODIES"}
  done
done
python3 benches/load/load.py report "$results" >"$results/load.md"
cat "$results/load.md"
