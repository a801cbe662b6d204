#!/usr/bin/env bash
# The second test command: a real Trino and a real Superset over the gateway, one after the other. Downloads 1.6 GB the first time (20 minutes
# of two cores), wants 2 GB of memory; what it needs of a machine is said when it is missing. Ends with `N passed, M failed`.
# The result of the last run is in docs/clients.md; `bi.sh --record` writes it there.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${SPARKGATE_CACHE:-$HOME/.cache/sparkgate}/target}

output=$(mktemp)
trap 'rm -f "$output"' EXIT
cargo test --test it -- --ignored --exact --test-threads 1 clients::trino clients::superset 2>&1 | tee "$output"
failed=${PIPESTATUS[0]}

# `Trino: 120 passed, 0 failed, 2 known gaps`, or `Trino: 119 passed, 1 failed`.
lines=$(grep -oE '(Trino|Superset): [0-9]+ passed, [0-9]+ failed.*' "$output" | sort -u)
passed=$(sed -E 's/^[^:]*: ([0-9]+) passed.*/\1/' <<<"$lines" | awk '{ sum += $1 } END { print sum + 0 }')
failures=$(sed -E 's/.* ([0-9]+) failed.*/\1/' <<<"$lines" | awk '{ sum += $1 } END { print sum + 0 }')
if [ "$(grep -c . <<<"$lines")" != 2 ] || { [ "$failed" != 0 ] && [ "$failures" = 0 ]; }; then
  failures=$((${failures:-0} + 1))
fi
closing="${passed:-0} passed, $failures failed"

if [ "${1:-}" = --record ]; then
  changed=$(git status --porcelain | grep -q . && echo ', with changes that are not committed')
  sed -i '/^<!-- last run -->$/,$d' docs/clients.md
  {
    echo '<!-- last run -->'
    echo "$(date -u '+%Y-%m-%d %H:%M UTC'), commit $(git rev-parse --short HEAD)$changed:"
    echo
    sed 's/^/    /' <<<"$lines"
    echo "    $closing"
  } >>docs/clients.md
fi
echo "$closing"
[ "$failures" = 0 ]
