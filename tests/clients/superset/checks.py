"""A real Superset over the gateway, asked through its REST API: the database, data sets on every table, charts, SQL Lab. CHECK_SUPERSET is its port.

Rows of charts and of SQL Lab are compared with what `sparkgate sql` shows of the same logs.
"""
import collections
import datetime
import os
import sys
import urllib.error
import urllib.request
from urllib.parse import quote

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
from gate import *

SUPERSET = f"http://127.0.0.1:{os.environ['CHECK_SUPERSET']}"
URI = f"postgresql://{USER}:{quote(PASSWORD)}@{HOST}:{PORT}/{DATABASE}?sslmode=verify-full&sslrootcert={quote(CA)}"
SCHEMAS = ["advice", "public", "rollup", "system"]
# Superset's own names for kinds of columns: number, text, time.
KINDS = {"boolean": 3, "integer": 0, "bigint": 0, "double precision": 0, "text": 1, "timestamp with time zone": 2}
token = None


def call(method, path, body=None, status=(200, 201)):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(SUPERSET + path, method=method, headers=headers, data=None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=100) as response:
            code, answer = response.status, json.load(response)
    except urllib.error.HTTPError as error:
        code, answer = error.code, error.read().decode(errors="replace")
    assert code in status, f"{method} {path}: {code} {answer}"
    return answer


def table(name):
    return next(table for table in TABLES if table.full_name == name)


def objects(name):
    """The rows of a table, each an object."""
    of = table(name)
    return [dict(zip([column["name"] for column in of.columns], row)) for row in of.rows]


def chart(name, **query):
    query = {"filters": [], "row_limit": 10000, "columns": [], "metrics": []} | query
    body = {"datasource": {"id": data_sets[name], "type": "table"}, "force": True, "result_format": "json", "result_type": "full", "queries": [query]}
    (answer,) = call("POST", "/api/v1/chart/data", body)["result"]
    assert answer["status"] == "success" and not answer.get("error"), answer.get("error")
    return answer["data"]


def sql_lab(sql, schema="public", status=(200,)):
    body = {"database_id": database, "sql": sql, "schema": schema, "runAsync": False, "queryLimit": 1000, "expand_data": True}
    return call("POST", "/api/v1/sqllab/execute/", body, status)


def metric(sql, label):
    return {"expressionType": "SQL", "sqlExpression": sql, "label": label}


@check("log-in to Superset")
def _():
    global token
    token = call("POST", "/api/v1/security/login", {"username": "admin", "password": "admin", "provider": "db"})["access_token"]


database, data_sets = None, {}


@check("test connection; one that cannot work is refused")
def _():
    call("POST", "/api/v1/database/test_connection/", {"database_name": "gateway", "sqlalchemy_uri": URI})
    wrong = URI.replace(quote(PASSWORD), "wrong")
    answer = call("POST", "/api/v1/database/test_connection/", {"database_name": "gateway", "sqlalchemy_uri": wrong}, (400, 403, 422))
    assert "wrong" not in answer, answer


@check("add database, with SCRAM over TLS that is verified")
def _():
    global database
    database = call("POST", "/api/v1/database/", {"database_name": "gateway", "sqlalchemy_uri": URI, "expose_in_sqllab": True})["id"]


@check("list schemas")
def _():
    seen = call("GET", f"/api/v1/database/{database}/schemas/?q=(force:!t)")["result"]
    assert sorted(name for name in seen if name != "information_schema") == SCHEMAS, seen


for schema in SCHEMAS:

    @check(f"list tables of {schema}")
    def _():
        seen = call("GET", f"/api/v1/database/{database}/tables/?q=(schema_name:{schema},force:!t)")["result"]
        wanted = sorted((table.name, "view" if table.is_view else "table") for table in TABLES if table.schema == schema)
        assert sorted((one["value"], one["type"]) for one in seen) == wanted, seen


for of in TABLES:

    @check(f"metadata of {of.full_name}")
    def _():
        seen = call("GET", f"/api/v1/database/{database}/table_metadata/?name={of.name}&schema={of.schema}")
        assert [column["name"] for column in seen["columns"]] == [column["name"] for column in of.columns]
        for column, wanted in zip(seen["columns"], of.columns):
            assert wanted["comment"] in column["comment"], column
        assert seen["comment"].startswith("one row per ") and seen["foreignKeys"] == [], seen
        star = call("GET", f"/api/v1/database/{database}/select_star/{of.name}/{of.schema}/")["result"]
        assert f"{of.schema}.{of.name}" in star.replace('"', ""), star

    @check(f"data set on {of.full_name}, and its rows in a chart")
    def _():
        made = call("POST", "/api/v1/dataset/", {"database": database, "schema": of.schema, "table_name": of.name})
        data_sets[of.full_name] = made["id"]
        columns = call("GET", f"/api/v1/dataset/{made['id']}")["result"]["columns"]
        assert sorted(column["column_name"] for column in columns) == sorted(column["name"] for column in of.columns)
        kinds = {column["column_name"]: column for column in columns}
        for column in of.columns:
            if column["type"] == "timestamp with time zone":
                assert kinds[column["name"]]["is_dttm"], column
        # What Superset can order by, and show as it is.
        shown = [(at, column) for at, column in enumerate(of.columns) if column["type"] in KINDS]
        names = [column["name"] for _, column in shown]
        data = chart(of.full_name, columns=names, orderby=[[name, True] for name in names], row_limit=len(of.rows) or 10)
        if of.is_live:
            return
        assert len(data) == len(of.rows), f"{len(data)} rows and not {len(of.rows)}"

        def plain(value, ty):
            if value is not None and ty == "timestamp with time zone":
                # Superset shows milliseconds since the epoch.
                if isinstance(value, str):
                    value = datetime.datetime.fromisoformat(value).timestamp() * 1000
                return int(value + 0.0005)
            return float(value) if value is not None and ty == "double precision" else value

        key = lambda row: json.dumps(row)
        seen = sorted(([plain(row[column["name"]], column["type"]) for _, column in shown] for row in data), key=key)
        wanted = sorted(([plain(row[at], column["type"]) for at, column in shown] for row in of.rows), key=key)
        for row, right in zip(seen, wanted):
            assert row == right, next((name, a, b) for name, a, b in zip(names, row, right) if a != b)


def is_near(seen, wanted):
    return seen == wanted or abs(seen - wanted) <= 1e-9 * abs(wanted)


@check("chart: one number")
def _():
    assert chart("public.jobs", metrics=[metric("COUNT(*)", "n")]) == [{"n": len(table("public.jobs").rows)}]


@check("chart: bars, the most first")
def _():
    data = chart("public.tasks", columns=["host", "status"], metrics=[metric("COUNT(*)", "n"), metric("SUM(executor_run_time_ms)", "ms")], orderby=[[metric("COUNT(*)", "n"), False]])
    rows = objects("public.tasks")
    counts = collections.Counter((row["host"], row["status"]) for row in rows)
    assert {(row["host"], row["status"]): row["n"] for row in data} == counts
    assert [row["n"] for row in data] == sorted(counts.values(), reverse=True)


for grain, unit in [("PT1M", "minute"), ("PT1H", "hour"), ("P1D", "day"), ("P1W", "week"), ("P1M", "month"), ("P3M", "quarter"), ("P1Y", "year"), ("PT5M", None), ("PT1S", "second")]:

    @check(f"chart: a time series by {grain}")
    def _():
        axis = {"timeGrain": grain, "columnType": "BASE_AXIS", "sqlExpression": "launch_time", "label": "launch_time", "expressionType": "SQL"}
        data = chart(
            "public.tasks", columns=[axis, "status"], metrics=[metric("COUNT(*)", "n")], granularity="launch_time",
            time_range="2020-01-01T00:00:00 : 2030-01-01T00:00:00", extras={"time_grain_sqla": grain},
        )
        wanted = collections.Counter(row["status"] for row in objects("public.tasks") if row["launch_time"])
        seen = collections.Counter()
        for row in data:
            seen[row["status"]] += row["n"]
        assert seen == wanted, (seen, wanted)
        if grain == "PT1H":
            by_hour = collections.Counter((row["launch_time"][:13], row["status"]) for row in objects("public.tasks") if row["launch_time"])
            shown = {}
            for row in data:
                at = datetime.datetime.fromtimestamp(row["launch_time"] / 1000, datetime.timezone.utc)
                shown[(at.strftime("%Y-%m-%dT%H"), row["status"])] = row["n"]
            assert shown == by_hour, (shown, by_hour)


@check("chart: raw rows with filters")
def _():
    data = chart(
        "public.jobs", columns=["app_id", "job_id", "status", "num_tasks"], orderby=[["app_id", True], ["job_id", False]],
        filters=[{"col": "status", "op": "IN", "val": ["SUCCEEDED", "FAILED"]}, {"col": "num_tasks", "op": ">=", "val": 2},
                 {"col": "app_id", "op": "LIKE", "val": "local-%"}, {"col": "description", "op": "IS NULL"}],
    )
    wanted = [row for row in objects("public.jobs") if row["status"] in ("SUCCEEDED", "FAILED") and row["num_tasks"] >= 2 and row["app_id"].startswith("local-") and row["description"] is None]
    assert sorted((row["app_id"], row["job_id"]) for row in data) == sorted((row["app_id"], row["job_id"]) for row in wanted) != [], data
    assert [row["app_id"] for row in data] == sorted(row["app_id"] for row in data)


@check("chart: a percentile, a share, a condition on groups")
def _():
    having = {"having": "(COUNT(*) > 1)", "where": "(duration_ms is not null)"}
    data = chart(
        "public.jobs", columns=["app_id"], extras=having,
        metrics=[metric("COUNT(*)", "n"), metric("percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms)", "median"), metric("AVG(CASE WHEN status = 'SUCCEEDED' THEN 1.0 ELSE 0 END)", "share")],
    )
    by_app = collections.defaultdict(list)
    for row in objects("public.jobs"):
        if row["duration_ms"] is not None:
            by_app[row["app_id"]].append(row)
    by_app = {app_id: rows for app_id, rows in by_app.items() if len(rows) > 1}
    assert {row["app_id"] for row in data} == set(by_app)
    import statistics

    for row in data:
        mine = by_app[row["app_id"]]
        assert row["n"] == len(mine) and is_near(float(row["median"]), statistics.median(one["duration_ms"] for one in mine)), row
        assert is_near(float(row["share"]), sum(one["status"] == "SUCCEEDED" for one in mine) / len(mine)), row


@check("chart: only the largest series")
def _():
    data = chart("public.tasks", columns=["app_id"], metrics=[metric("COUNT(*)", "n")], series_columns=["app_id"], series_limit=3, series_limit_metric=metric("COUNT(*)", "n"), order_desc=True)
    counts = collections.Counter(row["app_id"] for row in objects("public.tasks"))
    assert sorted((row["n"] for row in data), reverse=True) == [n for _, n in counts.most_common(3)], data


@check("chart: the number of rows, and of a sample")
def _():
    body = {"datasource": {"id": data_sets["public.jobs"], "type": "table"}, "force": True, "result_format": "json", "result_type": "samples", "queries": [{"row_limit": 5, "columns": [], "filters": []}]}
    (answer,) = call("POST", "/api/v1/chart/data", body)["result"]
    assert answer["rowcount"] == 5 and set(answer["colnames"]) >= {"app_id", "job_id", "stage_ids"}, answer["colnames"]


@check("a chart and a dashboard are kept and shown")
def _():
    parameters = {"viz_type": "table", "datasource": f"{data_sets['public.jobs']}__table", "groupby": ["status"], "metrics": ["count"], "row_limit": 100}
    body = {"slice_name": "jobs by status", "viz_type": "table", "datasource_id": data_sets["public.jobs"], "datasource_type": "table", "params": json.dumps(parameters)}
    made = call("POST", "/api/v1/chart/", body)["id"]
    dashboard = call("POST", "/api/v1/dashboard/", {"dashboard_title": "Spark"})["id"]
    call("PUT", f"/api/v1/chart/{made}", {"dashboards": [dashboard]})
    assert call("GET", f"/api/v1/dashboard/{dashboard}")["result"]["dashboard_title"] == "Spark"


@check("SQL Lab: rows, columns and their types")
def _():
    answer = sql_lab("select app_id, job_id, submission_time, stage_ids, killed_tasks_summary from jobs order by 1, attempt_id, 2")
    columns = {column["column_name"]: column for column in answer["columns"]}
    assert list(columns) == ["app_id", "job_id", "submission_time", "stage_ids", "killed_tasks_summary"], columns
    assert columns["submission_time"]["is_dttm"] and columns["job_id"]["type"] in ("INT", "INTEGER"), columns
    wanted = objects("public.jobs")
    assert [(row["app_id"], row["job_id"]) for row in answer["data"]] == [(row["app_id"], row["job_id"]) for row in sorted(wanted, key=lambda row: (row["app_id"], row["attempt_id"], row["job_id"]))]
    assert answer["status"] == "success"


@check("SQL Lab: a common table, a window, a join")
def _():
    sql = """with per_app as (select app_id, count(*) as n from tasks group by app_id)
        select a.name, p.n, rank() over (order by p.n desc) as place from per_app p join applications a using (app_id) order by place, name"""
    data = sql_lab(sql)["data"][:5]
    counts = collections.Counter(row["app_id"] for row in objects("public.tasks"))
    assert [row["n"] for row in data] == [n for _, n in counts.most_common(5)] and data[0]["place"] == 1, data


@check("SQL Lab: another schema, and an error of the gateway is shown")
def _():
    assert len(sql_lab("select * from gc_pressure", schema="advice")["data"]) == len(table("advice.gc_pressure").rows)
    answer = json.dumps(sql_lab("select * from nowhere", status=(400, 404, 422, 500)))
    assert "nowhere" in answer and "does not exist" in answer, answer


@check("SQL Lab: what would write is refused")
def _():
    answer = json.dumps(sql_lab("create table t as select 1", status=(400, 403, 422, 500)))
    assert "read-only" in answer or "DML" in answer or "not allowed" in answer.lower(), answer


@check("SQL Lab: estimate of a statement's cost")
def _():
    body = {"database_id": database, "sql": "select * from tasks", "schema": "public"}
    answer = call("POST", "/api/v1/sqllab/estimate/", body)["result"]
    assert answer and any("cost" in key.lower() for key in answer[0]), answer


@check("filter values of a column")
def _():
    seen = call("GET", f"/api/v1/datasource/table/{data_sets['public.jobs']}/column/status/values/")["result"]
    assert sorted(seen) == sorted({row["status"] for row in objects("public.jobs")}), seen


@check("a virtual data set: a statement as a table")
def _():
    sql = "select app_id, status, count(*) as n from jobs group by app_id, status"
    made = call("POST", "/api/v1/dataset/", {"database": database, "schema": "public", "table_name": "jobs by status", "sql": sql})["id"]
    data_sets["virtual"] = made
    assert chart("virtual", metrics=[metric("SUM(n)", "n")])[0]["n"] == len(table("public.jobs").rows)


finish()
