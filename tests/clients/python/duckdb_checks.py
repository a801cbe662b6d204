"""What DuckDB's postgres extension sends, read from its source: its questions to the catalog, and binary COPY.

The extension is downloaded from a server of DuckDB's own, which is no package registry, so its statements are sent with psycopg 3 here. The
binary COPY is read by psycopg 3 as DuckDB reads it: by the types that the catalog gave for the columns.
"""
import psycopg

from gate import *

# Types as pg_type names them, and as docs/schema.md does.
NAMES = {
    "bool": "boolean", "int4": "integer", "int8": "bigint", "float8": "double precision", "text": "text", "jsonb": "jsonb",
    "timestamptz": "timestamp with time zone", "_int4": "integer[]", "_int8": "bigint[]", "_float8": "double precision[]", "_text": "text[]",
}


def connect(**options):
    return psycopg.connect(host=HOST, port=PORT, dbname=DATABASE, autocommit=True, **({"user": "postgres"} | options))


def ask(sql):
    """Several statements at once, as the extension sends them; the last one's rows as texts."""
    with connect() as connection:
        result = connection.pgconn.exec_(sql.encode())
        assert result.status in (psycopg.pq.ExecStatus.TUPLES_OK, psycopg.pq.ExecStatus.COMMAND_OK), result.error_message.decode()
        text = lambda value: None if value is None else value.decode()
        return [[text(result.get_value(row, column)) for column in range(result.nfields)] for row in range(result.ntuples)]


COLUMNS = """
SELECT pg_namespace.oid AS namespace_id, relname, relpages, attname,
    pg_type.typname type_name, atttypmod type_modifier, pg_attribute.attndims ndim,
    attnum, pg_attribute.attnotnull AS notnull, NULL constraint_id,
    NULL constraint_type, NULL constraint_key
FROM pg_class
JOIN pg_namespace ON relnamespace = pg_namespace.oid
JOIN pg_attribute ON pg_class.oid=pg_attribute.attrelid
JOIN pg_type ON atttypid=pg_type.oid
WHERE attnum > 0 AND relkind IN ('r', 'v', 'm', 'f', 'p')
UNION ALL
SELECT pg_namespace.oid AS namespace_id, relname, NULL relpages, NULL attname, NULL type_name,
    NULL type_modifier, NULL ndim, NULL attnum, NULL AS notnull,
    pg_constraint.oid AS constraint_id, contype AS constraint_type,
    conkey AS constraint_key
FROM pg_class
JOIN pg_namespace ON relnamespace = pg_namespace.oid
JOIN pg_constraint ON (pg_class.oid=pg_constraint.conrelid)
WHERE relkind IN ('r', 'v', 'm', 'f', 'p') AND contype IN ('p', 'u')
ORDER BY namespace_id, relname, attnum, constraint_id;
"""


@check("log-in with SCRAM over TLS that is verified")
def _():
    with connect(user=USER, password=PASSWORD, sslmode="verify-full", sslrootcert=CA) as connection:
        assert connection.execute("SELECT version()").fetchone()[0].startswith("PostgreSQL ")


@check("version, and whether it is a managed server")
def _():
    ((version, managed),) = ask("SELECT version(), (SELECT COUNT(*) FROM pg_settings WHERE name LIKE 'rds%')")
    assert version.startswith("PostgreSQL ") and managed == "0", (version, managed)


@check("a transaction whose snapshot other connections may share")
def _():
    ((is_replica, snapshot, receivers),) = ask(
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
        "SELECT pg_is_in_recovery(), pg_export_snapshot(), (select count(*) from pg_stat_wal_receiver)"
    )
    assert (is_replica, receivers) == ("f", "0") and snapshot, (is_replica, snapshot, receivers)


@check("schemas")
def _():
    seen = {name for _, name in ask("SELECT oid, nspname FROM pg_namespace WHERE nspname NOT IN ('information_schema', 'pg_catalog') ORDER BY oid")}
    assert seen == {"public", "rollup", "advice", "system"}, seen


@check("tables with their columns, types and keys are those of docs/schema.md")
def _():
    schemas = dict(ask("SELECT oid, nspname FROM pg_namespace ORDER BY oid"))
    seen = {}
    for namespace, table, _, column, ty, _, _, number, not_null, _, _, _ in ask(COLUMNS):
        if schemas[namespace] not in ("pg_catalog", "information_schema") and column is not None:
            seen.setdefault(f"{schemas[namespace]}.{table}", []).append((int(number), column, NAMES[ty], not_null))
    assert sorted(seen) == sorted(table.full_name for table in TABLES)
    for table in TABLES:
        wanted = [(at + 1, column["name"], column["type"]) for at, column in enumerate(table.columns)]
        assert [column[:3] for column in seen[table.full_name]] == wanted, table.full_name
        if not table.is_view:
            nullable = [column["nullable"] for column in table.columns]
            assert [column[3] == "f" for column in seen[table.full_name]] == nullable, table.full_name


@check("enumerations")
def _():
    assert ask("""
SELECT n.oid, enumtypid, typname, enumlabel
FROM pg_enum e
JOIN pg_type t ON e.enumtypid = t.oid
JOIN pg_namespace AS n ON (typnamespace=n.oid)
ORDER BY n.oid, enumtypid, enumsortorder;
""") == []


@check("composite types")
def _():
    assert ask("""
SELECT n.oid, t.typrelid AS id, t.typname as type, pg_attribute.attname, sub_type.typname
FROM pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
JOIN pg_class ON pg_class.oid = t.typrelid
JOIN pg_attribute ON attrelid=t.typrelid
JOIN pg_type sub_type ON (pg_attribute.atttypid=sub_type.oid)
WHERE pg_class.relkind = 'c'
AND t.typtype='c'
ORDER BY n.oid, t.oid, attrelid, attnum;
""") == []


@check("indexes")
def _():
    ask("SELECT pg_namespace.oid, tablename, indexname FROM pg_indexes JOIN pg_namespace ON (schemaname=nspname) ORDER BY pg_namespace.oid;")


for table in TABLES:

    @check(f"binary COPY of {table.full_name}")
    def _():
        # The extension casts what it has no type for.
        cast = {"jsonb": "::VARCHAR"}
        names = ", ".join(f'"{column["name"]}"{cast.get(column["type"], "")}' for column in table.columns)
        order = ", ".join(f'"{column["name"]}"' for column in table.columns if column["type"] != "jsonb")
        types = ["text" if ty == "jsonb" else {name: key for key, name in NAMES.items()}[ty] for ty in table.types]
        types = [f"{ty[1:]}[]" if ty.startswith("_") else ty for ty in types]
        scan = f'COPY (SELECT {names} FROM "{table.schema}"."{table.name}" ORDER BY {order} LIMIT {len(table.rows)}) TO STDOUT (FORMAT "binary");'
        with connect() as connection, connection.cursor() as cursor, cursor.copy(scan) as copy:
            copy.set_types(types)
            rows = [list(row) for row in copy.rows()]
        for row in rows:
            for at, ty in enumerate(table.types):
                if ty == "jsonb" and row[at] is not None:
                    row[at] = json.loads(row[at])
        table.assert_rows(rows)


@check("a scan without columns counts rows")
def _():
    jobs = next(table for table in TABLES if table.full_name == "public.jobs")
    with connect() as connection, connection.cursor() as cursor:
        with cursor.copy('COPY (SELECT NULL FROM "public"."jobs" ) TO STDOUT (FORMAT "binary");') as copy:
            assert sum(1 for _ in copy.rows()) == len(jobs.rows)


@check("filters that it pushes into a scan")
def _():
    filters = [
        """("app_id" IS NOT NULL AND "app_id" = 'local-1795254806062')""",
        """("job_id" >= 1 AND "job_id" < 3)""",
        """("submission_time" >= '2026-01-01 00:00:00+00' AND "status" IN ('SUCCEEDED', 'FAILED'))""",
    ]
    with connect() as connection, connection.cursor() as cursor:
        for condition in filters:
            with cursor.copy(f'COPY (SELECT "job_id" FROM "public"."jobs" WHERE {condition}) TO STDOUT (FORMAT "binary");') as copy:
                copy.set_types(["int4"])
                seen = sorted(row[0] for row in copy.rows())
            (count,) = connection.execute(f"select count(*) from jobs where {condition}").fetchone()
            assert len(seen) == count > 0, condition


finish()
