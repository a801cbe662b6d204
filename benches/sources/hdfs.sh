#!/usr/bin/env bash
# Ingest from HDFS beside local disk: the same binary, the same logs, in turns.
#
#   benches/sources/hdfs.sh BINARY LOGS OUTFILE [WORD...]
#
# BINARY is the optimised sparkgate, LOGS a directory of event logs (benches/README.md makes some), OUTFILE gets one line of JSON for each
# turn. WORDs are those of tests/rigs/hdfs.sh run: `kerberos privacy` measures encryption, `dn=3` more DataNodes. TURNS (3) turns each.
# NameNode and DataNodes run on this machine too, and take their share of it: CPU seconds are those of the gateway alone.
set -euo pipefail

[ $# -ge 3 ] || { sed -n '2,/^set/{/^#/p}' "$0"; exit 2; }
binary=$(realpath "$1") logs=$(realpath "$2") out=$(realpath "$3")
shift 3
rig=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/tests/rigs/hdfs.sh
work=$(mktemp -d)
mkfifo "$work/in"
# The blocks of a real cluster, not the small ones of the tests.
bash "$rig" run "$work/hdfs" dfs.blocksize=134217728 "$@" <"$work/in" >"$work/ready" 2>"$work/errors" &
exec 3>"$work/in"
trap 'exec 3>&-; wait; rm -rf "$work"' EXIT
until grep -q ready "$work/ready"; do
  jobs -r | grep -q . || { cat "$work/errors" >&2; exit 1; }
  sleep 0.2
done
control=$(sed -n 's/^ready //p' "$work/ready")
bash "$rig" command "$control" put "$logs" /logs >/dev/null
bash "$rig" command "$control" chmod /logs 755 >/dev/null

export HADOOP_CONF_DIR=$work/hdfs/conf KRB5_CONFIG=$work/hdfs/krb/krb5.conf
if [ -e "$work/hdfs/gateway.keytab" ]; then
  export SPARKGATE_HDFS__KERBEROS_PRINCIPAL=gateway@RIG.TEST SPARKGATE_HDFS__KERBEROS_KEYTAB=$work/hdfs/gateway.keytab
fi
bytes=$(du -sb "$logs" | cut -f 1)
measure() { # NAME SOURCE TURN
  local times
  sync
  TIMEFORMAT='%R %U %S'
  times=$({ time "$binary" ingest "$2" --cache "$work/cache" >/dev/null 2>"$work/errors"; } 2>&1) || { cat "$work/errors" >&2; exit 1; }
  rm -rf "$work/cache"
  awk -v name="$1" -v turn="$3" -v bytes="$bytes" -v words="$words" '{
    printf "{\"source\": \"%s\", \"turn\": %d, \"words\": \"%s\", \"wall_s\": %.2f, \"cpu_s\": %.2f, \"stored_mb\": %.1f, \"mb_per_s\": %.1f}\n",
      name, turn, words, $1, $2 + $3, bytes / 1e6, bytes / 1e6 / $1 }' <<<"$times" | tee -a "$out"
}
words=$*
: >"$out"
for turn in $(seq "${TURNS:-3}"); do
  measure local "$logs" "$turn"
  measure hdfs hdfs:///logs "$turn"
done
python3 - "$out" <<'EOF'
import json, statistics, sys
turns = [json.loads(line) for line in open(sys.argv[1])]
median = lambda source, field: statistics.median(t[field] for t in turns if t["source"] == source)
for field in ("wall_s", "cpu_s"):
    local, hdfs = median("local", field), median("hdfs", field)
    print(f"{field}: local {local:.2f}, hdfs {hdfs:.2f}; hdfs is at {100 * local / hdfs:.0f} % of local's speed")
EOF
