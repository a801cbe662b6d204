"""psycopg2: the simple protocol, and parameters that the client writes into the statement."""
import datetime
import io
import threading

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras

from gate import *

psycopg2.extras.register_uuid()
UTC = datetime.timezone.utc


def connect(**options):
    return psycopg2.connect(host=HOST, port=PORT, user="postgres", dbname=DATABASE, connect_timeout=10, **options)


def query(sql, args=None, **options):
    connection = connect(**options)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, args)
            return cursor.fetchall()
    finally:
        connection.close()


@check("log-in with SCRAM over TLS that is verified")
def _():
    connection = psycopg2.connect(
        host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE, sslmode="verify-full", sslrootcert=CA
    )
    assert connection.info.ssl_in_use and connection.info.used_password
    with connection.cursor() as cursor:
        cursor.execute("select current_user")
        assert cursor.fetchone() == (USER,)
    connection.close()


@check("a wrong password is 28P01")
def _():
    error = raises(
        psycopg2.OperationalError,
        lambda: psycopg2.connect(host=HOST, port=PORT, user=USER, password="wrong", dbname=DATABASE, sslmode="require"),
    )
    assert "password authentication failed" in str(error), error


@check("version of the server")
def _():
    connection = connect()
    assert connection.server_version >= 150000, connection.server_version
    connection.close()


for table in TABLES:

    @check(f"every value of {table.full_name}")
    def _():
        table.assert_rows([list(row) for row in query(table.sql)])

    @check(f"cursor.description of {table.full_name}")
    def _():
        oids = {"boolean": 16, "integer": 23, "bigint": 20, "double precision": 701, "text": 25, "jsonb": 3802}
        oids |= {"timestamp with time zone": 1184, "text[]": 1009, "integer[]": 1007, "bigint[]": 1016, "double precision[]": 1022}
        connection = connect()
        with connection.cursor() as cursor:
            cursor.execute(f"select * from {table.full_name} limit 0")
            seen = [(column.name, column.type_code) for column in cursor.description]
        connection.close()
        assert seen == [(column["name"], oids[column["type"]]) for column in table.columns], seen


for ty, values in PARAMETERS.items():

    @check(f"parameters of {ty}")
    def _():
        for value in values:
            (seen,) = query(f"select %s::{ty}", (value,))[0]
            assert_same(bytes(seen) if ty == "bytea" else seen, value)
        assert query(f"select %s::{ty}", (None,)) == [(None,)]


for ty in "json", "jsonb":

    @check(f"parameters of {ty}")
    def _():
        assert_same(query(f"select %s::{ty}", (psycopg2.extras.Json(DOCUMENT),))[0][0], DOCUMENT)


@check("parameters without a cast: of an instant, lists, nulls")
def _():
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=UTC)
    total = query("select count(*) from applications")[0][0]
    sql = "select count(*) from applications where start_time >= %s and app_id <> all(%s) and app_id not in %s and duration_ms is not null"
    known = query("select count(*) from applications where duration_ms is not null")[0][0]
    assert 0 < query(sql, (long_ago, ["a", "b"], ("x", "y")))[0][0] == known <= total
    assert query("select count(*) from applications where app_id = %s", (None,)) == [(0,)]
    some = [row[0] for row in query("select app_id from applications order by 1 limit 3")]
    assert query("select app_id from applications where app_id = any(%s) order by 1", (some,)) == [(one,) for one in some]


@check("a named cursor reads on where it stopped")
def _():
    connection = connect()
    with connection.cursor(name="reader") as cursor:
        cursor.itersize = 500
        cursor.execute(MANY)
        seen = [row[0] for _, row in zip(range(2000), cursor)]
        assert seen == list(range(1, 2001))
        assert cursor.fetchmany(3) == [(2001,), (2002,), (2003,)], "itersize"
    connection.rollback()
    with connection.cursor(name="small") as cursor:
        cursor.execute("select app_id from applications order by 1")
        rows = cursor.fetchall()
    assert rows == query("select app_id from applications order by 1")
    connection.close()


@check("copy_expert: text, csv, binary")
def _():
    rows = query("select app_id, duration_ms, name from applications order by 1")
    connection = connect()

    def copied(options):
        out = io.BytesIO()
        with connection.cursor() as cursor:
            cursor.copy_expert(f"copy (select app_id, duration_ms, name from applications order by 1) to stdout {options}", out)
            assert cursor.rowcount == len(rows), cursor.rowcount
        return out.getvalue()

    text = copied("").decode().splitlines()
    assert [line.split("\t")[1] for line in text] == ["\\N" if row[1] is None else str(row[1]) for row in rows]
    import csv

    lines = list(csv.reader(io.StringIO(copied("with csv header").decode())))
    assert lines[0] == ["app_id", "duration_ms", "name"]
    assert [line[0] for line in lines[1:]] == [row[0] for row in rows]
    binary = copied("with (format binary)")
    assert binary.startswith(b"PGCOPY\n\xff\r\n\0") and binary.endswith(b"\xff\xff"), binary[:30]
    connection.close()


for sql, code in ERRORS:

    @check(f"{code}: {sql}")
    def _():
        error = raises(psycopg2.Error, lambda: query(sql))
        assert error.pgcode == code, f"{error.pgcode}: {error}"
        assert isinstance(error, psycopg2.errors.lookup(code))


@check("an error aborts the transaction until its end")
def _():
    connection = connect()
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        raises(psycopg2.errors.UndefinedTable, lambda: cursor.execute("select * from nowhere"))
        assert connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INERROR
        raises(psycopg2.errors.InFailedSqlTransaction, lambda: cursor.execute("select 1"))
        connection.rollback()
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    connection.close()


@check("savepoints: what failed behind one is forgotten")
def _():
    connection = connect()
    with connection.cursor() as cursor:
        cursor.execute("savepoint here")
        raises(psycopg2.errors.UndefinedTable, lambda: cursor.execute("select * from nowhere"))
        cursor.execute("rollback to savepoint here")
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
        cursor.execute("release savepoint here")
        raises(psycopg2.errors.InvalidSavepointSpecification, lambda: cursor.execute("rollback to savepoint elsewhere"))
    connection.rollback()
    connection.close()


@check("set_session: read only, isolation")
def _():
    connection = connect()
    connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
    with connection.cursor() as cursor:
        cursor.execute("show transaction_isolation")
        assert cursor.fetchone() == ("repeatable read",)
        cursor.execute("show transaction_read_only")
        assert cursor.fetchone() == ("on",)
    connection.commit()
    connection.close()


@check("cancel() ends the statement and not the session")
def _():
    connection = connect()
    connection.autocommit = True
    threading.Timer(1, connection.cancel).start()
    with Cancelled(), connection.cursor() as cursor:
        raises(psycopg2.errors.QueryCanceled, lambda: cursor.execute(ENDLESS))
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    connection.close()


@check("statement_timeout in the options of the connection")
def _():
    with Cancelled():
        raises(psycopg2.errors.QueryCanceled, lambda: query(ENDLESS, options="-c statement_timeout=1000"))


@check("execute_values and mogrify quote for the server")
def _():
    connection = connect()
    with connection.cursor() as cursor:
        rows = [(1, "it's"), (2, "back\\slash"), (3, None)]
        sql = "select v.a, v.b from (values %s) as v(a, b) order by 1"
        assert psycopg2.extras.execute_values(cursor, sql, rows, fetch=True) == rows
    connection.close()


@check("RealDictCursor and NamedTupleCursor")
def _():
    connection = connect()
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("select job_id, stage_ids, killed_tasks_summary from jobs order by app_id, attempt_id, job_id limit 1")
        row = cursor.fetchone()
        assert list(row) == ["job_id", "stage_ids", "killed_tasks_summary"] and isinstance(row["killed_tasks_summary"], dict), row
    with connection.cursor(cursor_factory=psycopg2.extras.NamedTupleCursor) as cursor:
        cursor.execute("select 1 as one")
        assert cursor.fetchone().one == 1
    connection.close()


@check("values arrive in the time zone of the session")
def _():
    connection = connect(options="-c TimeZone=Europe/Berlin")
    with connection.cursor() as cursor:
        cursor.execute("select timestamptz '2026-07-01 12:00:00Z', timestamptz '2026-12-01 12:00:00Z'")
        summer, winter = cursor.fetchone()
        assert [at.utcoffset().total_seconds() / 3600 for at in (summer, winter)] == [2, 1], (summer, winter)
        assert summer == datetime.datetime(2026, 7, 1, 12, tzinfo=UTC)
    connection.close()


finish()
