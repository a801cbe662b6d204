"""asyncpg: everything in binary, types introspected through pg_catalog."""
import asyncio
import datetime
import io
import json
import ssl

import asyncpg
from asyncpg import introspection

from gate import *

UTC = datetime.timezone.utc


async def connect(**options):
    return await asyncpg.connect(**({"host": HOST, "port": PORT, "user": "postgres", "database": DATABASE, "timeout": 15} | options))


def acheck(name, **options):
    """`check` of a coroutine that is given a connection."""

    def declare(body):
        async def run():
            connection = await connect(**options)
            try:
                await asyncio.wait_for(body(connection), LIMIT_S)
            finally:
                await connection.close(timeout=5)

        return check(name)(lambda: asyncio.run(run()))

    return declare


async def araises(error, coroutine):
    try:
        await coroutine
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__}")


@check("log-in with SCRAM over TLS that is verified")
def _():
    async def run():
        context = ssl.create_default_context(cafile=CA)
        connection = await connect(user=USER, password=PASSWORD, ssl=context)
        assert await connection.fetchval("select current_user") == USER
        await connection.close()
        await araises(asyncpg.InvalidPasswordError, connect(user=USER, password="wrong", ssl=context))
        await araises(asyncpg.InvalidAuthorizationSpecificationError, connect(user=USER, password=PASSWORD, ssl=False))

    asyncio.run(run())


@acheck("version of the server")
async def _(connection):
    assert connection.get_server_version().major >= 15


for table in TABLES:

    @acheck(f"every value of {table.full_name}")
    async def _(connection):
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        table.assert_rows([list(row) for row in await connection.fetch(table.sql)])

    @acheck(f"attributes of a prepared statement on {table.full_name}")
    async def _(connection):
        names = {"boolean": "bool", "integer": "int4", "bigint": "int8", "double precision": "float8", "text": "text", "jsonb": "jsonb"}
        names |= {"timestamp with time zone": "timestamptz", "integer[]": "int4[]", "bigint[]": "int8[]"}
        names |= {"double precision[]": "float8[]", "text[]": "text[]"}
        statement = await connection.prepare(f"select * from {table.full_name}")
        seen = [(attribute.name, attribute.type.name) for attribute in statement.get_attributes()]
        assert seen == [(column["name"], names[column["type"]]) for column in table.columns], seen


for ty, values in (PARAMETERS | {"json": [json.dumps(DOCUMENT)], "jsonb": [json.dumps(DOCUMENT)]}).items():

    @acheck(f"parameters of {ty}")
    async def _(connection):
        for value in values + [None]:
            seen = await connection.fetchval(f"select $1::{ty}", value)
            if ty == "jsonb" and value is not None:
                seen, value = json.loads(seen), json.loads(value)
            if ty == "uuid" and value is not None:
                assert seen == value and str(seen) == str(value), seen
            else:
                assert_same(seen, value)
        statement = await connection.prepare(f"select $1::{ty}")
        (parameter,), (attribute,) = statement.get_parameters(), statement.get_attributes()
        assert parameter == attribute.type, (parameter, attribute)


@acheck("the server finds the types of parameters")
async def _(connection):
    sql = "select count(*) from applications where start_time >= $1 and duration_ms > $2 and not (app_id = any($3)) and completed = $4"
    statement = await connection.prepare(sql)
    assert [parameter.name for parameter in statement.get_parameters()] == ["timestamptz", "int8", "text[]", "bool"]
    known = await connection.fetchval("select count(*) from applications where duration_ms > 5 and completed")
    assert 0 < known == await statement.fetchval(datetime.datetime(2020, 1, 1, tzinfo=UTC), 5, ["a", "b"], True)


for sql, names in [
    ("select app_id from applications limit $1 offset $2", ["int8", "int8"]),
    ("select skew from (select task_duration_skew as skew from stages) q where skew > $1", ["float8"]),
    ("select $1::int + 1", ["int4"]),
    ("select * from applications where name like $1 || '%'", ["text"]),
    ("select * from jobs where job_id in ($1, $2)", ["int4", "int4"]),
    ("select * from jobs where job_id between $1 and $2 and $3 = any(stage_ids)", ["int4", "int4", "int4"]),
    ("select coalesce(duration_ms, $1) from jobs", ["int8"]),
    ("select case when $1 then 1 else $2 end", ["bool", "int4"]),
    ("select date_trunc($1, start_time) from applications", ["text"]),
    ("select start_time + $1 from applications", ["interval"]),
    ("select nullif(job_id, $1) from jobs", ["int4"]),
    ("select greatest(job_id, $1) from jobs", ["int4"]),
]:

    @acheck(f"types of parameters: {sql}")
    async def _(connection):
        statement = await connection.prepare(sql)
        seen = [parameter.name for parameter in statement.get_parameters()]
        assert seen == names, seen


@acheck("a value that is too large for its parameter is refused before it is sent, and the session goes on")
async def _(connection):
    await araises(asyncpg.DataError, connection.fetch("select $1::int4", 2**31))
    assert await connection.fetchval("select 1") == 1


@acheck("a cursor in a transaction reads on where it stopped")
async def _(connection):
    async with connection.transaction():
        seen = []
        async for row in connection.cursor(MANY, prefetch=100):
            seen.append(row[0])
            if len(seen) == 1050:
                break
        assert seen == list(range(1, 1051))
        cursor = await connection.cursor(MANY)
        first, second = await cursor.fetch(10), await cursor.fetch(10)
        assert [row[0] for row in first + second] == list(range(1, 21))
        assert await cursor.forward(5) == 5
        assert (await cursor.fetchrow())[0] == 26


@acheck("command tags")
async def _(connection):
    assert await connection.execute("select * from applications limit 3") == "SELECT 3"
    assert await connection.execute("set application_name = 'x'") == "SET"
    assert await connection.execute("select 1; select 2") == "SELECT 1"


@acheck("executemany runs a statement for each row")
async def _(connection):
    await connection.executemany("select $1::int", [(number,) for number in range(20)])


@acheck("copy_from_query and copy_from_table: text, csv, binary")
async def _(connection):
    jobs = await connection.fetchval("select count(*) from jobs")
    for form in "text", "csv", "binary":
        out = io.BytesIO()
        tag = await connection.copy_from_query("select job_id, stage_ids, name from jobs where job_id >= $1", 0, output=out, format=form)
        assert tag == f"COPY {jobs}", tag
        if form == "text":
            assert len(out.getvalue().splitlines()) == jobs
        tag = await connection.copy_from_table("jobs", columns=["app_id", "submission_time"], output=io.BytesIO(), format=form)
        assert tag == f"COPY {jobs}", tag


for sql, code in ERRORS:

    @acheck(f"{code}: {sql}")
    async def _(connection):
        error = await araises(asyncpg.PostgresError, connection.fetch(sql))
        assert error.sqlstate == code, f"{error.sqlstate}: {error}"
        assert await connection.fetchval("select 1") == 1


@acheck("a time-out of the client ends the statement at the server")
async def _(connection):
    with Cancelled():
        await araises(asyncio.TimeoutError, connection.fetch(ENDLESS, timeout=1))
    assert await connection.fetchval("select 1") == 1


@acheck("statement_timeout ends the statement", server_settings={"statement_timeout": "1000"})
async def _(connection):
    with Cancelled():
        await araises(asyncpg.QueryCanceledError, connection.fetch(ENDLESS))
    assert await connection.fetchval("select 1") == 1


@acheck("transactions, and savepoints in them")
async def _(connection):
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        assert await connection.fetchval("show transaction_isolation") == "repeatable read"

    async def fails():
        async with connection.transaction():
            await connection.fetch("select * from nowhere")

    async with connection.transaction():
        await araises(asyncpg.UndefinedTableError, fails())
        assert await connection.fetchval("select 1") == 1
    transaction = connection.transaction()
    await transaction.start()
    await araises(asyncpg.UndefinedTableError, connection.fetch("select * from nowhere"))
    await araises(asyncpg.InFailedSQLTransactionError, connection.fetch("select 1"))
    await transaction.rollback()
    assert await connection.fetchval("select 1") == 1


@acheck("types are introspected with all that they are made of")
async def _(connection):
    rows = await connection.fetch(introspection.INTRO_LOOKUP_TYPES, [1007, 1009, 1185])
    found = {row["oid"]: row for row in rows}
    assert {oid: found[oid]["elemtype"] for oid in (1007, 1009, 1185)} == {1007: 23, 1009: 25, 1185: 1184}, found
    assert {found[oid]["kind"].decode() if isinstance(found[oid]["kind"], bytes) else found[oid]["kind"] for oid in found} == {"b"}, found
    assert (await connection.fetchrow(introspection.TYPE_BY_NAME, "timestamptz", "pg_catalog"))["oid"] == 1184


@acheck("reset() puts settings back")
async def _(connection):
    await connection.execute("set timezone = 'Europe/Berlin'")
    await connection.reset()
    assert await connection.fetchval("show timezone") == "UTC"


@check("a pool of 4 for 40 questions")
def _():
    async def run():
        options = {"host": HOST, "port": PORT, "user": "postgres", "database": DATABASE}
        async with asyncpg.create_pool(**options, min_size=2, max_size=4, timeout=15) as pool:
            seen = await asyncio.gather(*[pool.fetchval("select count(*) + $1::int from applications", number) for number in range(40)])
            assert [count - number for number, count in enumerate(seen)] == [seen[0]] * 40

    asyncio.run(run())


finish()
