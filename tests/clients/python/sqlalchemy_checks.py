"""SQLAlchemy and pandas, over psycopg2 and psycopg 3: what its inspector finds, and what becomes of values."""
import datetime
from urllib.parse import quote

import pandas
import sqlalchemy
from sqlalchemy import types
from sqlalchemy.dialects import postgresql

from gate import *

SCHEMAS = ["advice", "public", "rollup", "system"]
TYPES = {
    "boolean": types.BOOLEAN,
    "integer": types.INTEGER,
    "bigint": types.BIGINT,
    "double precision": types.DOUBLE_PRECISION,
    "text": types.TEXT,
    "jsonb": postgresql.JSONB,
    "timestamp with time zone": types.TIMESTAMP,
}


def names(schema, is_view):
    return sorted(table.name for table in TABLES if table.schema == schema and table.is_view == is_view)


def is_type(seen, ty):
    if ty.endswith("[]"):
        return isinstance(seen, types.ARRAY) and is_type(seen.item_type, ty[:-2])
    if ty == "timestamp with time zone" and not seen.timezone:
        return False
    return isinstance(seen, TYPES[ty])


for driver in "psycopg2", "psycopg":
    address = f"{HOST}:{PORT}/{DATABASE}"
    engine = sqlalchemy.create_engine(f"postgresql+{driver}://postgres@{address}")

    @check(f"{driver}: log-in with SCRAM over TLS that is verified")
    def _():
        url = f"postgresql+{driver}://{USER}:{quote(PASSWORD)}@{address}?sslmode=verify-full&sslrootcert={quote(CA)}"
        with sqlalchemy.create_engine(url).connect() as connection:
            assert connection.execute(sqlalchemy.text("select current_user")).scalar() == USER

    @check(f"{driver}: schemas, tables and views")
    def _():
        inspector = sqlalchemy.inspect(engine)
        assert [name for name in sorted(inspector.get_schema_names()) if name != "information_schema"] == SCHEMAS
        assert inspector.default_schema_name == "public"
        for schema in SCHEMAS:
            assert sorted(inspector.get_table_names(schema=schema)) == names(schema, False), schema
            assert sorted(inspector.get_view_names(schema=schema)) == names(schema, True), schema
            assert inspector.get_materialized_view_names(schema=schema) == []
        assert sorted(inspector.get_table_names()) == names("public", False)
        assert inspector.has_table("jobs") and inspector.has_table("gc_pressure", schema="advice") and not inspector.has_table("nowhere")

    for table in TABLES:

        @check(f"{driver}: what the inspector says of {table.full_name}")
        def _():
            inspector = sqlalchemy.inspect(engine)
            columns = inspector.get_columns(table.name, schema=table.schema)
            assert [column["name"] for column in columns] == [column["name"] for column in table.columns]
            for column, wanted in zip(columns, table.columns):
                assert is_type(column["type"], wanted["type"]), f"{wanted['name']}: {column['type']!r}"
                if not table.is_view:
                    assert column["nullable"] == wanted["nullable"], wanted["name"]
                assert wanted["comment"] in (column["comment"] or ""), f"{wanted['name']}: {column['comment']}"
                assert column["default"] is None
            assert inspector.get_table_comment(table.name, schema=table.schema)["text"].startswith("one row per ")
            inspector.get_pk_constraint(table.name, schema=table.schema)
            for nothing in inspector.get_foreign_keys, inspector.get_unique_constraints, inspector.get_check_constraints:
                assert nothing(table.name, schema=table.schema) == [], nothing
            inspector.get_indexes(table.name, schema=table.schema)
            if table.is_view:
                assert "select" in inspector.get_view_definition(table.name, schema=table.schema).lower()

        @check(f"{driver}: every value of {table.full_name}")
        def _():
            reflected = sqlalchemy.Table(table.name, sqlalchemy.MetaData(), autoload_with=engine, schema=table.schema)
            order = [reflected.c[column["name"]].asc().nulls_last() for column in table.columns if column["type"] != "jsonb"]
            with engine.connect() as connection:
                rows = connection.execute(sqlalchemy.select(reflected).order_by(*order).limit(len(table.rows))).fetchall()
            table.assert_rows([list(row) for row in rows])

    @check(f"{driver}: a whole schema is reflected at once")
    def _():
        for schema in SCHEMAS:
            metadata = sqlalchemy.MetaData()
            metadata.reflect(engine, schema=schema, views=True)
            assert sorted(metadata.tables) == sorted(table.full_name for table in TABLES if table.schema == schema)
            for table in TABLES:
                if table.schema == schema:
                    assert [column.name for column in metadata.tables[table.full_name].c] == [column["name"] for column in table.columns]

    @check(f"{driver}: an expression with bound values, groups, a window and a common table")
    def _():
        tasks = sqlalchemy.Table("tasks", sqlalchemy.MetaData(), autoload_with=engine)
        run_time = sqlalchemy.func.sum(tasks.c.executor_run_time_ms).label("run_time")
        by_stage = (
            sqlalchemy.select(tasks.c.app_id, tasks.c.stage_id, sqlalchemy.func.count().label("n"), run_time)
            .where(tasks.c.launch_time > datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), tasks.c.status.in_(["SUCCESS", "FAILED"]))
            .group_by(tasks.c.app_id, tasks.c.stage_id)
            .cte("by_stage")
        )
        rank = sqlalchemy.func.rank().over(partition_by=by_stage.c.app_id, order_by=by_stage.c.run_time.desc()).label("rank")
        ranked = sqlalchemy.select(by_stage, rank).subquery()
        worst = sqlalchemy.select(ranked.c.app_id, ranked.c.n, ranked.c.run_time).where(ranked.c.rank == 1).order_by(ranked.c.run_time.desc(), ranked.c.app_id)
        with engine.connect() as connection:
            rows = connection.execute(worst.limit(5)).fetchall()
            everything = connection.execute(sqlalchemy.select(tasks.c.app_id, tasks.c.stage_id, tasks.c.executor_run_time_ms).where(tasks.c.status.in_(["SUCCESS", "FAILED"]))).fetchall()
        sums = {}
        for app_id, stage_id, ms in everything:
            sums.setdefault(app_id, {}).setdefault(stage_id, []).append(ms)
        best = [max((sum(ms or 0 for ms in tasks), len(tasks)) for tasks in stages.values()) for stages in sums.values()]
        assert [row.run_time for row in rows] == sorted((ms for ms, _ in best), reverse=True)[:5], rows

    @check(f"{driver}: time grains as Superset writes them")
    def _():
        with engine.connect() as connection:
            for grain in "second", "minute", "hour", "day", "week", "month", "quarter", "year":
                sql = (
                    f"SELECT DATE_TRUNC('{grain}', launch_time) AS __timestamp, COUNT(*) AS count FROM public.tasks WHERE launch_time >= "
                    "TO_TIMESTAMP('2020-01-01 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US') GROUP BY DATE_TRUNC("
                    f"'{grain}', launch_time) ORDER BY count DESC LIMIT 10000"
                )
                rows = connection.execute(sqlalchemy.text(sql)).fetchall()
                assert sum(row.count if isinstance(row.count, int) else row[1] for row in rows) == connection.execute(
                    sqlalchemy.text("select count(launch_time) from tasks")
                ).scalar(), grain

    @check(f"{driver}: a failed statement, rolled back; savepoints")
    def _():
        with engine.connect() as connection:
            raises(sqlalchemy.exc.ProgrammingError, lambda: connection.execute(sqlalchemy.text("select * from nowhere")))
            connection.rollback()
            with connection.begin_nested() as savepoint:
                raises(sqlalchemy.exc.ProgrammingError, lambda: connection.execute(sqlalchemy.text("select nothing from jobs")))
                savepoint.rollback()
            assert connection.execute(sqlalchemy.text("select 1")).scalar() == 1

    for level in "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT":

        @check(f"{driver}: isolation level {level}")
        def _():
            with engine.connect().execution_options(isolation_level=level) as connection:
                assert connection.execute(sqlalchemy.text("select 1")).scalar() == 1
                if level != "AUTOCOMMIT":
                    assert connection.get_isolation_level() == level, connection.get_isolation_level()

    @check(f"{driver}: pandas.read_sql gives columns their types")
    def _():
        sql = "select app_id, start_time, num_tasks, duration_ms, completed from applications where duration_ms is not null order by 1"
        with engine.connect() as connection:
            frame = pandas.read_sql(sqlalchemy.text(sql), connection)
            rows = connection.execute(sqlalchemy.text(sql)).fetchall()
        kinds = [str(kind) for kind in frame.dtypes]
        assert kinds[1].startswith("datetime64") and "UTC" in kinds[1] and kinds[2:] == ["int64", "int64", "bool"], kinds
        assert [tuple(row) for row in frame.itertuples(index=False)] == [tuple(row) for row in rows]

    @check(f"{driver}: pandas.read_sql_table")
    def _():
        with engine.connect() as connection:
            frame = pandas.read_sql_table("jobs", connection, schema="public", columns=["app_id", "job_id"])
            assert len(frame) == connection.execute(sqlalchemy.text("select count(*) from jobs")).scalar() > 0

    @check(f"{driver}: rows in portions, from a cursor at the server")
    def _():
        with engine.connect().execution_options(stream_results=True, max_row_buffer=1000) as connection:
            frames = pandas.read_sql(sqlalchemy.text(f"select v from ({MANY}) q limit 20500"), connection, chunksize=5000)
            sizes = [(len(frame), int(frame["v"].sum())) for frame in frames]
        assert [size for size, _ in sizes] == [5000, 5000, 5000, 5000, 500]
        assert sum(total for _, total in sizes) == 20500 * 20501 // 2


finish()
