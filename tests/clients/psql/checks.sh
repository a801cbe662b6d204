#!/usr/bin/env bash
# psql: its backslash commands, COPY in three formats, cursors, cancelling, errors, completion with Tab.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../report.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PGHOST=$CHECK_HOST PGPORT=$CHECK_PORT PGUSER=postgres PGDATABASE=spark PGCONNECT_TIMEOUT=20 PAGER=cat
many='select v::int from generate_series(1, 1000000) as g(v) order by 1'
endless='select sum(v) from generate_series(1, 100000000000) as g(v)'

# check NAME PATTERN COMMAND…: each command with -c; no error, and the pattern is in the output.
check() {
  local name=$1 pattern=$2 output commands=()
  shift 2
  for command in "$@"; do commands+=(-c "$command"); done
  output=$(timeout 60 psql -X -v ON_ERROR_STOP=1 -P pager=off "${commands[@]}" 2>&1)
  [ $? = 0 ] && ! grep -q 'ERROR:' <<<"$output" && grep -Eq -- "$pattern" <<<"$output"
  report "$name" $? "$output"
}

# script NAME PATTERN <SCRIPT
script() {
  local output
  output=$(timeout 60 psql -X -v ON_ERROR_STOP=1 -P pager=off -f - 2>&1)
  [ $? = 0 ] && ! grep -q 'ERROR:' <<<"$output" && grep -Eq -- "$2" <<<"$output"
  report "$1" $? "$output"
}

# is NAME EXPECTED SQL: exactly these unaligned rows.
is() {
  local output
  output=$(timeout 60 psql -X -At -c "$3" 2>&1)
  [ "$output" = "$2" ]
  report "$1" $? "$output"
}

# fails SQLSTATE COMMAND…
fails() {
  local state=$1 output commands=()
  shift
  for command in "$@"; do commands+=(-c "$command"); done
  output=$(timeout 60 psql -X -v VERBOSITY=verbose "${commands[@]}" 2>&1)
  grep -q "ERROR:  $state" <<<"$output"
  report "$state: $1" $? "$output"
}

# table NUMBER FIELD: of the tables that there have to be.
python3 - "$CHECK_TABLES" >"$scratch/tables" <<'PY'
import json, sys

for table in json.load(open(sys.argv[1])):
    columns = ",".join(f'{c["name"]}|{c["type"]}' for c in table["columns"])
    print("\t".join([table["schema"], table["name"], str(table["is_view"]), columns, table["sql"], table["rows"]]))
PY

output=$(psql -X -At "host=$CHECK_HOST user=$CHECK_USER password='$(sed "s/[\\\\']/\\\\&/g" <<<"$CHECK_PASSWORD")' sslmode=verify-full sslrootcert=$CHECK_CA channel_binding=require" -c 'select current_user' -c '\conninfo' 2>&1)
grep -qx "$CHECK_USER" <<<"$output" && grep -q 'SSL connection' <<<"$output"
report 'log-in with SCRAM over TLS that is verified, bound to the channel' $? "$output"
output=$(PGPASSWORD=wrong psql -X -w "user=$CHECK_USER sslmode=require" -c 'select 1' 2>&1)
grep -q 'password authentication failed' <<<"$output"
report 'a wrong password' $? "$output"

while IFS=$'\t' read -r schema name is_view columns sql rows; do
  output=$(psql -X -At -c "\\d $schema.$name" 2>&1)
  [ "$(cut -d '|' -f 1,2 <<<"$output" | grep '|' | head -n "$(tr ',' '\n' <<<"$columns" | wc -l)" | paste -sd, -)" = "$columns" ]
  report "\\d $schema.$name" $? "$output"
  # Every value, as text of the simple protocol and as COPY, in a zone of its own.
  PGTZ=America/New_York psql -X -At -c "copy ($sql) to stdout" >"$scratch/copied" 2>&1
  PGTZ=America/New_York psql -X -At -F $'\x1f' -R $'\x1e' -P null=$'\x1d' -c "$sql" >"$scratch/selected" 2>&1
  output=$(python3 values.py "$rows" "$columns" "$scratch/copied" "$scratch/selected" 2>&1)
  report "every value of $schema.$name" $? "$output"
done <"$scratch/tables"

for command in '\d' '\dt' '\dt+'; do check "$command" 'applications' "$command"; done
check '\dv advice.*' 'skewed_stages' '\dv advice.*'
check '\d *.*' 'skewed_stages' '\dtv *.*'
output=$(psql -X -c '\d nowhere' 2>&1)
grep -q 'Did not find any relation' <<<"$output"
report '\d nowhere' $? "$output"
for command in '\dn' '\dn+'; do check "$command" 'rollup' "$command"; done
for command in '\l' '\l+'; do check "$command" 'spark' "$command"; done
check '\du' 'List of roles' '\du'
check '\df' 'functions' '\df'
check '\df+ abs' 'abs' '\df+ pg_catalog.abs'
for command in '\dm' '\di' '\ds' '\dT' '\dT+ text' '\dx' '\dp' '\db' '\dC' '\dg' '\ddp' '\det' '\dy' '\dL' '\dF' '\dc' '\dO' '\do' '\da' '\dAc' '\dRp' '\dX' '\dconfig'; do
  check "$command" '.' "$command"
done
check '\dS pg_class' 'relname' '\dS pg_class'
check '\dd' '.' '\dd'
check '\sv of a view' 'advice.gc_pressure' '\sv advice.gc_pressure'
check '\conninfo' 'connected' '\conninfo'
check '\encoding' 'UTF8' '\encoding'
check '\timing' 'Time:' '\timing on' 'select 1'
check '\x' 'one +\| 1' '\x' 'select 1 as one'
printf '%s\n' 'select app_id, duration_ms from applications' '\gdesc' | script '\gdesc' 'duration_ms *\| bigint'
printf '%s\n' 'select 1 as one' '\gx' | script '\gx' 'one \| 1'
printf '%s\n' 'select count(*) as jobs from jobs' '\gset' '\echo there are :jobs' | script '\gset' 'there are [1-9]'
printf '%s\n' "select 'select ' || g from generate_series(41, 43) as g" '\gexec' | script '\gexec' '43'
printf '%s\n' 'select app_id, status, count(*) from jobs group by 1, 2' '\crosstabview' | script '\crosstabview' 'SUCCEEDED'
output=$( (echo 'select 42 as answer \watch 0.3'; sleep 1.5) | timeout 3 psql -X 2>&1)
[ "$(grep -c 42 <<<"$output")" -ge 2 ]
report '\watch' $? "$output"
printf '%s\n' 'select 1 \;' 'select 2;' '\echo :ROW_COUNT :ERROR :SQLSTATE' | script 'variables after a statement' '1 false 00000'
printf '%s\n' 'select * from nowhere;' '\echo :SQLSTATE :LAST_ERROR_SQLSTATE' >"$scratch/error"
output=$(psql -X -f "$scratch/error" 2>&1)
grep -q '42P01 42P01' <<<"$output"
report 'variables after an error' $? "$output"
is 'several statements in one string' $'1\n2' 'select 1; select 2'

check '\copy to a file' 'COPY [1-9]' "\\copy jobs (app_id, job_id) to '$scratch/jobs.csv' csv header"
[ "$(wc -l <"$scratch/jobs.csv")" = "$(($(psql -X -At -c 'select count(*) from jobs') + 1))" ]
report '\copy wrote every row' $? "$(head -n 2 "$scratch/jobs.csv")"
is 'COPY as text' $'a\\tb\t\\N\tt' "copy (select E'a\\tb', null, true) to stdout"
is 'COPY as csv' $'x,y\n"a,""b",' "copy (select 'a,\"b' as x, null as y) to stdout (format csv, header)"
is 'COPY with other marks' "a;~;'b;c'" "copy (select 'a', null, 'b;c') to stdout (format csv, delimiter ';', null '~', quote '''')"
psql -X -c 'copy (select 1::int) to stdout (format binary)' >"$scratch/binary"
[ "$(od -An -tx1 "$scratch/binary" | tr -d ' \n')" = 5047434f50590aff0d0a00000000000000000000010000000400000001ffff ]
report 'COPY as binary' $? "$(od -An -tx1 "$scratch/binary")"

check 'a cursor' '\(10 rows\)' 'begin' "declare c cursor for $many" 'fetch 10 from c' 'fetch forward 5 from c' 'move 100 in c' 'close c' 'commit'
is 'where a cursor is' $'BEGIN\nDECLARE CURSOR\n1\n2\nMOVE 3\n6\nCLOSE CURSOR\nCOMMIT' \
  "begin; declare c cursor for $many; fetch 2 from c; move 3 in c; fetch next from c; close c; commit"
check 'FETCH_COUNT' '\(1000000 rows\)|1000000' '\set FETCH_COUNT 10000' "$many"
check 'PREPARE, EXECUTE, DEALLOCATE' 't' "prepare p (text, int) as select \$1 = 'x' and \$2 > 1" "execute p ('x', 2)" 'deallocate p'
fails 26000 'execute nothing'
check 'EXPLAIN' 'cost=[0-9.]+ rows=[0-9]+ width=[0-9]+' 'explain select count(*) from jobs where job_id = 1'
check 'EXPLAIN ANALYZE' 'rows|output_rows' 'explain analyze select count(*) from jobs'
check 'EXPLAIN (ANALYZE, FORMAT JSON)' '\[' 'explain (analyze, format json) select count(*) from jobs'
check 'SHOW ALL' 'server_version' 'show all'
check 'the time zone of a session is that of its values' '\+0[12]' "set timezone = 'Europe/Berlin'" 'select start_time from applications limit 1'
check 'SET LOCAL ends with the transaction' 'UTC' 'begin' "set local timezone = 'Europe/Berlin'" 'commit' 'show timezone'
check 'RESET' 'UTC' "set timezone = 'Europe/Berlin'" 'reset timezone' 'show timezone'
is 'texts of values' "t||{1,NULL,2}|{\"a b\",\"\"}|2026-11-21 06:00:00.5+00|0.1|1e+300" \
  "select true, null, array[1,null,2], array['a b',''], '2026-11-21 06:00:00.5+00'::timestamptz, 0.1::float8, 1e300::float8"

fails 42P01 'select * from nowhere'
fails 42703 'select nothing from jobs'
fails 42601 'selec 1'
fails 22012 'select 1 / 0'
fails 22P02 "select 'x'::int"
fails 22003 'select 2147483647::int + 1::int'
fails 42883 'select no_such_function(1)'
fails 42803 'select app_id, count(*) from jobs'
fails 42702 'select app_id from jobs a, jobs b'
for statement in 'create table t (a int)' 'insert into jobs (job_id) values (1)' 'update jobs set job_id = 1' 'delete from jobs' 'drop table jobs' \
  'truncate jobs' 'create view v as select 1' 'create schema s'; do
  fails 25006 "$statement"
done
fails 25P02 begin 'select * from nowhere' 'select 1'
fails 3B001 'begin; rollback to savepoint nothing'
fails 25P01 'savepoint a'
output=$(psql -X -v VERBOSITY=verbose -c "copy (select 1) to '$scratch/at-the-server'" 2>&1)
grep -Eq 'ERROR:  (25006|42501|0A000)' <<<"$output" && [ ! -e "$scratch/at-the-server" ]
report 'COPY into a file of the server is refused' $? "$output"
check 'COMMIT of a failed transaction is ROLLBACK' 'ROLLBACK' 'begin' 'commit' 'begin' 'rollback'
check 'savepoints' 'RELEASE' 'begin' 'savepoint a' 'rollback to a' 'release a' 'commit'

begin=$(date +%s%N)
output=$(timeout 60 psql -X -c "set statement_timeout = '700ms'" -c "$endless" 2>&1)
took=$((($(date +%s%N) - begin) / 1000000))
grep -q 'canceling statement due to statement timeout' <<<"$output" && [ $took -gt 600 ] && [ $took -lt 30000 ]
report 'statement_timeout' $? "$took ms: $output"
begin=$(date +%s%N)
# Not below timeout(1), so that the signal goes to psql.
psql -X -c "$endless" >"$scratch/cancelled" 2>&1 &
sleep 1.5
kill -INT $!
wait $!
took=$((($(date +%s%N) - begin) / 1000000))
grep -q 'canceling statement due to user request' "$scratch/cancelled" && [ $took -lt 30000 ]
report 'Ctrl-C ends the statement' $? "$took ms: $(cat "$scratch/cancelled")"

while IFS='|' read -r typed wanted; do
  output=$(python3 tab.py "$typed" "$wanted" 2>&1)
  report "Tab after: $typed" $? "$output"
done <<'TABS'
select * from appli|applications
select * from application_a|application_attempts
select * from advice.skew|advice.skewed_stages
select * from jobs where job_i|job_id
\d sql_e|sql_executions
set statement_t|statement_timeout
TABS

echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
