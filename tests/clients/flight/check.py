"""Flight SQL with the clients of Python: ADBC's driver, pandas, polars and pyarrow.flight.

    python check.py NAME ADDRESS [KEY=VALUE ...]

runs the function NAME below against the server at ADDRESS (`127.0.0.1:32010`); the last line it prints is `ok`, and anything that is not as
it should be is an exception. Values that a test expects come as KEY=VALUE.
"""

import datetime
import os
import sys
import threading
import time

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as dbapi
import pyarrow
import pyarrow.flight as flight

OPTIONS = adbc_driver_flightsql.DatabaseOptions


def connect(address, tls=None, **kwargs):
    scheme = "grpc+tls" if tls else "grpc"
    if tls:
        kwargs[OPTIONS.TLS_ROOT_CERTS.value] = open(tls).read()
    return dbapi.connect(f"{scheme}://{address}", db_kwargs=kwargs, autocommit=True)


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def fails(work, *parts, kind=Exception):
    """What `work` raises, which has all the parts in its text."""
    try:
        work()
    except kind as error:
        text = str(error)
        for part in parts:
            assert part in text, f"{part!r} is not in {text!r}"
        return error
    raise AssertionError(f"nothing was raised, expected {parts}")


def same(found, expected, what=""):
    assert found == expected, f"{what}: {found!r} is not {expected!r}"


# --- ADBC ---------------------------------------------------------------------------------------------------------------------------------


def statements(address):
    with connect(address) as connection:
        same(rows(connection, "select 1 as a, 'x' as b, null::int as c"), [(1, "x", None)])
        with connection.cursor() as cursor:
            cursor.execute("select app_id, start_time, job_ids, num_tasks from applications a, (select app_id as id, "
                           "array_agg(job_id order by job_id) as job_ids from jobs group by 1) j where a.app_id = j.id order by app_id")
            table = cursor.fetch_arrow_table()
            same(table.schema.field("start_time").type, pyarrow.timestamp("us", "UTC"))
            assert pyarrow.types.is_list(table.schema.field("job_ids").type), table.schema
            assert table.num_rows > 10
            ids = table.column("app_id").to_pylist()
            same(ids, sorted(ids))
            start = table.column("start_time")[0].as_py()
            same(start.utcoffset(), datetime.timedelta(0))
        # Nested values are nested here.
        with connection.cursor() as cursor:
            cursor.execute("select * from sql_plan_nodes limit 1")
            nested = [f for f in cursor.fetch_arrow_table().schema if pyarrow.types.is_nested(f.type)]
            assert nested, "sql_plan_nodes has lists of structs"
        # Every table: the schema that is promised is the schema that comes, and the counts are those of SQL.
        for schema, name in rows(connection, "select table_schema, table_name from information_schema.tables "
                                             "where table_schema in ('public', 'rollup', 'advice', 'system')"):
            with connection.cursor() as cursor:
                cursor.execute(f'select * from {schema}."{name}"')
                table = cursor.fetch_arrow_table()
                if schema != "system":
                    same(table.num_rows, rows(connection, f'select count(*) from {schema}."{name}"')[0][0], name)
                described = connection.adbc_get_table_schema(name, db_schema_filter=schema)
                same(table.schema, pyarrow.schema([f.remove_metadata() for f in described]), name)
        # A reader, batch by batch.
        with connection.cursor() as cursor:
            cursor.execute("select task_id, stage_id from tasks")
            reader = cursor.fetch_record_batch()
            count = sum(batch.num_rows for batch in reader)
        same(count, rows(connection, "select count(*) from tasks")[0][0])
        # No rows have a schema too.
        with connection.cursor() as cursor:
            cursor.execute("select task_id, status from tasks where false")
            table = cursor.fetch_arrow_table()
            same((table.num_rows, table.column_names), (0, ["task_id", "status"]))
        with connection.cursor() as cursor:
            same(cursor.adbc_execute_schema("select task_id, status from tasks").names, ["task_id", "status"])
        # Partitions are what other readers fetch.
        with connection.cursor() as cursor:
            partitions, schema = cursor.adbc_execute_partitions("select job_id from jobs order by app_id, job_id")
            same(schema.names, ["job_id"])
            expected = rows(connection, "select job_id from jobs order by app_id, job_id")
            for _ in range(2):
                with connection.cursor() as other:
                    found = []
                    for partition in partitions:
                        other.adbc_read_partition(partition)
                        found.extend(other.fetchall())
                    same(found, expected)


def parameters(address):
    with connect(address) as connection:
        same(rows(connection, "select job_id from jobs where job_id < ? and status = ? order by app_id, job_id limit 2", (1, "SUCCEEDED")),
             [(0,), (0,)])
        same(rows(connection, "select ? + 1", (41,)), [(42,)])
        same(rows(connection, "select $1 || '?'", ("what",)), [("what?",)])
        same(rows(connection, "select ?, ?, ?, ?", (1, 2.5, "text", None)), [(1, 2.5, "text", None)])
        same(rows(connection, "select count(*) from tasks where duration_ms > ?", (0.5,)),
             rows(connection, "select count(*) from tasks where duration_ms > 0.5"))
        moment = datetime.datetime(2026, 11, 21, 6, 0, tzinfo=datetime.timezone.utc)
        same(rows(connection, "select ?::timestamptz", (moment,))[0][0], moment)
        same(rows(connection, "select count(*) from applications where start_time > ?", (moment,)),
             rows(connection, "select count(*) from applications where start_time > '2026-11-21T06:00:00Z'"))
        with connection.cursor() as cursor:
            schema = cursor.adbc_prepare("select job_id from jobs where job_id = ? and status = ?")
            same([str(field.type) for field in schema], ["int32", "string"])
            for job_id in (0, 1):
                cursor.execute("select job_id from jobs where job_id = ? and status = ? limit 1", (job_id, "SUCCEEDED"))
                same(cursor.fetchall(), [(job_id,)])
        fails(lambda: rows(connection, "select job_id from jobs where job_id = ?", (2**40,)), "$1", "22P02")
        fails(lambda: rows(connection, "select job_id from jobs where job_id = ? and status = ?", (1,)), "1 parameters given, the statement has 2")

        def many(sql, values):
            with connection.cursor() as cursor:
                cursor.executemany(sql, values)

        fails(lambda: many("insert into jobs (job_id) values (?)", [(1,), (2,)]), "cannot execute INSERT in a read-only transaction", "25006")
        fails(lambda: many("select job_id from jobs where job_id = ?", [(1,), (2,)]), "returns rows")
        for sql, word in [("drop table tasks", "DROP TABLE"), ("create table t (a int)", "CREATE TABLE"), ("delete from tasks", "DELETE"),
                          ("update tasks set task_id = 1", "UPDATE"), ("truncate tasks", "TRUNCATE")]:
            fails(lambda: rows(connection, sql), f"cannot execute {word} in a read-only transaction", "25006")
        fails(lambda: connection.cursor().adbc_ingest("t", pyarrow.table({"a": [1]})), "read-only", "25006")


def objects(address):
    with connect(address) as connection:
        info = connection.adbc_get_info()
        same(info["vendor_name"], "Sparkgate")
        same(connection.adbc_get_table_types(), ["SYSTEM TABLE", "SYSTEM VIEW", "TABLE", "VIEW"])
        catalogs = connection.adbc_get_objects(depth="catalogs").read_all().to_pylist()
        same([catalog["catalog_name"] for catalog in catalogs], ["spark"])

        def schemas(**filters):
            found = connection.adbc_get_objects(**filters).read_all().to_pylist()
            return {s["db_schema_name"]: s for c in found for s in c["catalog_db_schemas"] or []}

        everything = {"advice", "information_schema", "pg_catalog", "public", "rollup", "system"}
        same(set(schemas(depth="db_schemas")), everything)
        same(set(schemas(depth="db_schemas", db_schema_filter="p%")), {"pg_catalog", "public"})
        same(connection.adbc_get_objects(depth="db_schemas", catalog_filter="other").read_all().num_rows, 0)
        expected = {}
        for schema, name, kind in rows(connection, "select table_schema, table_name, table_type from information_schema.tables"):
            expected.setdefault(schema, {})[name] = kind
        tables = schemas(depth="tables")
        for schema, relations in expected.items():
            found = {t["table_name"]: t["table_type"] for t in tables[schema]["db_schema_tables"]}
            same(set(found), set(relations), schema)
        kinds = {t["table_name"]: t["table_type"] for t in tables["public"]["db_schema_tables"]}
        same(set(kinds.values()), {"TABLE"})
        same({t["table_type"] for t in tables["advice"]["db_schema_tables"]}, {"VIEW"})
        views = schemas(depth="tables", table_types_filter=["VIEW"])
        same(set(t["table_name"] for t in views["advice"]["db_schema_tables"]), set(expected["advice"]))
        some = schemas(depth="tables", table_name_filter="stage%", db_schema_filter="public")
        same(sorted(t["table_name"] for t in some["public"]["db_schema_tables"]), ["stage_executors", "stages"])
        full = schemas(depth="all", db_schema_filter="public")
        columns = {t["table_name"]: t["table_columns"] for t in full["public"]["db_schema_tables"]}
        described = rows(connection, "select table_name, column_name, ordinal_position from information_schema.columns "
                                     "where table_schema = 'public' order by 1, 3")
        for name in columns:
            same([c["column_name"] for c in columns[name]], [c for t, c, _ in described if t == name], name)
        one = schemas(depth="columns", db_schema_filter="public", table_name_filter="tasks", column_name_filter="task_id")
        same([c["column_name"] for c in one["public"]["db_schema_tables"][0]["table_columns"]], ["task_id"])
        schema = connection.adbc_get_table_schema("stage_executors")
        same(schema.names, [c for t, c, _ in described if t == "stage_executors"])
        metadata = connection.adbc_get_table_schema("tasks").field("launch_time").metadata
        same(metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"], b"timestamp with time zone")
        assert metadata[b"ARROW:FLIGHT:SQL:REMARKS"], metadata
        fails(lambda: connection.adbc_get_table_schema("nowhere"), "No table found")


def errors(address):
    with connect(address) as connection:
        for sql, state, part in [
            ("selec 1", "42601", "syntax error"),
            ("select * from nowhere", "42P01", 'relation "nowhere" does not exist'),
            ("select nothing from tasks", "42703", "nothing"),
            ("select no_such(1)", "42883", "no_such"),
            ("select 1; select 2", "42601", "exactly one statement"),
            ("select 1 / 0", "22012", "division by zero"),
            ("select 'x'::int", "22P02", "invalid input syntax"),
        ]:
            fails(lambda: rows(connection, sql), state, part)
        # And the connection is as good as before.
        same(rows(connection, "select 1"), [(1,)])


ENDLESS = "select sum(a.task_id * b.task_id % 7) from tasks a, tasks b, tasks c, tasks d"


def cancel(address):
    """An endless statement is cancelled by the driver, and by others who see its session."""
    endless = ENDLESS
    with connect(address) as connection, connect(address) as other:
        ((pid,),) = rows(connection, "select pg_backend_pid()")
        listed = "select state, application_name <> '' from system.sessions where door = 'flight' and pid = {}".format(pid)
        same(rows(other, listed), [("idle", True)])
        for how, code in [("pg_cancel_backend", "57014"), ("pg_terminate_backend", "")]:
            outcome = []

            def run():
                outcome.append(str(fails(lambda: rows(connection, endless), code)))

            thread = threading.Thread(target=run)
            thread.start()
            deadline = time.monotonic() + 10
            while rows(other, listed) != [("active", True)]:
                assert time.monotonic() < deadline, "the session is not active"
                time.sleep(0.1)
            same(rows(other, f"select {how}({pid})"), [(True,)])
            thread.join(5)
            assert outcome and not thread.is_alive(), outcome
        # Who is let in without a log-in goes on in a new session.
        ((again,),) = rows(connection, "select pg_backend_pid()")
        assert again != pid, "the session was ended"
    with connect(address) as connection, connection.cursor() as cursor:
        outcome = []

        def run():
            try:
                cursor.execute(endless)
                cursor.fetchall()
                outcome.append("rows")
            except Exception as error:  # noqa: BLE001
                outcome.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(1)
        begun = time.monotonic()
        cursor.adbc_cancel()
        thread.join(10)
        assert outcome and outcome[0] != "rows", outcome
        assert "ancel" in outcome[0], outcome
        took = time.monotonic() - begun
        assert took < 2, f"the cancel took {took} s"


def session(address):
    with connect(address) as connection:
        same(connection.adbc_current_catalog, "spark")
        same(connection.adbc_current_db_schema, "public")
        connection.adbc_connection.set_options(**{"adbc.connection.db_schema": "advice"})
        same(connection.adbc_current_db_schema, "advice")
        same(rows(connection, "select count(*) >= 0 from failed_work"), [(True,)])
        fails(lambda: connection.adbc_connection.set_options(**{"adbc.connection.db_schema": "nowhere"}))
        same(connection.adbc_current_db_schema, "advice")
        set_option = lambda name, value: connection.adbc_connection.set_options(**{f"adbc.flight.sql.session.option.{name}": value})
        set_option("time_zone", "Asia/Kolkata")
        same(rows(connection, "select current_setting('TimeZone')"), [("Asia/Kolkata",)])
        same(rows(connection, "select extract(hour from timestamptz '2026-01-01T00:00:00Z')::int"), [(5,)])
        set_option("statement_timeout", "300ms")
        fails(lambda: rows(connection, "select sum(a.task_id * b.task_id % 7) from public.tasks a, public.tasks b, public.tasks c, public.tasks d"),
              "statement timeout", "57014")
        set_option("statement_timeout", "0")
        fails(lambda: set_option("colour", "red"))
        with connect(address) as other:
            same(rows(other, "select current_setting('TimeZone')"), [("UTC",)])


def frames(address):
    import pandas
    import polars

    with connect(address) as connection:
        query = "select app_id, name, start_time, num_tasks from applications order by app_id"
        expected = rows(connection, query)
        frame = pandas.read_sql(query, connection)
        same([tuple(row) for row in frame[["app_id", "num_tasks"]].itertuples(index=False)], [(r[0], r[3]) for r in expected])
        same(str(frame["start_time"].dt.tz), "UTC")
        frame = polars.read_database(query, connection)
        same([(r["app_id"], r["num_tasks"]) for r in frame.to_dicts()], [(r[0], r[3]) for r in expected])
        same(str(frame.schema["start_time"]), "Datetime(time_unit='us', time_zone='UTC')")


def log_in(address, user, password, token, tls=None):
    """With a password, with a token of the file of users; not with wrong ones, and not with none."""
    with connect(address, tls, username=user, password=password) as connection:
        same(rows(connection, "select current_user"), [(user,)])
        same(rows(connection, "select current_user"), [(user,)])
    with connect(address, tls, **{OPTIONS.AUTHORIZATION_HEADER.value: f"Bearer {token}"}) as connection:
        same(rows(connection, "select current_user"), [(user,)])

    def attempt(**kwargs):
        with connect(address, tls, **kwargs) as connection:
            rows(connection, "select 1")

    fails(lambda: attempt(username=user, password="wrong"), "password authentication failed", "28P01")
    fails(lambda: attempt(**{OPTIONS.AUTHORIZATION_HEADER.value: "Bearer sparkgate_wrong"}), "the token is not known", "28000")
    fails(lambda: attempt(**{OPTIONS.AUTHORIZATION_HEADER.value: "Bearer flight_wrong"}), "the token is not known", "28000")
    fails(lambda: attempt(), "log in with a user", "28000")


def certificate(address, tls, cert, key, user):
    kwargs = {OPTIONS.MTLS_CERT_CHAIN.value: open(cert).read(), OPTIONS.MTLS_PRIVATE_KEY.value: open(key).read()}
    with connect(address, tls, **kwargs) as connection:
        same(rows(connection, "select current_user"), [(user,)])

    def without():
        with connect(address, tls) as connection:
            rows(connection, "select 1")

    fails(without, "certificate", "28000")


def refused_in_clear(address):
    def attempt():
        with connect(address) as connection:
            rows(connection, "select 1")

    fails(attempt, "TLS only")


# --- pyarrow.flight, by hand --------------------------------------------------------------------------------------------------------------


def varint(number):
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def field(number, value):
    """One field of a protobuf message that is bytes or text."""
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def command(name, body=b""):
    return field(1, f"type.googleapis.com/arrow.flight.protocol.sql.{name}") + (field(2, body) if body else b"")


def statement_info(client, sql, options=None):
    return client.get_flight_info(flight.FlightDescriptor.for_command(command("CommandStatementQuery", field(1, sql))), options)


def by_hand(address, user, password):
    with flight.connect(f"grpc://{address}") as client:
        fails(lambda: statement_info(client, "select 1"), "log in with a user", kind=flight.FlightUnauthenticatedError)
        header = client.authenticate_basic_token(user, password)
        options = flight.FlightCallOptions(headers=[header])
        info = statement_info(client, "select job_id, status from jobs order by app_id, job_id", options)
        same((info.schema.names, len(info.endpoints), info.total_records), (["job_id", "status"], 1, -1))
        ticket = info.endpoints[0].ticket
        first = client.do_get(ticket, options).read_all()
        assert first.schema == info.schema and first.num_rows > 10
        # Again, by another reader of the same user, after a new log-in; and not by somebody else.
        with flight.connect(f"grpc://{address}") as other:
            again = flight.FlightCallOptions(headers=[other.authenticate_basic_token(user, password)])
            assert other.do_get(ticket, again).read_all() == first
            schema = other.get_schema(flight.FlightDescriptor.for_command(command("CommandStatementQuery", field(1, "select 1 as one"))), again)
            same(schema.schema.names, ["one"])
        fails(lambda: client.do_get(ticket).read_all(), "log in", kind=flight.FlightUnauthenticatedError)
        # Compression, for who asks.
        for compression in ("lz4", "zstd", "none"):
            packed = flight.FlightCallOptions(headers=[header, (b"x-sparkgate-compression", compression.encode())])
            assert client.do_get(ticket, packed).read_all() == first
        wrong = flight.FlightCallOptions(headers=[header, (b"x-sparkgate-compression", b"gzip")])
        fails(lambda: client.do_get(ticket, wrong), "x-sparkgate-compression", kind=pyarrow.ArrowInvalid)
        # Tickets that are none.
        raw = ticket.ticket
        for bad in (b"", b"nonsense", raw[:-1], raw[:-1] + bytes([raw[-1] ^ 1]), raw[:60] + bytes([raw[60] ^ 1]) + raw[61:],
                    command("CommandGetTables"), command("TicketStatementQuery", field(1, b"x"))):
            fails(lambda: client.do_get(flight.Ticket(bad), options).read_all(), "no ticket of this server", kind=pyarrow.ArrowInvalid)
        # Cancelled results end, and cannot be fetched again.
        endless = statement_info(client, "select a.task_id, b.launch_time from tasks a, tasks b, tasks c, tasks d", options)
        reader = client.do_get(endless.endpoints[0].ticket, options)
        reader.read_chunk()
        results = list(client.do_action(flight.Action("CancelFlightInfo", field(1, endless.serialize())), options))
        same(results[0].body.to_pybytes(), b"\x08\x01")

        def read_on():
            while True:
                reader.read_chunk()

        fails(read_on, "user request")
        fails(lambda: client.do_get(endless.endpoints[0].ticket, options).read_all(), "user request")
        renewed = list(client.do_action(flight.Action("RenewFlightEndpoint", field(1, field(1, field(1, raw)))), options))
        assert len(renewed[0].body) > len(raw)
        names = {action.type for action in client.list_actions(options)}
        assert {"CreatePreparedStatement", "CancelFlightInfo", "SetSessionOptions", "CloseSession"} <= names, names
        same(list(client.list_flights(options=options)), [])
        fails(lambda: client.get_flight_info(flight.FlightDescriptor.for_path("tasks"), options), "CommandStatementQuery")
        fails(lambda: client.get_flight_info(flight.FlightDescriptor.for_command(b"what"), options))
        fails(lambda: list(client.do_action(flight.Action("what", b""), options)), "ListActions")
        for action in ("BeginTransaction", "BeginSavepoint", "CreatePreparedSubstraitPlan"):
            body = command(f"Action{action}Request")
            fails(lambda: list(client.do_action(flight.Action(action, body), options)), "0A000")
        # Too large a message is refused, and nothing else happens.
        fails(lambda: statement_info(client, "select '" + "x" * (17 << 20) + "'", options), "too large")
        # The end of a session is the end of its token.
        list(client.do_action(flight.Action("CloseSession", b""), options))
        fails(lambda: statement_info(client, "select 1", options), "has expired", kind=flight.FlightUnauthenticatedError)


def keys(address):
    """Keys, types and infos, whose answers ADBC does not show."""
    with flight.connect(f"grpc://{address}") as client:

        def ask(name, body=b""):
            info = client.get_flight_info(flight.FlightDescriptor.for_command(command(name, body)))
            table = client.do_get(info.endpoints[0].ticket).read_all()
            assert table.schema == info.schema, name
            return table

        for name in ("CommandGetPrimaryKeys", "CommandGetImportedKeys", "CommandGetExportedKeys"):
            same(ask(name, field(3, "tasks")).num_rows, 0)
        same(ask("CommandGetCrossReference", field(3, "jobs") + field(6, "tasks")).num_rows, 0)
        types = ask("CommandGetXdbcTypeInfo").to_pylist()
        same({"boolean", "bigint", "text", "timestamp with time zone"} - {t["type_name"] for t in types}, set())
        same([t["type_name"] for t in ask("CommandGetXdbcTypeInfo", b"\x08" + varint(4)).to_pylist()], ["integer"])
        infos = {row["info_name"]: row["value"] for row in ask("CommandGetSqlInfo").to_pylist()}
        same((infos[0], infos[3], infos[8], infos[9]), ("Sparkgate", True, 0, True))
        # What is said is so.
        with connect(address) as connection:
            # Without the arguments it wants, a function that is there says so in other words than one that is not.
            missing = []
            for name in infos[509] + infos[510] + infos[511] + infos[512]:
                try:
                    rows(connection, f"select {name}()")
                except Exception as error:  # noqa: BLE001
                    if f"function {name} does not exist" in str(error):
                        missing.append(name)
            same(missing, [])
            same(rows(connection, "select x from (values (1), (null), (2)) t(x) order by x"), [(1,), (2,), (None,)])
            same(rows(connection, "select x from (values (1), (null), (2)) t(x) order by x desc"), [(None,), (2,), (1,)])
            same(rows(connection, "select 1 as \"MiXed\", 2 as MiXed")[0], (1, 2))
            same(rows(connection, "select job_id from jobs j where exists (select 1 from stages s where s.app_id = j.app_id) and job_id in "
                                  "(select 0) and job_id = (select min(job_id) from jobs) limit 1"), [(0,)])
            same(rows(connection, "select a.x, b.y from (values (1)) a(x) full outer join (values (2)) b(y) on a.x = b.y order by 1"),
                 [(1, None), (None, 2)])
            same(rows(connection, "select 'a%c' like 'a!%c' escape '!', 1 union select false, 2 union all select false, 2 order by 2"),
                 [(True, 1), (False, 2), (False, 2)])
            names = {0: "bigint", 2: "boolean", 3: "char(1)", 4: "date", 5: "decimal", 6: "double precision", 7: "integer", 12: "numeric", 13: "real",
                     14: "smallint", 16: "timestamp", 19: "varchar"}
            text = {"date": "2026-01-01", "timestamp": "2026-01-01 00:00:00", "boolean": "true"}
            for source, targets in infos[517]:
                for target in targets:
                    value = f"'1'::{names[source]}"
                    if names[source] in ("date", "timestamp"):
                        value = f"'{text[names[source]]}'::{names[source]}"
                    elif names[source] in ("char(1)", "varchar"):
                        value = f"'{text.get(names[target], '1')}'::text"
                    rows(connection, f"select ({value})::{names[target]}")


def traffic(address):
    """What ADBC and JDBC were seen to send, that no other check asks: one call after another on one connection."""
    with flight.connect(f"grpc://{address}") as client:
        create = field(1, "select job_id from jobs where job_id < $1")
        body = command("ActionCreatePreparedStatementRequest", create)
        result = list(client.do_action(flight.Action("CreatePreparedStatement", body)))[0].body.to_pybytes()
        assert b"ActionCreatePreparedStatementResult" in result
        start = result.index(b"\x0a\x10", 10) + 2
        handle = result[start:start + 16]
        descriptor = flight.FlightDescriptor.for_command(command("CommandPreparedStatementQuery", field(1, handle)))
        fails(lambda: client.get_flight_info(descriptor), "1 parameters without values", kind=pyarrow.ArrowInvalid)
        schema = pyarrow.schema([("$1", pyarrow.int64())])
        for bound, expected in ((1, {0}), (2, {0, 1})):
            writer, reader = client.do_put(descriptor, schema)
            writer.write_batch(pyarrow.record_batch([pyarrow.array([bound])], schema=schema))
            writer.done_writing()
            same(reader.read().to_pybytes(), field(1, handle))
            writer.close()
            info = client.get_flight_info(descriptor)
            table = client.do_get(info.endpoints[0].ticket).read_all()
            same(set(table.column(0).to_pylist()), expected)
        # A ticket keeps its values, whatever is bound after it was given.
        writer, reader = client.do_put(descriptor, schema)
        writer.write_batch(pyarrow.record_batch([pyarrow.array([0])], schema=schema))
        writer.done_writing()
        reader.read()
        writer.close()
        same(client.do_get(info.endpoints[0].ticket).read_all(), table)
        # Two rows at a time are refused.
        writer, reader = client.do_put(descriptor, schema)
        writer.write_batch(pyarrow.record_batch([pyarrow.array([1, 2])], schema=schema))
        writer.done_writing()
        fails(lambda: (reader.read(), writer.close()), "one row of parameters")
        close = command("ActionClosePreparedStatementRequest", field(1, handle))
        same(list(client.do_action(flight.Action("ClosePreparedStatement", close))), [])
        fails(lambda: client.get_flight_info(descriptor), "no such prepared statement")
        # A closed statement's ticket still is what it was.
        same(client.do_get(info.endpoints[0].ticket).read_all(), table)
        update = flight.FlightDescriptor.for_command(command("CommandStatementUpdate", field(1, "delete from tasks")))
        writer, reader = client.do_put(update, schema)
        writer.done_writing()
        fails(lambda: (reader.read(), writer.close()), "cannot execute DELETE")


def expired(address, wait):
    """Tickets and tokens with a short life ([flight] ticket_lifetime and token_lifetime of the test)."""
    with flight.connect(f"grpc://{address}") as client:
        header = client.authenticate_basic_token("alice", "wonderland")
        options = flight.FlightCallOptions(headers=[header])
        info = statement_info(client, "select 1", options)
        time.sleep(float(wait))
        fails(lambda: statement_info(client, "select 1", options), "has expired", kind=flight.FlightUnauthenticatedError)
        options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("alice", "wonderland")])
        fails(lambda: client.do_get(info.endpoints[0].ticket, options).read_all(), "the ticket has expired")


def token_only(address, user, password):
    """Prints a token, then uses it once a line comes: the test changes the user in between."""
    with flight.connect(f"grpc://{address}") as client:
        options = flight.FlightCallOptions(headers=[client.authenticate_basic_token(user, password)])
        statement_info(client, "select 1", options)
        print("logged in", flush=True)
        sys.stdin.readline()
        fails(lambda: statement_info(client, "select 1", options), "28000", kind=flight.FlightUnauthenticatedError)


def slow(address):
    """Begins an endless result and reads one batch of it; waits for a line; then goes without a word, or reads to the end of it."""
    client = flight.connect(f"grpc://{address}")
    info = statement_info(client, "select a.*, b.status as s from tasks a, tasks b, tasks c, tasks d")
    reader = client.do_get(info.endpoints[0].ticket)
    reader.read_chunk()
    print("reading", flush=True)
    line = sys.stdin.readline().strip()
    if line == "read":
        def read_on():
            while True:
                reader.read_chunk()

        print(f"ended {fails(read_on)}", flush=True)
    elif line == "vanish":
        # No goodbye: the system closes the socket.
        os._exit(0)


def many(address, clients):
    """Small queries of many clients at once: all answered."""
    problems = []

    def one(number):
        try:
            with connect(address) as connection:
                for _ in range(3):
                    same(rows(connection, f"select {number}"), [(number,)])
        except Exception as error:  # noqa: BLE001
            problems.append(str(error))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(problems, [])


if __name__ == "__main__":
    name, address, *pairs = sys.argv[1:]
    globals()[name](address, **dict(pair.split("=", 1) for pair in pairs))
    print("ok")
