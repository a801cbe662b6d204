"""A real Trino over the gateway: its catalog `spark` is the PostgreSQL connector. CHECK_TRINO is its port.

Speaks Trino's own HTTP protocol, which is small. Rows are compared with what `sparkgate sql` shows of the same logs, and what is pushed
down with what EXPLAIN of Trino says and with the numbers of rows that it fetched.
"""
import datetime
import os
import re
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
from gate import *

TRINO = f"http://127.0.0.1:{os.environ['CHECK_TRINO']}"
# Types as Trino has them for ours. jsonb and the arrays are its connector's own.
TYPES = {
    "boolean": "boolean",
    "integer": "integer",
    "bigint": "bigint",
    "double precision": "double",
    "text": "varchar",
    "timestamp with time zone": "timestamp(6) with time zone",
    "jsonb": "json",
}


class Failed(Exception):
    pass


class Answer:
    def __init__(self, columns, rows, stats):
        self.columns, self.rows, self.stats = columns, rows, stats


def trino(sql, schema="public", session=""):
    headers = {"X-Trino-User": "checks", "X-Trino-Catalog": "spark", "X-Trino-Schema": schema, "X-Trino-Time-Zone": "UTC"}
    if session:
        headers["X-Trino-Session"] = session
    request = urllib.request.Request(f"{TRINO}/v1/statement", data=sql.encode(), headers=headers)
    columns, rows = [], []
    while True:
        with urllib.request.urlopen(request, timeout=100) as response:
            page = json.load(response)
        if "error" in page:
            raise Failed(f"{page['error']['errorName']}: {page['error']['message']}")
        columns = page.get("columns", columns)
        rows += page.get("data", [])
        if "nextUri" not in page:
            return Answer([(column["name"], column["type"]) for column in columns], rows, page["stats"])
        request = urllib.request.Request(page["nextUri"], headers={"X-Trino-User": "checks"})


def type_of(ty):
    return f"array({TYPES[ty[:-2]]})" if ty.endswith("[]") else TYPES[ty]


def plain(value, ty):
    """A value of Trino's JSON as `sparkgate sql` shows it."""
    if value is None:
        return None
    if ty.endswith("[]"):
        return [plain(item, ty[:-2]) for item in value]
    if ty == "timestamp with time zone":
        return datetime.datetime.fromisoformat(value.replace(" UTC", "+00:00"))
    if ty == "jsonb":
        return json.loads(value)
    return float(value) if ty == "double precision" else value


def wanted(value, ty):
    if ty == "timestamp with time zone" and value is not None:
        return datetime.datetime.fromisoformat(value)
    return value


def name_of(table):
    """Its name in Trino, in whose SQL ROLLUP is a word of its own."""
    return f'spark."{table.schema}"."{table.name}"'


def explain(sql, session=""):
    return "\n".join(row[0] for row in trino(f"EXPLAIN {sql}", session=session).rows)



@check("SHOW CATALOGS, SHOW SCHEMAS")
def _():
    assert {row[0] for row in trino("SHOW CATALOGS").rows} >= {"spark", "tpch"}
    assert {row[0] for row in trino("SHOW SCHEMAS FROM spark").rows} == {"advice", "information_schema", "pg_catalog", "public", "rollup", "system"}


for schema in "advice", "public", "rollup", "system":

    @check(f"SHOW TABLES FROM {schema}")
    def _():
        seen = [row[0] for row in trino(f'SHOW TABLES FROM spark."{schema}"').rows]
        assert sorted(seen) == sorted(table.name for table in TABLES if table.schema == schema), seen


for table in TABLES:

    @check(f"DESCRIBE {table.full_name}: columns, types, comments")
    def _():
        rows = trino(f'DESCRIBE {name_of(table)}').rows
        seen = [(name, ty) for name, ty, _, _ in rows]
        assert seen == [(column["name"], type_of(column["type"])) for column in table.columns], seen
        for column, (_, _, _, comment) in zip(table.columns, rows):
            assert column["comment"] in comment, f"{column['name']}: {comment!r}"

    @check(f"every value of {table.full_name}")
    def _():
        # What has the order of `tables.json`: Trino sorts nulls last as we do, and text byte by byte.
        order = ", ".join(str(at + 1) for at, column in enumerate(table.columns) if column["type"] != "jsonb" and not column["type"].endswith("[]"))
        names = ", ".join(f'"{column["name"]}"' for column in table.columns)
        seen = trino(f'SELECT {names} FROM {name_of(table)} ORDER BY {order} LIMIT {len(table.rows)}').rows
        assert len(seen) == len(table.rows), f"{len(seen)} rows"
        sortable = [at for at, ty in enumerate(table.types) if ty != "jsonb" and not ty.endswith("[]")]
        cells = lambda row, change: [change(value, ty) for value, ty in zip(row, table.types)]
        # Rows that are equal in what Trino sorts by come in any order.
        key = lambda row: (["" if row[at] is None else str(row[at]) for at in sortable], json.dumps(row, default=str, sort_keys=True))
        ours = sorted((cells(row, wanted) for row in table.rows), key=key)
        theirs = sorted((cells(row, plain) for row in seen), key=key)
        for at, (row, right) in enumerate(zip(theirs, ours)):
            for column, value, want in zip(table.columns, row, right):
                assert value == want, f"row {at}, {column['name']}: {value!r:.200} and not {want!r:.200}"

    @check(f"count(*) of {table.full_name} is the gateway's")
    def _():
        ((seen,),) = trino(f'SELECT count(*) FROM {name_of(table)}').rows
        ((there,),) = trino(f"SELECT n FROM TABLE(spark.system.query(query => 'select count(*) as n from {table.full_name}'))").rows
        assert seen > 0 and (seen == there or table.is_live), (seen, there)


@check("information_schema has all tables and columns")
def _():
    rows = trino("SELECT table_schema, table_name, column_name, data_type FROM spark.information_schema.columns WHERE table_schema IN ('public', 'rollup', 'advice', 'system') ORDER BY table_schema, table_name, ordinal_position").rows
    expected = [[table.schema, table.name, column["name"], type_of(column["type"])] for table in sorted(TABLES, key=lambda t: (t.schema, t.name)) for column in table.columns]
    assert rows == expected, next((a, b) for a, b in zip(rows, expected) if a != b)


@check("a join of Spark's history with a table of another catalog")
def _():
    sql = """SELECT n.name, count(*) FROM jobs j JOIN tpch.tiny.nation n ON n.nationkey = j.job_id GROUP BY n.name ORDER BY n.name"""
    ids = [row[0] for row in trino("SELECT job_id FROM jobs").rows]
    nations = dict((key, name) for key, name in trino("SELECT nationkey, name FROM tpch.tiny.nation").rows)
    expected = sorted([nations[key], sum(one == key for one in ids)] for key in set(ids) if key in nations)
    assert trino(sql).rows == expected and expected, expected


@check("a filter is pushed down: comparisons, in, between, null")
def _():
    sql = "SELECT app_id, job_id FROM jobs WHERE job_id IN (1, 2) AND submission_time > TIMESTAMP '2020-01-01 00:00:00 UTC' AND description IS NULL AND num_tasks BETWEEN 1 AND 1000"
    plan = explain(sql)
    assert "ScanFilter" not in plan and "filterPredicate" not in plan, plan
    assert re.search(r"constraint on \[.*job_id.*\]", plan), plan
    answer = trino(sql)
    everything = trino("SELECT app_id, job_id, submission_time, description, num_tasks FROM jobs").rows
    expected = [[row[0], row[1]] for row in everything if row[1] in (1, 2) and row[2] and row[3] is None and 1 <= row[4] <= 1000]
    assert sorted(answer.rows) == sorted(expected) != [], (answer.rows, expected)
    assert answer.stats["processedRows"] == len(expected), f"{answer.stats['processedRows']} rows fetched for {len(expected)}"


@check("a filter on text is pushed down")
def _():
    app_id = TABLES[0].rows[0][0]
    sql = f"SELECT job_id FROM jobs WHERE app_id = '{app_id}'"
    answer, plan = trino(sql), explain(sql)
    assert "ScanFilter" not in plan and answer.stats["processedRows"] == len(answer.rows), plan


@check("limit is pushed down")
def _():
    sql = "SELECT * FROM environment LIMIT 7"
    answer, plan = trino(sql), explain(sql)
    assert len(answer.rows) == 7 and answer.stats["processedRows"] == 7, answer.stats["processedRows"]
    assert "limit=7" in plan and "Limit[" not in plan, plan


@check("top-n is pushed down")
def _():
    sql = "SELECT app_id, task_id, executor_run_time_ms FROM tasks ORDER BY executor_run_time_ms DESC NULLS LAST, task_id LIMIT 5"
    answer, plan = trino(sql), explain(sql)
    assert "sortOrder=" in plan and "TopN[" not in plan, plan
    assert answer.stats["processedRows"] == 5, answer.stats["processedRows"]
    longest = sorted((row[0] for row in trino("SELECT executor_run_time_ms FROM tasks WHERE executor_run_time_ms IS NOT NULL").rows), reverse=True)
    assert [row[2] for row in answer.rows] == longest[:5]


@check("aggregates and groups are pushed down")
def _():
    # Trino pushes no group by text down to PostgreSQL.
    sql = "SELECT job_id, count(*), sum(num_tasks), min(duration_ms), max(duration_ms), avg(duration_ms) FROM jobs GROUP BY job_id"
    answer, plan = trino(sql), explain(sql)
    assert "Aggregate" not in plan, plan
    rows = trino("SELECT job_id, num_tasks, duration_ms FROM jobs").rows
    assert answer.stats["processedRows"] == len({row[0] for row in rows}) == len(answer.rows) > 1
    for job_id, count, tasks, shortest, longest, average in answer.rows:
        mine = [row for row in rows if row[0] == job_id]
        durations = [row[2] for row in mine if row[2] is not None]
        assert (count, tasks) == (len(mine), sum(row[1] for row in mine)), job_id
        if durations:
            assert (shortest, longest) == (min(durations), max(durations)) and abs(average - sum(durations) / len(durations)) < 1e-6


@check("groups by text are right")
def _():
    rows = trino("SELECT status FROM jobs").rows
    statuses = sorted({row[0] for row in rows})
    assert trino("SELECT status, count(*) FROM jobs GROUP BY status ORDER BY status").rows == [[status, rows.count([status])] for status in statuses]


@check("count(distinct …), stddev, and a filter with an aggregate")
def _():
    ((apps, jobs, deviation),) = trino("SELECT count(DISTINCT app_id), count(*) FILTER (WHERE status = 'SUCCEEDED'), stddev(duration_ms) FROM jobs").rows
    rows = trino("SELECT app_id, status FROM jobs").rows
    assert apps == len({row[0] for row in rows}) and jobs == sum(row[1] == "SUCCEEDED" for row in rows) and deviation > 0


@check("a join of two tables of the gateway is pushed down")
def _():
    sql = "SELECT a.num_jobs, j.job_id FROM application_attempts a JOIN jobs j ON a.num_jobs = j.job_id WHERE j.job_id < 5"
    plan = explain(sql, "spark.join_pushdown_strategy=EAGER")
    assert "InnerJoin" not in plan and "Query[" in plan, plan
    seen = trino(sql, session="spark.join_pushdown_strategy=EAGER").rows
    a = [row[0] for row in trino("SELECT num_jobs FROM application_attempts").rows]
    j = [row[0] for row in trino("SELECT job_id FROM jobs WHERE job_id < 5").rows]
    assert sorted(row[1] for row in seen) == sorted(x for x in j for y in a if x == y) != []


@check("a dynamic filter: the small side of a join bounds what is fetched of the large one")
def _():
    sql = "SELECT count(*) FROM environment e JOIN (SELECT app_id FROM jobs ORDER BY submission_time DESC LIMIT 1) a ON e.app_id = a.app_id"
    session = "spark.dynamic_filtering_wait_timeout=20s,spark.join_pushdown_enabled=false"
    answer = trino(sql, session=session)
    ((everything,),) = trino("SELECT count(*) FROM environment").rows
    ((expected,),) = trino("SELECT count(*) FROM environment WHERE app_id = (SELECT app_id FROM jobs ORDER BY submission_time DESC LIMIT 1)").rows
    assert answer.rows == [[expected]] and expected > 0
    assert answer.stats["processedRows"] < everything / 2, f"{answer.stats['processedRows']} rows of {everything} fetched"


@check("views and rollups are queried as tables")
def _():
    ((apps, tasks),) = trino("SELECT sum(applications), sum(num_tasks) FROM \"rollup\".application_daily").rows
    assert [[apps, tasks]] == trino("SELECT count(*), sum(num_tasks) FROM applications").rows
    assert trino("SELECT severity FROM advice.gc_pressure WHERE app_id = 'finding-gc'").rows != []


@check("SHOW STATS, ANALYZE-free")
def _():
    rows = trino("SHOW STATS FOR jobs").rows
    assert rows and rows[-1][0] is None, rows[-1:]


@check("SHOW CREATE TABLE and SHOW CREATE VIEW answer")
def _():
    assert "app_id varchar NOT NULL" in trino("SHOW CREATE TABLE jobs").rows[0][0]


@check("writing is refused")
def _():
    for sql in "CREATE TABLE spark.public.t (a integer)", "INSERT INTO miscellaneous_processes (app_id) VALUES ('x')", "DELETE FROM jobs WHERE job_id = 1", "DROP TABLE jobs":
        raises(Failed, lambda: trino(sql))


@check("errors name what is wrong")
def _():
    assert "TABLE_NOT_FOUND" in str(raises(Failed, lambda: trino("SELECT * FROM nowhere")))
    assert "COLUMN_NOT_FOUND" in str(raises(Failed, lambda: trino("SELECT nothing FROM jobs")))
    error = raises(Failed, lambda: trino("SELECT * FROM TABLE(spark.system.query(query => 'select * from nowhere'))"))
    assert "nowhere" in str(error), error


finish()
