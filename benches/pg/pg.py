"""pg.py GATEWAY_PORT POSTGRES_PORT OUTDIR STEP...: the figures of benches/pg/README.md; run.sh starts both servers."""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

HERE = Path(__file__).parent
GATEWAY, POSTGRES = int(sys.argv[1]), int(sys.argv[2])
OUT = Path(sys.argv[3])
BOTH = {"sparkgate": (GATEWAY, "spark"), "postgresql": (POSTGRES, "bench")}
PASSWORD = "secret"
os.environ["PGPASSWORD"] = PASSWORD


def connect(which, sslmode="disable", **more):
    port, database = BOTH[which]
    return psycopg.connect(
        host="127.0.0.1", port=port, user="bench", password=PASSWORD, dbname=database, sslmode=sslmode, autocommit=True, **more
    )


def percentiles(seconds):
    ordered = sorted(seconds)
    at = lambda share: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)
    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "n": len(ordered)}


def load():
    """The same tables, rows and types in PostgreSQL, with an index on the application, as an operator would have it."""
    with psycopg.connect(
        host="127.0.0.1", port=POSTGRES, user="bench", password=PASSWORD, dbname="postgres", sslmode="disable", autocommit=True
    ) as admin:
        admin.execute("create database bench")
    with connect("sparkgate") as source, connect("postgresql") as target:
        source.execute("set statement_timeout = 0")
        for (table,) in source.execute(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'events' order by 1"
        ).fetchall():
            columns = source.execute(
                "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a"
                " where a.attrelid = %s::regclass and a.attnum > 0 order by a.attnum",
                (f"public.{table}",),
            ).fetchall()
            definition = ", ".join(f'"{name}" {kind}' for name, kind in columns)
            target.execute(f'create table "{table}" ({definition})')
            with source.cursor() as reader, target.cursor() as writer:
                with reader.copy(f'copy "{table}" to stdout (format binary)') as rows, writer.copy(
                    f'copy "{table}" from stdin (format binary)'
                ) as into:
                    for block in rows:
                        into.write(block)
            if any(name == "app_id" for name, _ in columns):
                target.execute(f'create index on "{table}" (app_id)')
        target.execute("vacuum analyze")
        for table in ("tasks", "applications"):
            counts = [c.execute(f"select count(*) from {table}").fetchone()[0] for c in (source, target)]
            assert counts[0] == counts[1], (table, counts)
            print(f"{table}: {counts[0]} rows in both", flush=True)


def in_turns(measure, rounds):
    """Each of both measured `rounds` times, one after the other, so that a noisy minute is noisy for both."""
    found = {which: [] for which in BOTH}
    for _ in range(rounds):
        for which in BOTH:
            found[which].append(measure(which))
    return found


def step_connect():
    def once(which):
        started = time.perf_counter()
        with connect(which, "require") as connection:
            connection.execute("select 1")
        return time.perf_counter() - started

    return {which: percentiles(all_of) for which, all_of in in_turns(once, 60).items()}


def step_point():
    with connect("postgresql") as connection:
        ids = [row[0] for row in connection.execute("select app_id from applications order by 1")]
    dice = random.Random(1)
    open_ones = {which: connect(which) for which in BOTH}

    def once(which):
        started = time.perf_counter()
        row = open_ones[which].execute("select * from applications where app_id = %s", (dice.choice(ids),), prepare=True).fetchall()
        assert len(row) == 1
        return time.perf_counter() - started

    in_turns(once, 20)
    return {which: percentiles(all_of) for which, all_of in in_turns(once, 500).items()}


def big_application():
    with connect("postgresql") as connection:
        return connection.execute("select app_id from tasks group by 1 order by count(*) desc limit 1").fetchone()[0]


def step_rows():
    query = f"select * from tasks where app_id = '{big_application()}'"
    result = {}

    def binary(which):
        with connect(which) as connection:
            started = time.perf_counter()
            cursor = connection.cursor(binary=True)
            cursor.execute(query)
            received = time.perf_counter() - started
            rows = cursor.fetchall()
            assert len(rows) > 200_000, len(rows)
            return received, time.perf_counter() - started

    def copied(which):
        port, database = BOTH[which]
        started = time.perf_counter()
        subprocess.run(
            ["psql", "-X", "-q", f"host=127.0.0.1 port={port} user=bench dbname={database} sslmode=disable",
             "-c", f"copy ({query}) to stdout (format binary)"],
            check=True, stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - started

    def jdbc(which):
        port, database = BOTH[which]
        done = subprocess.run(
            ["java", "-cp", os.environ["JAR"], str(HERE / "Fetch.java"), str(port), database, query],
            check=True, capture_output=True, text=True,
        )
        rows, seconds = done.stdout.split()
        assert int(rows) > 200_000, rows
        return float(seconds)

    for name, measure in (("psycopg_binary", binary), ("copy_binary", copied), ("pgjdbc_fetch_10000", jdbc)):
        found = in_turns(measure, 3)
        if name == "psycopg_binary":
            result["psycopg_binary_received"] = {which: min(received for received, _ in all_of) for which, all_of in found.items()}
            found = {which: [whole for _, whole in all_of] for which, all_of in found.items()}
        result[name] = {which: min(all_of) for which, all_of in found.items()}
        print(name, result[name], flush=True)
    return result


def step_group():
    query = "select host, count(*), sum(executor_run_time_ms), avg(duration_ms) from tasks group by host order by 2 desc, 1"
    open_ones = {which: connect(which) for which in BOTH}

    def once(which):
        started = time.perf_counter()
        rows = open_ones[which].execute(query).fetchall()
        return time.perf_counter() - started, [(row[0], row[1], int(row[2])) for row in rows]

    found = in_turns(once, 5)
    assert found["sparkgate"][0][1] == found["postgresql"][0][1], "the same rows"
    return {which: min(seconds for seconds, _ in all_of) for which, all_of in found.items()}


def step_describe():
    def psql(which, command):
        port, database = BOTH[which]
        started = time.perf_counter()
        subprocess.run(
            ["psql", "-X", f"host=127.0.0.1 port={port} user=bench dbname={database} sslmode=disable", "-c", command],
            check=True, stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - started

    return {
        command: {which: percentiles(all_of) for which, all_of in in_turns(lambda which: psql(which, command), 15).items()}
        for command in ("\\d", "\\d tasks", "\\d+ tasks")
    }


def memory_mb():
    status = Path(f"/proc/{os.environ['GATEWAY_PID']}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


def step_load():
    """200 connections for two minutes, each asking for one application after the other."""
    with connect("postgresql") as connection:
        ids = [row[0] for row in connection.execute("select app_id from applications order by 1")]
    result = {}
    with tempfile.TemporaryDirectory() as work:
        script = Path(work) / "point.sql"
        prefix, numbers = os.path.commonprefix(ids), [identifier[-4:] for identifier in ids]
        assert all(number.isdigit() for number in numbers), "ids of the generator"
        stem = ids[0][: -len(numbers[0])]
        known = sorted(int(number) for identifier, number in zip(ids, numbers) if identifier.startswith(stem))
        script.write_text(
            f"\\set n random({known[0]}, {known[-1]})\n"
            f"select app_id, name, duration_ms, num_tasks from applications where app_id = '{stem}' || lpad(:n::text, 4, '0');\n"
        )
        for which in BOTH:
            port, database = BOTH[which]
            for old in Path(work).glob("log*"):
                old.unlink()
            seen = []
            stop = threading.Event()

            def watch():
                while not stop.wait(5):
                    seen.append(memory_mb())

            watcher = threading.Thread(target=watch)
            watcher.start()
            seconds = int(os.environ.get("LOAD_SECONDS", "120"))
            done = subprocess.run(
                ["pgbench", "-n", "-c", "200", "-j", "2", "-T", str(seconds), "-M", "extended", "-f", str(script), "-l",
                 f"--log-prefix={work}/log", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", database],
                capture_output=True, text=True, env={**os.environ, "PGSSLMODE": "disable"},
            )
            stop.set()
            watcher.join()
            assert done.returncode == 0, done.stderr[-2000:]
            failed = [line for line in done.stdout.splitlines() if "failed" in line]
            times = [
                int(line.split()[2]) / 1e6 for log in Path(work).glob("log*") for line in log.read_text().splitlines()
            ]
            result[which] = {
                **percentiles(times),
                "per_second": round(len(times) / seconds),
                "failed": failed,
                "seconds": seconds,
            }
            if which == "sparkgate":
                settled = seen[len(seen) // 4 :] or seen
                result[which]["memory_mb"] = {"after_a_quarter": settled[0], "at_the_end": settled[-1], "most": max(seen)}
            print(which, result[which], flush=True)
    return result


def main():
    load()
    steps = sys.argv[4:]
    for step in steps:
        found = globals()[f"step_{step}"]()
        (OUT / f"pg-{step}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(step, json.dumps(found), flush=True)


main()
