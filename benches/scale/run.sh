#!/usr/bin/env bash
# Measures a column cache of very many applications and tasks; what each figure is: benches/scale/README.md.
#
#   benches/scale/run.sh BINARY OUTDIR [--small] [STEP...]
#
# BINARY is the optimised sparkgate, OUTDIR where scale-STEP.json and scale.md go (benches/results/DATE-N-cores), STEP one of ingest,
# start, queries, scan, rest, memory (all of them, in this order). CORPORA (/tmp/scale-corpora) holds the corpora and their caches; those
# that are missing are made. With --small they are a fiftieth of the size and lie in CORPORA/small.
# GENERATOR is a gen_corpus that is built already. psycopg and duckdb come from PyPI into a virtual environment below
# SPARKGATE_CACHE (~/.cache/sparkgate). Wall times mean something on an idle machine only.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,/^set/{/^#/p}' "$0"; exit 2; }
binary=$(realpath "$1") out=$2
shift 2
small=
if [ "${1:-}" = --small ]; then
  small=1
  shift
fi
[ $# -gt 0 ] || set -- ingest start queries scan rest memory
mkdir -p "$out"
out=$(realpath "$out")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
corpora=${CORPORA:-/tmp/scale-corpora}${small:+/small}
mkdir -p "$corpora"

venv=${SPARKGATE_CACHE:-$HOME/.cache/sparkgate}/scale
if ! "$venv/bin/python" -c 'import duckdb, psycopg' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet 'psycopg[binary]==3.3.9' duckdb==2.0.0
fi

make() { # NAME OPTION...
  local name=$1
  shift
  [ ! -e "$corpora/$name.manifest.json" ] || return 0
  if [ -z "${GENERATOR:-}" ]; then
    nice -n 10 cargo rustc --quiet --example gen_corpus -- -C opt-level=3
    GENERATOR=${CARGO_TARGET_DIR:-target}/debug/examples/gen_corpus
  fi
  rm -rf "${corpora:?}/$name"
  nice -n 10 "$GENERATOR" "$@" --out "$corpora/$name"
}

for step; do
  case $step in
  ingest | start | queries)
    make mix --preset mix ${small:+--apps 2000} ;;
  esac
  case $step in
  ingest | scan | rest)
    make scan --preset scan ${small:+--tasks 300000} ;;
  memory)
    make one --preset big --codec zstd ${small:+--tasks 20000}
    make ten --preset big --codec zstd --jobs 200 --stages 600 --tasks "$([ -n "$small" ] && echo 200000 || echo 2000000)" ;;
  esac
done
for step; do
  case $step in
  ingest) of=(mix scan) ;;
  start | queries) of=(mix) ;;
  scan | rest) of=(scan) ;;
  memory) of=(one ten) ;;
  esac
  "$venv/bin/python" benches/scale/scale.py "$step" "${of[@]/#/$corpora/}" --binary "$binary" --out "$out" \
    ${small:+--runs 40 --scans 3 --starts 2}
done
"$venv/bin/python" benches/scale/scale.py report --out "$out"
