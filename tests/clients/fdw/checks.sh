#!/usr/bin/env bash
# postgres_fdw of a real PostgreSQL on CHECK_POSTGRES_PORT: the gateway's tables as foreign tables.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../report.sh"

# The local PostgreSQL: unaligned rows.
local_sql() {
  timeout 120 psql -X -q -h 127.0.0.1 -p "$CHECK_POSTGRES_PORT" -U postgres -d postgres -v ON_ERROR_STOP=1 -At "$@" 2>&1
}

# The gateway.
gateway_sql() {
  timeout 120 psql -X -q -h "$CHECK_HOST" -p "$CHECK_PORT" -U postgres -d spark -v ON_ERROR_STOP=1 -At "$@" 2>&1
}

# check NAME PATTERN SQL…: the output has a line that is the pattern.
check() {
  local name=$1 pattern=$2 output
  shift 2
  output=$(local_sql "${@/#/-c}")
  [ $? = 0 ] && grep -Eqx -- "$pattern" <<<"$output"
  report "$name" $? "$output"
}

# same NAME SQL [GATEWAY_SQL]: foreign tables and the gateway itself give the same rows, and some.
same() {
  local here there
  here=$(local_sql -c "set timezone = 'UTC'; set extra_float_digits = 1" -c "set search_path = public_, rollup_, advice_, system_" -c "$2")
  there=$(gateway_sql -c "${3:-$2}")
  [ -n "$here" ] && [ "$here" = "$there" ]
  report "$1" $? "$(diff <(echo "$here") <(echo "$there") | head -n 6)"
}

# pushed NAME REMOTE_SQL SQL: what is sent to the gateway has this pattern.
pushed() {
  local plan
  plan=$(local_sql -c "set search_path = public_" -c "explain (verbose, costs off) $3")
  grep 'Remote SQL' <<<"$plan" | grep -Eq -- "$2"
  report "$1" $? "$plan"
}

# fails NAME SQLSTATE SQL
fails() {
  local output
  output=$(local_sql -v VERBOSITY=verbose -c "set search_path = public_" -c "$3")
  grep -q "ERROR:  $2" <<<"$output"
  report "$1" $? "$output"
}

setup=$(local_sql <<SQL
create extension postgres_fdw;
create server gateway foreign data wrapper postgres_fdw
  options (host '$CHECK_HOST', port '$CHECK_PORT', dbname 'spark', fetch_size '100');
create user mapping for postgres server gateway options (user 'postgres', password_required 'false');
create schema public_; create schema rollup_; create schema advice_; create schema system_;
SQL
)
report 'the extension, the server, its user' $? "$setup"

for schema in public rollup advice system; do
  check "IMPORT FOREIGN SCHEMA $schema" 'done' "import foreign schema $schema from server gateway into ${schema}_" "select 'done'"
done

# Every table: names and types of columns, which are not null, and every value.
python3 - "$CHECK_TABLES" >"${TMPDIR:-/tmp}/fdw-tables.$$" <<'PY'
import json, sys

for table in json.load(open(sys.argv[1])):
    print("\t".join([table["schema"], table["name"], str(table["is_live"]), ",".join(f'{c["name"]}:{c["type"]}' for c in table["columns"]), table["sql"]]))
PY
trap 'rm -f "${TMPDIR:-/tmp}/fdw-tables.$$"' EXIT
while IFS=$'\t' read -r schema name is_live columns sql; do
  check "columns of $schema.$name" "$(sed 's/[][]/\\&/g' <<<"$columns")" \
    "select string_agg(attname || ':' || format_type(atttypid, atttypmod), ',' order by attnum) from pg_attribute where attrelid = '${schema}_.$name'::regclass and attnum > 0"
  # Its rows are others a moment later.
  [ "$is_live" = False ] || continue
  # Rows are sorted here, byte by byte as the gateway does.
  here=$(local_sql -c "set timezone = 'UTC'" -c "copy (select * from ${schema}_.$name) to stdout" | sed 's/": /":/g; s/, "/,"/g' | LC_ALL=C sort)
  there=$(gateway_sql -c "copy (select * from $schema.$name) to stdout" | sed 's/": /":/g; s/, "/,"/g' | LC_ALL=C sort)
  [ -n "$here" ] && [ "$(wc -l <<<"$here")" = "$(gateway_sql -c "select count(*) from $schema.$name")" ]
  report "rows of $schema.$name" $? "$(wc -l <<<"$here") rows: ${here:0:300}"
  if ! grep -q jsonb <<<"$columns"; then
    [ "$here" = "$there" ]
    report "every value of $schema.$name" $? "$(diff <(echo "$here") <(echo "$there") | head -n 4 | cut -c 1-600)"
  else
    # jsonb is written in an order of its own by each server; PostgreSQL compares it.
    while IFS= read -r column; do
      here=$(local_sql -c "select md5(string_agg(v, '|' order by v)) from (select ${column}::text v from ${schema}_.$name) q")
      there=$(local_sql -c "create temp table there (v jsonb)" -c "\\copy there from program 'psql -X -q -h $CHECK_HOST -p $CHECK_PORT -U postgres -d spark -c \"copy (select $column from $schema.$name) to stdout\"'" \
        -c "select md5(string_agg(v::text, '|' order by v::text)) from there")
      [ -n "$here" ] && [ "$here" = "$there" ]
      report "every value of $schema.$name.$column" $? "$here and not $there"
    done < <(tr ',' '\n' <<<"$columns" | sed -n 's/:jsonb$//p')
  fi
done <"${TMPDIR:-/tmp}/fdw-tables.$$"

# Rows that travel cost what they cost on a network, so that the planner has a reason to let the gateway work.
check 'what a row costs to fetch' 'done' "alter server gateway options (add fdw_tuple_cost '5')" \
  'analyze public_.jobs' 'analyze public_.applications' 'analyze public_.sql_executions' "select 'done'"
same 'a filter on text, number, instant and boolean' \
  "select app_id, duration_ms from applications where duration_ms > 5 and app_id <> 'x' and start_time > '2020-01-01 00:00:00+00' and completed order by 1"
pushed 'a filter is pushed down' "WHERE .*duration_ms > 5.*app_id <> 'x'|WHERE .*app_id <> 'x'.*duration_ms > 5" \
  "select app_id from applications where duration_ms > 5 and app_id <> 'x'"
same 'in, like, is null, between, or' \
  "select app_id, job_id from jobs where (job_id in (1, 2) or name like 'count%') and description is null and job_id between 0 and 100 order by 1, 2"
pushed 'in and like are pushed down' 'ANY|IN ' "select app_id from jobs where job_id in (1, 2) and name like 'count%'"
same 'aggregates' "select count(*), max(duration_ms), min(duration_ms), sum(num_tasks), count(distinct app_id) from jobs"
pushed 'aggregates are pushed down' 'SELECT count\(\*\), max\(duration_ms\)' "select count(*), max(duration_ms) from jobs"
same 'group by, having' "select status, count(*), sum(num_tasks) from jobs group by status having count(*) > 1 order by 1"
pushed 'group by is pushed down' 'GROUP BY' "select status, count(*) from jobs group by status"
same 'an average' "select status, round(avg(duration_ms), 3) from jobs group by status order by 1"
same 'order by and limit' "select app_id, job_id from jobs order by app_id desc, job_id limit 7"
pushed 'order by and limit are pushed down' 'ORDER BY .* LIMIT' "select app_id, job_id from jobs order by job_id desc limit 7"
same 'a join of foreign tables' \
  "select j.app_id, j.job_id, e.execution_id, e.status from jobs j join sql_executions e on e.app_id = j.app_id and e.attempt_id = j.attempt_id and e.execution_id = j.execution_id order by 1, 2, 3, 4"
pushed 'a join is pushed down' 'INNER JOIN' \
  "select j.job_id, e.status from jobs j join sql_executions e on e.app_id = j.app_id and e.attempt_id = j.attempt_id and e.execution_id = j.execution_id"
same 'an outer join' "select a.app_id, count(j.job_id) from applications a left join jobs j on j.app_id = a.app_id group by 1 order by 1"
pushed 'an outer join is pushed down' 'LEFT JOIN' "select a.app_id, j.job_id from applications a left join jobs j on j.app_id = a.app_id"
pushed 'a semi-join or its parts are pushed down' 'FROM public' "select app_id from applications a where exists (select 1 from jobs j where j.app_id = a.app_id)"
same 'a semi-join' "select app_id from applications a where exists (select 1 from jobs j where j.app_id = a.app_id and j.status = 'FAILED') order by 1"
same 'subscripts and functions of arrays' "select app_id, job_id, stage_ids[1], array_length(stage_ids, 1) from jobs order by 1, 2"
same 'parts of instants' "select app_id, date_trunc('hour', start_time), extract(epoch from start_time) from applications order by 1"

check 'a join with a local table, key by key' '3' 'create table chosen as select app_id from public_.applications limit 3' \
  'set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off' \
  'select count(*) from chosen join public_.applications using (app_id)'
check 'analyze counts the rows of a foreign table' "$(gateway_sql -c 'select count(*) from stages')" 'analyze public_.stages' \
  "select reltuples from pg_class where oid = 'public_.stages'::regclass"
check 'use_remote_estimate asks with EXPLAIN' "$(gateway_sql -c 'select count(*) from jobs where job_id > 1')" \
  "alter server gateway options (add use_remote_estimate 'true')" 'select count(*) from public_.jobs where job_id > 1' \
  "alter server gateway options (drop use_remote_estimate)"
local_sql -c "alter server gateway options (drop use_remote_estimate)" >/dev/null
check 'a cursor through the wrapper' '5' 'begin; declare c cursor for select job_id from public_.jobs; move 5 in c; fetch 5 from c; commit' "select 5"
check 'transactions and savepoints' '1' 'begin; select count(*) from public_.jobs; savepoint a; select 1 from public_.jobs limit 1; rollback to a; select 1; release a; commit' 'select 1'
check 'a failed statement in a savepoint leaves the remote transaction usable' 't' "do \$\$ begin
    perform 1 / (job_id - job_id) from public_.jobs; raise exception 'no error';
  exception when division_by_zero then null; end \$\$" "select count(*) > 0 from public_.jobs"
fails 'writing is refused by the gateway: insert' 25006 "insert into jobs (app_id, attempt_id, job_id) values ('x', '', 1)"
fails 'writing is refused by the gateway: update' 25006 "update jobs set job_id = 1"
fails 'writing is refused by the gateway: delete' 25006 "delete from jobs"
fails 'a statement that is cancelled ends at the gateway' 57014 "set statement_timeout = 1000; \
  select count(*) from tasks a, tasks b, tasks c, tasks d where a.task_id + b.task_id + c.task_id + d.task_id = -1"
check 'two connections at a time, async_capable' 't' "alter server gateway options (add async_capable 'true')" \
  'select (select count(*) from (select app_id from public_.jobs union all select app_id from public_.stages) q) = (select count(*) from public_.jobs) + (select count(*) from public_.stages)'

login=$(local_sql <<SQL
create server secure foreign data wrapper postgres_fdw
  options (host '$CHECK_HOST', port '$CHECK_PORT', dbname 'spark', sslmode 'verify-full', sslrootcert '$CHECK_CA');
create user mapping for postgres server secure options (user '$CHECK_USER', password \$p\$$CHECK_PASSWORD\$p\$);
create schema secure;
import foreign schema public limit to (jobs) from server secure into secure;
select count(*) from secure.jobs;
SQL
)
[ $? = 0 ] && grep -qx "$(gateway_sql -c 'select count(*) from jobs')" <<<"$login"
report 'log-in with SCRAM over TLS that is verified' $? "$login"

echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
