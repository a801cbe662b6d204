"""What all checks in Python share: where the server is, the tables that it must have with their rows, and the counter of checks.

`tests/it/clients.rs` says in CHECK_… where the server is. Locally everybody is let in as `postgres`; CHECK_USER has a password and
comes in over TLS only.
"""
import datetime
import decimal
import json
import os
import re
import sys
import threading
import time
import traceback
import uuid

HOST, PORT = os.environ["CHECK_HOST"], int(os.environ["CHECK_PORT"])
USER, PASSWORD, CA = os.environ["CHECK_USER"], os.environ["CHECK_PASSWORD"], os.environ["CHECK_CA"]
DATABASE = "spark"

# Rows at once, and without end for all practical purposes.
MANY = "select * from generate_series(1, 1000000) as g(v)"
ENDLESS = "select sum(v) from generate_series(1, 100000000000) as g(v)"
# The longest time of one check.
LIMIT_S = 120

# A statement, and the error that PostgreSQL gives.
ERRORS = [
    ("select * from nowhere", "42P01"),
    ("select nothing from applications", "42703"),
    ("selec 1", "42601"),
    ("select 1 / 0", "22012"),
    ("select 'x'::int", "22P02"),
    ("select no_such_function(1)", "42883"),
    ("select app_id, count(*) from applications", "42803"),
    ("create table t (a int)", "25006"),
    ("insert into applications (app_id) values ('x')", "25006"),
    ("update applications set app_id = 'x'", "25006"),
    ("delete from applications", "25006"),
    ("drop table applications", "25006"),
    ("copy applications from stdin", "25006"),
]

MOMENT = datetime.datetime(2026, 11, 21, 6, 30, 0, 123456, datetime.timezone.utc)
# A type and values of it that have to come back as they were sent. JSON is sent in each client's own way.
DOCUMENT = {"a": [1, 2.5, None, "ü"], "b": {}}
PARAMETERS = {
    "bool": [True, False],
    "int2": [-32767, 7],
    "int4": [2147483647, -1],
    "int8": [-9223372036854775807, 0],
    "float4": [1.5],
    "float8": [0.1, -1e300, float("inf")],
    "numeric": [decimal.Decimal("-12345678901234567890.0123456789"), decimal.Decimal("0.50")],
    "text": ["quote ' backslash \\ tab \t ünï 🎉", ""],
    "varchar": ["v"],
    "bytea": [b"\x00\xff'\\", b""],
    "date": [datetime.date(2026, 2, 28), datetime.date(1969, 12, 31)],
    "time": [datetime.time(23, 59, 59, 999999)],
    "timestamp": [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)],
    "timestamptz": [MOMENT],
    "interval": [datetime.timedelta(days=2, hours=3, microseconds=4), datetime.timedelta(seconds=-1)],
    "uuid": [uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")],
    "bool[]": [[True, False]],
    "int4[]": [[1, None, -3]],
    "int8[]": [[]],
    "float8[]": [[0.5, -1e300]],
    "numeric[]": [[decimal.Decimal("1.50"), None]],
    "text[]": [["a,b", 'quote"', "\\", None, "", "null"]],
    "timestamptz[]": [[MOMENT]],
}

passed, failed = 0, 0


def check(name):
    """Runs the function below it as a check of that name. An optional part of names may be given as an argument of the program."""

    def run(body):
        global passed, failed
        if len(sys.argv) > 1 and not re.search(sys.argv[1], name):
            return body
        problem = []

        def attempt():
            try:
                body()
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                problem.append(f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})")

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(LIMIT_S)
        if thread.is_alive():
            problem.append(f"no answer within {LIMIT_S} s")
        if problem:
            failed += 1
            print(f"FAIL {name}: {' '.join(problem[0].split())[:4000]}", flush=True)
        else:
            passed += 1
            print(f"ok   {name}", flush=True)
        return body

    return run


def finish():
    """The closing line. Ends the program with all its threads."""
    print(f"{passed} passed, {failed} failed", flush=True)
    os._exit(0 if passed > 0 and failed == 0 else 1)


def assert_same(seen, wanted, what=""):
    """Fails unless it is the same value of the same class."""
    assert seen == wanted and type(seen) is type(wanted), f"{what}: {seen!r} and not {wanted!r}"


def raises(error, body):
    """Fails unless `body` raises that class of errors; the error."""
    try:
        body()
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__}")


class Cancelled:
    """A statement without end has to end soon after it was cancelled, and not before."""

    def __enter__(self):
        self.begin = time.monotonic()

    def __exit__(self, *_):
        took = time.monotonic() - self.begin
        assert 0.5 < took < 30, f"it took {took:.1f} s"


class Table:
    """A table of docs/schema.md, the statement that reads it, and the rows that there are."""

    def __init__(self, table):
        self.schema, self.name, self.is_view = table["schema"], table["name"], table["is_view"]
        # Its rows change with every statement; there are none to compare.
        self.is_live = table["is_live"]
        self.columns, self.sql = table["columns"], table["sql"]
        self.full_name = f"{self.schema}.{self.name}"
        self.types = [column["type"] for column in self.columns]
        with open(table["rows"], encoding="utf-8") as lines:
            self.rows = [list(json.loads(line).values()) for line in lines]

    def assert_rows(self, rows):
        """Fails unless these are the rows, each value in the type of Python that its column's type has."""
        assert len(rows) == len(self.rows), f"{len(rows)} rows, not {len(self.rows)}"
        for at, (seen, expected) in enumerate(zip(rows, self.rows)):
            assert len(seen) == len(expected), f"row {at}: {len(seen)} columns"
            for column, value, wanted in zip(self.columns, seen, expected):
                if not same(value, wanted, column["type"]):
                    raise AssertionError(f"row {at}, {column['name']} {column['type']}: {value!r:.150} and not {wanted!r:.150}")


CLASSES = {"boolean": bool, "integer": int, "bigint": int, "double precision": float, "text": str}


def same(seen, expected, ty):
    """Whether a value of a client is the value that JSON shows."""
    if seen is None or expected is None:
        return seen is expected
    if ty.endswith("[]"):
        return type(seen) is list and len(seen) == len(expected) and all(same(a, b, ty[:-2]) for a, b in zip(seen, expected))
    if ty == "timestamp with time zone":
        # Both are compared with their offset from UTC; one without is no instant.
        return isinstance(seen, datetime.datetime) and seen.tzinfo is not None and seen == datetime.datetime.fromisoformat(expected)
    if ty == "jsonb":
        return seen == expected
    return type(seen) is CLASSES[ty] and seen == expected


with open(os.environ["CHECK_TABLES"], encoding="utf-8") as tables:
    TABLES = [Table(table) for table in json.load(tables)]
