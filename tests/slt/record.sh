#!/usr/bin/env bash
# Asks a PostgreSQL 15 for the answers that tests/slt expects, and writes them into the files. Run it after adding a statement:
#   tests/slt/record.sh "host=127.0.0.1 port=5432 user=rig password=rig dbname=rig"
# The tables that the statements name are made in that database first, from this program's own answers over the logs of the tests.
# Where we differ on purpose, a record has `-- differs: why` above `query`, and keeps both answers; what PostgreSQL has not at all,
# `-- only here: why`.
set -euo pipefail
cd "$(dirname "$0")/../.."
postgresql=${1:?a connection string of a PostgreSQL 15}
work=$(mktemp -d)
# As tests build it: `cargo build` builds libraries with other features.
cargo test --quiet --no-run
program=${CARGO_TARGET_DIR:-target}/debug/sparkgate
"$program" serve tests/fixtures/logs --pg 127.0.0.1:0 --http off --flight off --cache "$work/cache" >"$work/ready" 2>"$work/log" &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT
until grep -q '^ready' "$work/ready"; do sleep 0.2; done
port=$(sed -n 's/.*pg=127\.0\.0\.1:\([0-9]*\).*/\1/p' "$work/ready")
ours="host=127.0.0.1 port=$port user=test dbname=spark"
for table in applications stages tasks jobs environment; do
  columns=$(psql "$ours" -Atc "select string_agg(quote_ident(column_name) || ' ' || case when udt_name like '\\_%' then substr(udt_name, 2) || '[]' else udt_name end, ', ' order by ordinal_position) from information_schema.columns where table_schema = 'public' and table_name = '$table'")
  psql "$postgresql" -qc "drop table if exists $table" -c "create table $table ($columns)"
  psql "$ours" -qc "\\copy (select * from $table) to '$work/$table'"
  psql "$postgresql" -qc "\\copy $table from '$work/$table'"
done
SPARKGATE_SLT_RECORD="$postgresql" cargo test --test it slt::statements_answer_as
git diff --stat tests/slt
