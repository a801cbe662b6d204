"""Flight SQL beside its limits: how fast `SELECT * FROM tasks` comes, the first batch of a small query, and many clients at once.

    python benches/flight/flight.py --sparkgate target/release/sparkgate --logs CORPUS --out results.json [--runs 5] [--clients 200]

CORPUS is a directory of logs with at least 2,000,000 tasks (`cargo run --release --example gen_corpus -- --out CORPUS --preset scan`). It needs what
`tests/rigs/flight.sh` installs (that folder's `venv/bin/python` runs this). Measured, each as seconds of wall time and rows and bytes a second, all runs kept:

    flight      ADBC, fetch_arrow_table of SELECT * FROM tasks (and with --compression lz4, zstd)
    limit       (a) pyarrow.flight serving the same batches out of memory, read by pyarrow.flight and by ADBC's transport alike
    duckdb      (b) DuckDB reading the same rows from Parquet into Arrow
    psycopg     (c) the PostgreSQL door: psycopg with binary results, and COPY … TO STDOUT (FORMAT BINARY)
    first       the first batch of SELECT * FROM tasks LIMIT 10
    many        clients at once, each with a connection of its own and small queries: errors, p50, p99, memory of the server before and after
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import adbc_driver_flightsql.dbapi as flight_sql
import duckdb
import psycopg
import pyarrow
import pyarrow.flight
import pyarrow.parquet

QUERY = "SELECT * FROM tasks"
# Small queries as dashboards ask them; the first column names a different application each time.
SMALL = "SELECT name, status, num_tasks FROM applications LIMIT 5"


class Server:
    def __init__(self, binary, logs, cache):
        self.process = subprocess.Popen(
            [binary, "serve", logs, "--cache", cache, "--pg", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--http", "off", "--scan-interval", "1h"],
            stdout=subprocess.PIPE, text=True)
        self.doors = {}
        for line in self.process.stdout:
            if line.startswith("ready "):
                self.doors = dict(pair.split("=") for pair in line.split()[1:])
                break
        if not self.doors:
            sys.exit("the server did not start")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def connect(self, **kwargs):
        return flight_sql.connect(f"grpc://{self.doors['flight']}", db_kwargs=kwargs, autocommit=True)

    def memory_mb(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class FromMemory(pyarrow.flight.FlightServerBase):
    """The limit: the same batches, already there."""

    def __init__(self, table):
        super().__init__("grpc://127.0.0.1:0")
        self.table = table

    def do_get(self, context, ticket):
        return pyarrow.flight.RecordBatchStream(self.table)


def timed(work, runs, size):
    """All runs, and the rate of their median. One run before them warms caches and is kept apart."""
    seconds = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        rows = work()
        seconds.append(time.perf_counter() - begun)
    median = statistics.median(seconds[1:])
    return {"first_s": seconds[0], "s": seconds[1:], "median_s": median, "rows": rows, "rows_per_s": rows / median,
            "mb_per_s": size / median / 1e6}


def fetched(server, **kwargs):
    def work():
        with server.connect(**kwargs) as connection, connection.cursor() as cursor:
            cursor.execute(QUERY)
            return cursor.fetch_arrow_table().num_rows
    return work


def from_memory(table):
    server = FromMemory(table)
    client = pyarrow.flight.connect(f"grpc://127.0.0.1:{server.port}")
    return server, lambda: client.do_get(pyarrow.flight.Ticket(b"")).read_all().num_rows


def through_psycopg(server, copies):
    host, port = server.doors["pg"].rsplit(":", 1)

    def work():
        with psycopg.connect(host=host, port=port, dbname="spark", user="bench") as connection, connection.cursor(binary=True) as cursor:
            if not copies:
                cursor.execute(QUERY)
                return sum(1 for _ in cursor)
            read = 0
            with cursor.copy(f"COPY ({QUERY}) TO STDOUT (FORMAT BINARY)") as copy:
                for _ in copy:
                    read += 1
            return read
    return work


def first_batch(server, runs):
    """From execute to the first batch, on a connection that is open."""
    with server.connect() as connection:
        seconds = []
        for _ in range(runs + 1):
            with connection.cursor() as cursor:
                begun = time.perf_counter()
                cursor.execute(QUERY + " LIMIT 10")
                cursor.fetch_record_batch().read_next_batch()
                seconds.append(time.perf_counter() - begun)
    return {"s": seconds[1:], "median_ms": statistics.median(seconds[1:]) * 1e3, "max_ms": max(seconds[1:]) * 1e3}


def many(server, clients, queries):
    before, latencies, errors, lock = server.memory_mb(), [], [], threading.Lock()
    barrier = threading.Barrier(clients)

    def one():
        try:
            with server.connect() as connection:
                barrier.wait()
                for _ in range(queries):
                    begun = time.perf_counter()
                    with connection.cursor() as cursor:
                        cursor.execute(SMALL)
                        cursor.fetchall()
                    took = time.perf_counter() - begun
                    with lock:
                        latencies.append(took)
        except Exception as error:  # noqa: BLE001
            barrier.abort()
            with lock:
                errors.append(str(error))

    rounds = []
    for _ in range(3):
        threads = [threading.Thread(target=one) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rounds.append(server.memory_mb())
    latencies.sort()
    at = lambda part: latencies[min(len(latencies) - 1, int(part * len(latencies)))] * 1e3 if latencies else None
    return {"clients": clients, "queries": len(latencies), "errors": errors[:5], "error_count": len(errors), "p50_ms": at(0.5),
            "p99_ms": at(0.99), "memory_mb": {"before": before, "after_each_round": rounds}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sparkgate", required=True)
    parser.add_argument("--logs", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--cache", help="a column cache that is already filled, so that a second run begins at once")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--queries", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(args.sparkgate, args.logs, args.cache or os.path.join(scratch, "cache"))
        results = {"cores": os.cpu_count(), "load_before": os.getloadavg(), "versions": {"pyarrow": pyarrow.__version__, "duckdb": duckdb.__version__}}
        try:
            # Until every log is read, counts change.
            with server.connect() as connection, connection.cursor() as cursor:
                count, settled = -1, None
                while settled != count:
                    settled = count
                    cursor.execute("SELECT count(*) FROM tasks")
                    count = cursor.fetchall()[0][0]
                    time.sleep(2)
                cursor.execute(QUERY)
                table = cursor.fetch_arrow_table()
            size = table.nbytes
            results["table"] = {"rows": table.num_rows, "bytes": size, "columns": table.num_columns}
            if table.num_rows < 2_000_000:
                print(f"only {table.num_rows} tasks: figures of less than 2,000,000 say little", file=sys.stderr)
            cpu = server.cpu_s()
            results["flight"] = timed(fetched(server), args.runs, size)
            results["flight"]["server_cpu_s"] = server.cpu_s() - cpu
            for name in ("lz4", "zstd"):
                header = {"adbc.flight.sql.rpc.call_header.x-sparkgate-compression": name}
                results[f"flight {name}"] = timed(fetched(server, **header), args.runs, size)
            limit, work = from_memory(table)
            results["limit"] = timed(work, args.runs, size)
            limit.shutdown()
            parquet = os.path.join(scratch, "tasks.parquet")
            pyarrow.parquet.write_table(table, parquet, compression="zstd")
            del table
            from_parquet = lambda: duckdb.sql(f"SELECT * FROM read_parquet('{parquet}')").to_arrow_table().num_rows
            results["duckdb"] = timed(from_parquet, args.runs, size)
            results["first"] = first_batch(server, 50)
            results["many"] = many(server, args.clients, args.queries)
            results["psycopg binary"] = timed(through_psycopg(server, False), 1, size)
            results["psycopg copy"] = timed(through_psycopg(server, True), 1, size)
        finally:
            server.stop()
        results["load_after"] = os.getloadavg()
    rates = {name: results[name]["mb_per_s"] for name in results if isinstance(results[name], dict) and "mb_per_s" in results[name]}
    results["of_limit"] = rates["flight"] / rates["limit"]
    results["of_duckdb"] = rates["flight"] / rates["duckdb"]
    pathlib.Path(args.out).write_text(json.dumps(results, indent=1))
    for name, rate in rates.items():
        print(f"{name:16} {rate:10.0f} MB/s  {results[name]['rows_per_s']:12.0f} rows/s")
    print(f"{results['of_limit']:.0%} of the limit (aim 70 %), {results['of_duckdb']:.0%} of DuckDB (aim 100 %)")
    print(f"first batch of LIMIT 10: median {results['first']['median_ms']:.1f} ms (aim below 10)")
    print(f"{args.clients} clients: {results['many']['error_count']} errors, p50 {results['many']['p50_ms']} ms, p99 {results['many']['p99_ms']} ms "
          f"(aim below 10 x p50), memory {results['many']['memory_mb']}")


if __name__ == "__main__":
    main()
