"""psycopg 3: the extended protocol, in text and in binary, pipelines, server-side cursors, COPY."""
import asyncio
import datetime
import threading

import psycopg
from psycopg import sql as composed
from psycopg.types import TypeInfo
from psycopg.types.json import Json, Jsonb
from psycopg.types.numeric import Float4, Int2, Int4, Int8

from gate import *

UTC = datetime.timezone.utc
ADDRESS = {"host": HOST, "port": PORT, "dbname": DATABASE, "connect_timeout": 10}


def connect(**options):
    return psycopg.connect(**(ADDRESS | {"user": "postgres"} | options))


@check("log-in with SCRAM over TLS that is verified, bound to the channel")
def _():
    options = {"user": USER, "password": PASSWORD, "sslmode": "verify-full", "sslrootcert": CA, "channel_binding": "require"}
    with connect(**options) as connection:
        assert connection.pgconn.ssl_in_use and connection.pgconn.used_password
        assert connection.execute("select current_user").fetchone() == (USER,)


@check("a wrong password is 28P01, and no password works without TLS")
def _():
    error = raises(psycopg.OperationalError, lambda: connect(user=USER, password="wrong", sslmode="require"))
    assert "password authentication failed" in str(error), error
    raises(psycopg.OperationalError, lambda: connect(user=USER, password=PASSWORD, sslmode="disable"))


@check("version of the server")
def _():
    with connect() as connection:
        assert connection.info.server_version >= 150000 and connection.info.vendor == "PostgreSQL"


for binary in False, True:
    form = "binary" if binary else "text"
    for table in TABLES:

        @check(f"{form}: every value of {table.full_name}")
        def _():
            with connect(options="-c TimeZone=America/New_York") as connection, connection.cursor(binary=binary) as cursor:
                table.assert_rows([list(row) for row in cursor.execute(table.sql)])

    json_values = {"json": [(Json(DOCUMENT), DOCUMENT)], "jsonb": [(Jsonb(DOCUMENT), DOCUMENT)]}
    typed = {"int2": Int2, "int4": Int4, "int8": Int8, "float4": Float4}
    for ty, values in ({ty: [(value, value) for value in values] for ty, values in PARAMETERS.items()} | json_values).items():

        @check(f"{form}: parameters of {ty}")
        def _():
            mark = "%b" if binary else "%t"
            with connect(autocommit=True) as connection, connection.cursor(binary=binary) as cursor:
                for value, wanted in values + [(None, None)]:
                    for statement in f"select {mark}::{ty}", f"select x from (select {mark}::{ty} as x) q":
                        assert_same(cursor.execute(statement, (value,)).fetchone()[0], wanted, statement)
                    if ty in typed and value is not None:
                        (seen,) = cursor.execute(f"select {mark}", (typed[ty](value),)).fetchone()
                        assert_same(seen, wanted, f"declared as {ty}")

    @check(f"{form}: the server finds the types of parameters")
    def _():
        mark = "%b" if binary else "%t"
        long_ago = datetime.datetime(2020, 1, 1, tzinfo=UTC)
        with connect() as connection, connection.cursor(binary=binary) as cursor:
            (known,) = cursor.execute("select count(*) from applications where duration_ms > 5").fetchone()
            sql = f"select count(*) from applications where start_time >= {mark} and duration_ms > {mark} and not (app_id = any({mark})) limit {mark}"
            assert known > 0 and cursor.execute(sql, (long_ago, 5, ["a", "b"], 3)).fetchone() == (known,)
            (seen,) = cursor.execute(f"select {mark} || 'x'", ("a",)).fetchone()
            assert seen == "ax", seen


@check("texts as parameters of an instant and a number")
def _():
    with connect() as connection:
        sql = "select count(*) from applications where start_time >= %s and duration_ms > %s"
        known = connection.execute("select count(*) from applications where duration_ms > 5").fetchone()
        assert connection.execute(sql, ("2020-01-01T00:00:00Z", "5")).fetchone() == known


@check("a prepared statement that is run again, and deallocated")
def _():
    with connect(prepare_threshold=2, autocommit=True) as connection:
        connection.prepared_max = 2
        for turn in range(6):
            for column in "job_id", "app_id", "status":
                sql = f"select count(*) from (select {column} from jobs limit %s) q"
                assert connection.execute(sql, (turn,)).fetchone() == (turn,)
        (prepared,) = connection.execute("select count(*) from pg_prepared_statements").fetchone()
        assert prepared <= 2, prepared


@check("a server-side cursor reads on where it stopped, and scrolls")
def _():
    with connect() as connection:
        with connection.cursor(name="reader") as cursor:
            cursor.itersize = 1000
            cursor.execute(MANY)
            assert [row[0] for _, row in zip(range(5000), cursor)] == list(range(1, 5001))
        with connection.cursor(name="binary", binary=True) as cursor:
            cursor.execute("select app_id, start_time from applications order by 1")
            assert cursor.fetchmany(3) + cursor.fetchall() == connection.execute("select app_id, start_time from applications order by 1").fetchall()


@check("a server-side cursor with hold outlives its transaction")
def _():
    with connect() as connection:
        cursor = connection.cursor(name="held", withhold=True)
        cursor.execute(MANY)
        assert cursor.fetchone() == (1,)
        connection.commit()
        assert cursor.fetchmany(2) == [(2,), (3,)]
        cursor.close()


@check("stream() reads a million rows one by one")
def _():
    with connect() as connection, connection.cursor() as cursor:
        assert sum(1 for _ in cursor.stream(MANY)) == 1_000_000


@check("a pipeline: answers in order")
def _():
    with connect() as connection, connection.pipeline():
        cursors = [connection.execute("select %s::int * 2", (number,)) for number in range(50)]
        assert [cursor.fetchone()[0] for cursor in cursors] == [number * 2 for number in range(50)]


@check("a pipeline: an error ends it up to the next sync")
def _():
    with connect(autocommit=True) as connection:

        def fails():
            with connection.pipeline():
                connection.execute("select 1")
                connection.execute("select * from nowhere")
                connection.execute("select 2")

        raises(psycopg.errors.UndefinedTable, fails)
        assert connection.execute("select 3").fetchone() == (3,)


ROWS = "select app_id, duration_ms, start_time, completed, name from applications order by 1"
TYPES = ["text", "int8", "timestamptz", "bool", "text"]
for options, form in [("", "text"), ("(format binary)", "binary")]:

    @check(f"COPY TO STDOUT as {form} has the rows of the query")
    def _():
        with connect() as connection, connection.cursor() as cursor:
            expected = cursor.execute(ROWS).fetchall()
            with cursor.copy(f"copy ({ROWS}) to stdout {options}") as copy:
                copy.set_types(TYPES)
                assert list(copy.rows()) == expected
            assert cursor.rowcount == len(expected)


@check("COPY TO STDOUT as csv has the rows of the query")
def _():
    import csv
    import io

    with connect() as connection, connection.cursor() as cursor:
        expected = cursor.execute("select app_id, name, description from jobs join (select app_id a, name n from applications) x on a = app_id order by 1, job_id").fetchall()
        out = b""
        with cursor.copy("copy (select app_id, name, description from jobs join (select app_id a, name n from applications) x on a = app_id order by 1, job_id) to stdout (format csv, header, null '<null>')") as copy:
            out = b"".join(bytes(part) for part in copy)
    lines = list(csv.reader(io.StringIO(out.decode())))
    assert lines[0] == ["app_id", "name", "description"]
    assert [[None if cell == "<null>" else cell for cell in line] for line in lines[1:]] == [list(row) for row in expected]


@check("COPY of a whole table, of some of its columns, and of a nested one")
def _():
    with connect() as connection, connection.cursor() as cursor:
        (jobs,) = cursor.execute("select count(*) from jobs").fetchone()
        for statement in "copy jobs to stdout", "copy public.jobs (job_id, stage_ids) to stdout", "copy (table jobs) to stdout (format binary)":
            with cursor.copy(statement) as copy:
                for _ in copy:
                    pass
            assert cursor.rowcount == jobs, statement


for sql, code in ERRORS:

    @check(f"{code}: {sql}")
    def _():
        for prepare in False, True:
            with connect(autocommit=True) as connection:
                error = raises(psycopg.Error, lambda: connection.execute(sql, prepare=prepare))
                assert error.sqlstate == code, f"{error.sqlstate}: {error}"
                assert connection.execute("select 1").fetchone() == (1,)


@check("an error in a transaction, and after it")
def _():
    with connect() as connection:
        connection.execute("select 1")
        raises(psycopg.errors.UndefinedTable, lambda: connection.execute("select * from nowhere"))
        raises(psycopg.errors.InFailedSqlTransaction, lambda: connection.execute("select 1"))
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        connection.rollback()
        assert connection.execute("select 1").fetchone() == (1,)


@check("nested transaction blocks are savepoints")
def _():
    with connect() as connection:
        with connection.transaction():

            def fails():
                with connection.transaction("inner"):
                    connection.execute("select * from nowhere")

            raises(psycopg.errors.UndefinedTable, fails)
            assert connection.execute("select 1").fetchone() == (1,)


@check("isolation, read only and deferrable of the connection")
def _():
    with connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.read_only = True
        connection.deferrable = True
        shown = [connection.execute(f"show transaction_{what}").fetchone()[0] for what in ("isolation", "read_only", "deferrable")]
        assert shown == ["serializable", "on", "on"], shown


for how in "cancel", "cancel_safe":

    @check(f"{how}() ends the statement and not the session")
    def _():
        problems = []

        def cancel():
            try:
                getattr(connection, how)()
            except psycopg.Error as error:
                problems.append(str(error))

        with connect(autocommit=True) as connection:
            timer = threading.Timer(1, cancel)
            timer.start()
            with Cancelled():
                raises(psycopg.errors.QueryCanceled, lambda: connection.execute(ENDLESS))
            timer.join()
            assert connection.execute("select 1").fetchone() == (1,)
        assert not problems, problems


@check("a task of asyncio that is cancelled ends its statement")
def _():
    async def run():
        connection = await psycopg.AsyncConnection.connect(**ADDRESS, user="postgres", autocommit=True)
        async with connection:
            with Cancelled():
                try:
                    await asyncio.wait_for(connection.execute(ENDLESS), 1)
                    raise AssertionError("it has no end")
                except asyncio.TimeoutError:
                    pass
            cursor = await connection.execute("select 1")
            assert await cursor.fetchone() == (1,)

    asyncio.run(run())


@check("types are found by name")
def _():
    with connect() as connection:
        for name, oid, array in ("timestamptz", 1184, 1185), ("text", 25, 1009), ("jsonb", 3802, 3807), ("uuid", 2950, 2951):
            info = TypeInfo.fetch(connection, name)
            assert info is not None and (info.oid, info.array_oid) == (oid, array), (name, info)
        assert TypeInfo.fetch(connection, "no_such_type") is None


@check("names and literals that the client composes")
def _():
    with connect() as connection:
        statement = composed.SQL("select {column} from {table} where {column} <> {value} order by 1 limit 2").format(
            column=composed.Identifier("app_id"), table=composed.Identifier("public", "applications"), value=composed.Literal("it's \\ ü")
        )
        assert len(connection.execute(statement).fetchall()) == 2


@check("connections have settings of their own")
def _():
    with connect(autocommit=True) as one, connect(autocommit=True, application_name="checks") as other:
        one.execute("set timezone = 'Europe/Berlin'")
        assert str(one.info.timezone) == "Europe/Berlin" and str(other.info.timezone) == "UTC"
        assert other.execute("show application_name").fetchone() == ("checks",)


@check("the metadata of a result")
def _():
    with connect() as connection:
        cursor = connection.execute("select app_id, duration_ms, start_time, completed from applications limit 7")
        assert cursor.rowcount == 7 and cursor.statusmessage == "SELECT 7"
        columns = [(column.name, column.type_display) for column in cursor.description]
        expected = [("app_id", "text"), ("duration_ms", "int8"), ("start_time", "timestamptz"), ("completed", "bool")]
        assert columns == expected, columns


finish()
