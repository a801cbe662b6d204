#!/usr/bin/env python3
"""Measures what a column cache of very many applications and tasks costs: filling it, starting on it, asking it.

CPU time is that of the whole process, user and system, and counts; wall time informs. Every step holds what it reads against the
manifest of the corpus, and a mismatch ends it. Processes are ended by their ids.

    scale.py ingest CORPUS...            `sparkgate ingest` of each corpus: CPU, wall, memory, bytes of cache
    scale.py start CORPUS                `sparkgate serve` without and with a filled cache, up to the line `ready`
    scale.py queries CORPUS              statements over the PostgreSQL wire, warm
    scale.py scan CORPUS                 all tasks by host, beside DuckDB on the same Parquet files
    scale.py rest CORPUS                 taskSummary of the largest stage
    scale.py memory SMALL LARGE          ingest of one log each
    scale.py report DIR                  the tables, from DIR/scale-STEP.json

A CORPUS is a directory of logs with CORPUS.manifest.json beside it, its cache is CORPUS.cache; `ingest` makes that anew, the others
need it. `run.sh` runs all of it.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

THREADS = 2
ME = os.path.basename(__file__)


class Failed(Exception):
    """The measurement cannot go on, or an answer is wrong; the text says why."""


def note(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def quantile(ordered, q):
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, max(0, -(-int(q * 1000) * len(ordered) // 1000) - 1))]


def manifest_of(corpus):
    with open(corpus + ".manifest.json") as f:
        return json.load(f)


def cache_of(corpus):
    return corpus + ".cache"


def tree_bytes(path):
    return sum(os.lstat(os.path.join(d, f)).st_size for d, _, files in os.walk(path) for f in files)


def warm_pages(path):
    """Into the page cache, as far as it fits: disks are not what is measured."""
    for directory, _, files in os.walk(path):
        for name in files:
            with open(os.path.join(directory, name), "rb") as f:
                while f.read(1 << 22):
                    pass


def expect(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: {found}, expected {expected}")


# --- what a cache must answer ------------------------------------------------------------------------------------------

# (manifest, column of applications, or None), (table, expression) to count the same from the rows.
SUMS = [
    ("jobs", "num_jobs", "jobs", "count(*)"),
    ("failed_jobs", "num_failed_jobs", "jobs", "count(*) FILTER (WHERE status = 'FAILED')"),
    ("stages", "num_stages", "stages", "count(*)"),
    ("failed_stages", "num_failed_stages", "stages", "count(*) FILTER (WHERE status = 'FAILED')"),
    ("tasks", "num_tasks", "tasks", "count(*)"),
    ("failed_tasks", "num_failed_tasks", "tasks", "count(*) FILTER (WHERE status = 'FAILED')"),
    ("run_ms", "executor_run_time_ms", "tasks", "sum(executor_run_time_ms)"),
    ("gc_ms", "jvm_gc_time_ms", "tasks", "sum(jvm_gc_time_ms)"),
    ("shuffle_read", "shuffle_read_bytes", "stages", "sum(shuffle_read_bytes)"),
    ("shuffle_write", "shuffle_write_bytes", "stages", "sum(shuffle_write_bytes)"),
    ("input_bytes", "input_bytes", "stages", "sum(input_bytes)"),
    ("output_bytes", "output_bytes", "stages", "sum(output_bytes)"),
    ("sql", None, "sql_executions", "count(*)"),
    ("events", "log_events", None, None),
    ("stored_bytes", "log_bytes", None, None),
]


def check(query, corpus):
    """Counts and sums of all tables against the manifest; what differs, as one failure. `query` gives the one row of a statement."""
    manifest = manifest_of(corpus)
    total = manifest["total"]
    wrong = []

    def same(what, found, expected):
        if int(found or 0) != expected:
            wrong.append(f"{what}: {found}, the manifest says {expected}")

    columns = [(name, column) for name, column, _, _ in SUMS if column]
    rows = query("SELECT count(*), " + ", ".join(f"sum({column})" for _, column in columns) + " FROM applications")
    same("applications", rows[0], manifest["apps"])
    for (name, column), found in zip(columns, rows[1:]):
        same(f"sum({column}) FROM applications", found, total[name])
    for table in dict.fromkeys(table for _, _, table, expression in SUMS if table and expression):
        some = [(name, expression) for name, _, of, expression in SUMS if of == table and expression]
        for (name, expression), found in zip(some, query(f"SELECT {', '.join(e for _, e in some)} FROM {table}")):
            same(f"{expression} FROM {table}", found, total[name])
    same("executors", query("SELECT count(*) FROM executors WHERE executor_id <> 'driver'")[0], total["executors"])
    # Until when the executors of one that has not ended live is a matter of taste.
    same("core time of ended applications", query("SELECT sum(executor_core_ms) FROM applications WHERE completed")[0], total["core_ms"])
    row = query("SELECT count(DISTINCT spark_user), count(DISTINCT name), count(*) FILTER (WHERE status = 'SUCCEEDED'), "
                "count(*) FILTER (WHERE status = 'FAILED'), count(*) FILTER (WHERE status = 'RUNNING') FROM applications")
    for what, found in zip(("users", "names", "succeeded", "failed", "running"), row):
        same(what, found, manifest[what])
    if wrong:
        raise Failed(f"{corpus}: " + "; ".join(wrong))
    return len(SUMS) + 8


# --- processes -----------------------------------------------------------------------------------------------------------


def on_cores():
    """The child's share of a larger machine, so that both sides have as many threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


def run(command, log=None):
    """Runs to the end; what it used, and its standard output."""
    wall = time.monotonic()
    with open(log or os.devnull, "ab") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, preexec_fn=on_cores)
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    used = {"wall_s": time.monotonic() - wall, "cpu_s": usage.ru_utime + usage.ru_stime, "user_s": usage.ru_utime,
            "system_s": usage.ru_stime, "max_rss_mb": usage.ru_maxrss / 1024}
    if process.returncode != 0:
        tail = open(log, errors="replace").read()[-2000:] if log else ""
        raise Failed(f"{' '.join(command)} ended with code {process.returncode}\n{tail}")
    return used, out.decode(errors="replace")


class Server:
    """`sparkgate serve`, from its start to its end."""

    def __init__(self, args, corpus, cache):
        self.command = [args.binary, "serve", corpus, "--cache", cache, "--pg", "127.0.0.1:0", "--flight", "off", "--http", "127.0.0.1:0",
                        "--scan-interval", "1h"]
        self.log = os.path.join(args.out, "server.log")
        before = time.monotonic()
        with open(self.log, "wb") as err:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
                                            preexec_fn=on_cores)
        # Linux numbers the CPU clock of a process like this (clock_getcpuclockid): utime + stime of /proc/PID/stat in nanoseconds.
        self.clock = (~self.process.pid << 3) | 2
        line = self.process.stdout.readline().decode().split()
        if not line or line[0] != "ready":
            self.end()
            raise Failed(f"no line `ready` but {line}:\n{open(self.log, errors='replace').read()[-2000:]}")
        self.ready = {"wall_s": time.monotonic() - before, "cpu_s": self.cpu(), "rss_mb": self.memory_mb()["now"]}
        doors = dict(part.split("=", 1) for part in line[1:])
        self.pg_port = int(doors["pg"].rpartition(":")[2])
        self.http_port = int(doors["http"].rpartition(":")[2])

    def cpu(self):
        return time.clock_gettime(self.clock)

    def memory_mb(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            kb = {k: int(v.split()[0]) for k, v in (line.split(":", 1) for line in f if line.startswith(("VmRSS", "VmHWM")))}
        return {"now": kb["VmRSS"] / 1024, "peak": kb["VmHWM"] / 1024}

    def connect(self):
        import psycopg  # only where it is needed: `report` works without the virtual environment

        # Every statement is planned anew, as tools do that put values into the text.
        return psycopg.connect(f"host=127.0.0.1 port={self.pg_port} dbname=spark user=scale sslmode=disable", autocommit=True,
                               prepare_threshold=None)

    def until_scanned(self, connection, limit=3600):
        """Waits for the end of the first scan; its line of system.scans."""
        start = time.monotonic()
        while time.monotonic() - start < limit:
            row = connection.execute("SELECT count(*), sum(read_bytes), sum(new_logs), sum(grown_logs), sum(restored_logs), "
                                     "sum(failed_logs), sum(commits), sum(duration_ms) FROM system.scans").fetchone()
            if row[0]:
                names = ("scans", "read_bytes", "new_logs", "grown_logs", "restored_logs", "failed_logs", "commits", "duration_ms")
                return {name: int(value or 0) for name, value in zip(names, row)}
            time.sleep(0.1)
        raise Failed(f"no scan has ended after {limit} s")

    def end(self):
        before = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed("the server did not end within 30 s of SIGTERM") from None
        return time.monotonic() - before


@contextlib.contextmanager
def serving(args, corpus, cache):
    server = Server(args, corpus, cache)
    try:
        yield server
    finally:
        server.end()


# --- steps ---------------------------------------------------------------------------------------------------------------


def ingest_one(args, corpus, cache):
    manifest = manifest_of(corpus)
    shutil.rmtree(cache, ignore_errors=True)
    warm_pages(corpus)
    used, said = run([args.binary, "ingest", corpus, "--cache", cache], os.path.join(args.out, "ingest.log"))
    _, status = run([args.binary, "cache", "status", corpus, "--cache", cache])
    rows = [line.split() for line in status.splitlines()]
    tables = {r[0]: {"rows": int(r[4]), "bytes": int(r[6])} for r in rows if len(r) == 7 and r[4].isdigit() and r[6].isdigit()}
    live = sum(table["bytes"] for table in tables.values())
    total = manifest["total"]
    return {"corpus": os.path.basename(corpus), "apps": manifest["apps"],
            **{key: total[key] for key in ("events", "tasks", "bytes", "stored_bytes")}, **used,
            "live_bytes": live, "disk_bytes": tree_bytes(cache), "live_bytes_per_event": live / total["events"],
            "live_bytes_per_task": live / total["tasks"], "cpu_us_per_event": used["cpu_s"] / total["events"] * 1e6,
            "lines_mb_per_cpu_s": total["bytes"] / 1e6 / used["cpu_s"], "tables": tables, "said": said.strip().replace(str(cache), "CACHE"), "status": status.replace(str(cache), "CACHE")}


def ingest(args):
    results = []
    for corpus in args.corpora:
        result = ingest_one(args, corpus, cache_of(corpus))
        note("{corpus}: ingested in {cpu_s:.1f} CPU s, {wall_s:.1f} s, {max_rss_mb:.0f} MB, {live_bytes_per_event:.2f} B of cache an event"
             .format(**result))
        with serving(args, corpus, cache_of(corpus)) as server, server.connect() as connection:
            server.until_scanned(connection)
            result["checked"] = check(lambda sql: connection.execute(sql).fetchone(), corpus)
        note(f"{result['corpus']}: {result['checked']} counts and sums are the manifest's")
        again, result["again_said"] = run([args.binary, "ingest", corpus, "--cache", cache_of(corpus)])
        result["again"] = again
        results.append(result)
    return results


def start(args):
    corpus = args.corpora[0]
    manifest = manifest_of(corpus)
    apps = manifest["apps"]
    result = {"corpus": os.path.basename(corpus), "apps": apps, "running": manifest["running"],
              "running_stored_bytes": manifest["running_stored_bytes"], "filled": []}
    for _ in range(args.starts):
        server = Server(args, corpus, cache_of(corpus))
        try:
            with server.connect() as connection:
                before = time.monotonic()
                listed = connection.execute("SELECT count(*) FROM applications").fetchone()[0]
                first = time.monotonic() - before
                scan = server.until_scanned(connection)
            one = {"ready": server.ready, "first_statement_s": first, "listed_when_ready": listed, "scan": scan,
                   "rss_scanned_mb": server.memory_mb()["now"], "cpu_scanned_s": server.cpu()}
        finally:
            ended = server.end()
        result["filled"].append(one | {"end_s": ended})
        note("filled cache: ready after {wall_s:.2f} s, {cpu_s:.2f} CPU s, {rss_mb:.0f} MB".format(**server.ready))
        expect("applications when the server is ready", listed, apps)
        # What has not ended and was written within the hour is read again, to be read on; nothing else is.
        again = (manifest["running_stored_bytes"], manifest["running"]) if time.time() - os.path.getmtime(corpus) < 3600 else (0, 0)
        expect("what a start on a filled cache read (bytes, new logs, restored logs, failed logs)",
               (scan["read_bytes"], scan["new_logs"], scan["restored_logs"], scan["failed_logs"]),
               (*again, apps - again[1], 0))
    empty = cache_of(corpus) + ".empty"
    shutil.rmtree(empty, ignore_errors=True)
    server = Server(args, corpus, empty)
    try:
        with server.connect() as connection:
            listed = connection.execute("SELECT count(*) FROM applications").fetchone()[0]
        result["empty"] = {"ready": server.ready, "listed_when_ready": listed}
        note("empty cache: ready after {wall_s:.2f} s, {cpu_s:.2f} CPU s, {rss_mb:.0f} MB".format(**server.ready)
             + f", {listed} applications listed")
    finally:
        result["empty"]["end_s"] = server.end()
        shutil.rmtree(empty, ignore_errors=True)
    return result


DAY = ("SELECT date_trunc('day', start_time), spark_user, count(*), sum(executor_core_ms), sum(executor_run_time_ms) "
       "FROM applications GROUP BY 1, 2")
ROLLUP = ("SELECT day_start, spark_user, sum(applications), sum(executor_core_ms), sum(executor_run_time_ms) "
          "FROM rollup.application_daily GROUP BY 1, 2")


def queries(args):
    corpus = args.corpora[0]
    manifest = manifest_of(corpus)
    draw = random.Random(args.seed)
    result = {"corpus": os.path.basename(corpus), "apps": manifest["apps"], "runs": args.runs, "queries": {}}
    with serving(args, corpus, cache_of(corpus)) as server, server.connect() as connection:
        def rows(sql, *values):
            return connection.execute(sql, values or None).fetchall()

        server.until_scanned(connection)
        apps = [row[0] for row in rows("SELECT app_id FROM applications ORDER BY 1")]
        draw.shuffle(apps)
        stages = rows("SELECT app_id, attempt_id, stage_id, stage_attempt_id FROM stages WHERE num_complete_tasks > 0 "
                      "AND app_id IN (" + ", ".join(f"'{app}'" for app in apps[: args.runs + 20]) + ") ORDER BY 1, 2, 3, 4")
        draw.shuffle(stages)
        one_app = [(app,) for app in apps]
        statements = {
            "latest 100 applications": ("SELECT * FROM applications ORDER BY start_time DESC LIMIT 100", None, 100),
            "applications by day and user": (DAY, None, None),
            "the same from rollup.application_daily": (ROLLUP, None, None),
            "20 applications with most core time": (
                "SELECT app_id, name, spark_user, executor_core_ms FROM applications ORDER BY executor_core_ms DESC LIMIT 20", None, 20),
            "applications of one user": (
                "SELECT app_id, name, status, start_time FROM applications WHERE spark_user = %s ORDER BY start_time DESC LIMIT 100",
                [(row[0],) for row in rows("SELECT DISTINCT spark_user FROM applications ORDER BY 1")], None),
            "one application by id": ("SELECT * FROM applications WHERE app_id = %s", one_app, 1),
            "slow stages of one application": ("SELECT stage_id, stage_attempt_id, name, status, duration_ms, num_tasks FROM stages "
                                               "WHERE app_id = %s ORDER BY duration_ms DESC LIMIT 20", one_app, None),
            "summary of one stage": ("SELECT * FROM rollup.stage_summary WHERE app_id = %s AND attempt_id = %s AND stage_id = %s "
                                     "AND stage_attempt_id = %s", stages, 1),
        }
        expect("applications by day and user, from both", sorted(rows(DAY)), sorted(rows(ROLLUP)))
        expect("applications by day and user, in all", sum(row[2] for row in rows(DAY)), manifest["apps"])
        for name, (sql, values, expected) in statements.items():
            def once(number):
                before = time.perf_counter()
                answer = rows(sql, *values[number % len(values)]) if values else rows(sql)
                took = time.perf_counter() - before
                if expected is not None and len(answer) != min(expected, manifest["apps"]):
                    raise Failed(f"{name}: {len(answer)} rows, expected {expected}")
                return took, len(answer)

            first, _ = once(0)
            for number in range(1, 6):
                once(number)
            cpu, begin, latencies, count = server.cpu(), time.monotonic(), [], 0
            while len(latencies) < args.runs and (time.monotonic() - begin < args.limit or len(latencies) < 20):
                took, answered = once(6 + len(latencies))
                latencies.append(took)
                count += answered
            cpu = (server.cpu() - cpu) / len(latencies)
            latencies.sort()
            result["queries"][name] = one = {
                "sql": sql, "runs": len(latencies), "rows": count / len(latencies), "first_ms": 1e3 * first, "cpu_ms": 1e3 * cpu,
                "p50_ms": 1e3 * quantile(latencies, 0.5), "p99_ms": 1e3 * quantile(latencies, 0.99), "max_ms": 1e3 * latencies[-1]}
            note(f"{name}: p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms, {one['cpu_ms']:.1f} CPU ms, {one['runs']} runs")
        result["memory_mb"] = server.memory_mb()
    return result


SCANS = {
    # (Sparkgate, DuckDB): the sketches are t-digests in both, the exact ones keep every value.
    "counts and sums": ("", ""),
    "with the 95th percentile, sketched": (", approx_percentile_cont(executor_run_time_ms, 0.95)", ", approx_quantile(executor_run_time_ms, 0.95)"),
    "with the median, exact": (", median(executor_run_time_ms)", ", median(executor_run_time_ms)"),
}


def scan(args):
    import duckdb

    corpus = args.corpora[0]
    cache = cache_of(corpus)
    total = manifest_of(corpus)["total"]
    result = {"corpus": os.path.basename(corpus), "tasks": total["tasks"], "threads": THREADS, "duckdb": duckdb.__version__, "scans": {}}
    on_cores()
    warm_pages(cache)
    with serving(args, corpus, cache) as server, server.connect() as connection:
        server.until_scanned(connection)
        # Not t/tasks/*.parquet: files that were merged into others stay for a while.
        files = [os.path.join(cache, row[0]) for row in connection.execute(
            "SELECT path FROM system.segments WHERE table_name = 'tasks' ORDER BY 1").fetchall()]
        result["files"], result["file_bytes"] = len(files), sum(map(os.path.getsize, files))
        duck = duckdb.connect(config={"threads": THREADS})
        of_files = "read_parquet([" + ", ".join(f"'{path}'" for path in files) + "])"
        for name, (ours, theirs) in SCANS.items():
            sql = "SELECT host, count(*), sum(executor_run_time_ms), sum(jvm_gc_time_ms){} FROM {} GROUP BY host"
            sides = {
                "sparkgate": (server.cpu, lambda: connection.execute(sql.format(ours, "tasks")).fetchall()),
                "duckdb": (time.process_time, lambda: duck.execute(sql.format(theirs, of_files)).fetchall()),
            }
            one = {side: {"wall_s": [], "cpu_s": []} for side in sides}
            answers = {}
            for number in range(args.scans + 1):
                for side, (clock, work) in sides.items():
                    cpu, wall = clock(), time.monotonic()
                    answers[side] = work()
                    cpu, wall = clock() - cpu, time.monotonic() - wall
                    if number:  # the first does not count
                        one[side]["cpu_s"].append(cpu)
                        one[side]["wall_s"].append(wall)
                    else:
                        one[side]["first_wall_s"], one[side]["first_cpu_s"] = wall, cpu
            exact = {side: sorted(tuple(row[:1]) + tuple(map(int, row[1:4])) for row in found) for side, found in answers.items()}
            expect(f"{name}: groups of both", exact["sparkgate"], exact["duckdb"])
            for at, key in ((1, "tasks"), (2, "run_ms"), (3, "gc_ms")):
                expect(f"{name}: {key}", sum(row[at] for row in exact["sparkgate"]), total[key])
            if ours:
                pairs = list(zip(*(sorted((row[0], float(row[4])) for row in answers[side]) for side in sides)))
                one["largest_difference"] = max(abs(a - b) / max(1, abs(b)) for (_, a), (_, b) in pairs)
            one["groups"] = len(exact["sparkgate"])
            for side in sides:
                for key in ("cpu_s", "wall_s"):
                    one[side]["median_" + key] = quantile(sorted(one[side][key]), 0.5)
            one["cpu_ratio"] = one["sparkgate"]["median_cpu_s"] / one["duckdb"]["median_cpu_s"]
            one["wall_ratio"] = one["sparkgate"]["median_wall_s"] / one["duckdb"]["median_wall_s"]
            result["scans"][name] = one
            note(f"{name}: {one['sparkgate']['median_cpu_s']:.2f} CPU s, DuckDB {one['duckdb']['median_cpu_s']:.2f}, "
                 f"ratio {one['cpu_ratio']:.2f} (wall {one['wall_ratio']:.2f})")
        result["memory_mb"] = server.memory_mb()
    return result


def rest(args):
    corpus = args.corpora[0]
    result = {"corpus": os.path.basename(corpus)}
    with serving(args, corpus, cache_of(corpus)) as server:
        with server.connect() as connection:
            server.until_scanned(connection)
            app, stage, attempt, tasks, complete = connection.execute(
                "SELECT app_id, stage_id, stage_attempt_id, num_tasks, num_complete_tasks FROM stages ORDER BY num_tasks DESC LIMIT 1").fetchone()
            expect(f"tasks of stage {stage} of {app} that succeeded", complete, tasks)
        path = f"/api/v1/applications/{app}/stages/{stage}/{attempt}/taskSummary"
        http_connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=600)

        def get():
            before = time.perf_counter()
            http_connection.request("GET", path, headers={"Accept": "application/json"})
            answer = http_connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise Failed(f"{path}: {answer.status} {body[:200]}")
            return time.perf_counter() - before, body

        cpu = server.cpu()
        first, body = get()
        first_cpu = server.cpu() - cpu
        for _ in range(5):
            get()
        cpu, begin, latencies = server.cpu(), time.monotonic(), []
        while len(latencies) < args.runs and (time.monotonic() - begin < args.limit or len(latencies) < 20):
            took, again = get()
            expect(f"the same body of {path}", again, body)
            latencies.append(took)
        cpu = (server.cpu() - cpu) / len(latencies)
        latencies.sort()
        result |= {"path": path, "tasks": tasks, "bytes": len(body), "runs": len(latencies), "first_ms": 1e3 * first,
                   "first_cpu_ms": 1e3 * first_cpu, "cpu_ms": 1e3 * cpu, "p50_ms": 1e3 * quantile(latencies, 0.5),
                   "p99_ms": 1e3 * quantile(latencies, 0.99), "memory_mb": server.memory_mb(), "body": json.loads(body)}
    note("taskSummary of {tasks} tasks: first {first_ms:.1f} ms, p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms, {cpu_ms:.1f} CPU ms".format(**result))
    return result


def memory(args):
    results = []
    for corpus in args.corpora:
        result = ingest_one(args, corpus, cache_of(corpus))
        result.pop("status")
        results.append(result)
        shutil.rmtree(cache_of(corpus))
        note("{corpus}: {tasks} tasks, {max_rss_mb:.0f} MB, {cpu_s:.1f} CPU s".format(**result))
    small, large = results
    return {"logs": results, "tasks_ratio": large["tasks"] / small["tasks"], "memory_ratio": large["max_rss_mb"] / small["max_rss_mb"],
            "cpu_ratio": large["cpu_s"] / small["cpu_s"]}


# --- the tables ------------------------------------------------------------------------------------------------------------


def report(args):
    found = {}
    for step in STEPS:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(args.out, f"scale-{step}.json")) as f:
            found[step] = json.load(f)
    if not found:
        raise Failed(f"{args.out}: no scale-*.json")
    any_step = next(iter(found.values()))
    out = ["# Scale", "", "Made by `benches/scale/scale.py report`; `benches/scale/README.md` says what each figure is. CPU is that of the "
           "process, user and system.", "", f"{any_step['cores']} cores; {any_step['version']}; {any_step['started'][:10]}."]

    def table(title, head, rows):
        out.extend(["", f"## {title}", "", "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)])
        out.extend("| " + " | ".join(row) + " |" for row in rows)

    if "ingest" in found:
        table("Filling the cache", ("corpus", "applications", "events", "tasks", "lines GB", "stored GB", "CPU s", "wall s", "MB/CPU s", "peak MB",
                                    "cache GB", "B/event", "B/task", "again, CPU s"),
              [(r["corpus"], f"{r['apps']:,}", f"{r['events']:,}", f"{r['tasks']:,}", f"{r['bytes'] / 1e9:.2f}", f"{r['stored_bytes'] / 1e9:.2f}",
                f"{r['cpu_s']:.1f}", f"{r['wall_s']:.1f}", f"{r['lines_mb_per_cpu_s']:.0f}", f"{r['max_rss_mb']:,.0f}",
                f"{r['live_bytes'] / 1e9:.3f}", f"{r['live_bytes_per_event']:.1f}", f"{r['live_bytes_per_task']:.1f}", f"{r['again']['cpu_s']:.2f}")
               for r in found["ingest"]["result"]])
    if "start" in found:
        r = found["start"]["result"]
        rows = [(f"filled cache, start {n}", f"{s['ready']['wall_s']:.2f}", f"{s['ready']['cpu_s']:.2f}", f"{s['ready']['rss_mb']:,.0f}",
                 f"{s['listed_when_ready']:,}", f"{s['scan']['read_bytes']:,}", f"{s['scan']['new_logs']:,}", f"{s['end_s']:.2f}")
                for n, s in enumerate(r["filled"], 1)]
        s = r["empty"]
        rows.append(("empty cache", f"{s['ready']['wall_s']:.2f}", f"{s['ready']['cpu_s']:.2f}", f"{s['ready']['rss_mb']:,.0f}",
                     f"{s['listed_when_ready']:,}", "", "", f"{s['end_s']:.2f}"))
        table(f"From start to `ready`, {r['apps']:,} applications",
              ("start", "wall s", "CPU s", "resident MB", "applications then", "bytes read of logs", "new logs", "end s"), rows)
    if "queries" in found:
        r = found["queries"]["result"]
        table(f"Statements over {r['apps']:,} applications, warm", ("statement", "rows", "runs", "first ms", "p50 ms", "p99 ms", "CPU ms"),
              [(name, f"{q['rows']:,.0f}", f"{q['runs']}", f"{q['first_ms']:.1f}", f"{q['p50_ms']:.1f}", f"{q['p99_ms']:.1f}", f"{q['cpu_ms']:.1f}")
               for name, q in r["queries"].items()])
        out.append(f"\nResident afterwards {r['memory_mb']['now']:,.0f} MB, at most {r['memory_mb']['peak']:,.0f} MB.")
    if "scan" in found:
        r = found["scan"]["result"]
        table(f"All {r['tasks']:,} tasks by host, {r['threads']} threads, beside DuckDB {r['duckdb']} on the same files ({r['files']} of "
              f"{r['file_bytes'] / 1e6:,.0f} MB)", ("statement", "CPU s", "DuckDB", "ratio", "wall s", "DuckDB", "ratio", "first, wall s", "DuckDB"),
              [(name, f"{s['sparkgate']['median_cpu_s']:.3f}", f"{s['duckdb']['median_cpu_s']:.3f}", f"{s['cpu_ratio']:.2f}",
                f"{s['sparkgate']['median_wall_s']:.3f}", f"{s['duckdb']['median_wall_s']:.3f}", f"{s['wall_ratio']:.2f}",
                f"{s['sparkgate']['first_wall_s']:.3f}", f"{s['duckdb']['first_wall_s']:.3f}") for name, s in r["scans"].items()])
        out.append(f"\nMedian of {len(next(iter(r['scans'].values()))['duckdb']['cpu_s'])} runs each, in turn. Resident afterwards "
                   f"{r['memory_mb']['now']:,.0f} MB, at most {r['memory_mb']['peak']:,.0f} MB.")
    if "rest" in found:
        r = found["rest"]["result"]
        table("REST: taskSummary of one stage", ("tasks", "first ms", "first, CPU ms", "runs", "p50 ms", "p99 ms", "CPU ms"),
              [(f"{r['tasks']:,}", f"{r['first_ms']:.1f}", f"{r['first_cpu_ms']:.1f}", f"{r['runs']}", f"{r['p50_ms']:.2f}", f"{r['p99_ms']:.2f}",
                f"{r['cpu_ms']:.2f}")])
    if "memory" in found:
        r = found["memory"]["result"]
        table("Memory of one log", ("log", "tasks", "peak MB", "CPU s", "wall s"),
              [(one["corpus"], f"{one['tasks']:,}", f"{one['max_rss_mb']:,.0f}", f"{one['cpu_s']:.1f}", f"{one['wall_s']:.1f}") for one in r["logs"]]
              + [("ratio", f"{r['tasks_ratio']:.1f}", f"{r['memory_ratio']:.2f}", f"{r['cpu_ratio']:.2f}", "")])
    text = "\n".join(out) + "\n"
    with open(os.path.join(args.out, "scale.md"), "w") as f:
        f.write(text)
    print(text, end="")


STEPS = {"ingest": ingest, "start": start, "queries": queries, "scan": scan, "rest": rest, "memory": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=[*STEPS, "report"])
    parser.add_argument("corpora", nargs="*", type=lambda path: os.path.abspath(path.rstrip("/")))
    parser.add_argument("--binary", help="sparkgate")
    parser.add_argument("--out", required=True, help="directory of scale-STEP.json, of scale.md and of logs")
    parser.add_argument("--runs", type=int, default=300, help="of each statement")
    parser.add_argument("--limit", type=float, default=300, help="seconds for the runs of one statement; at least 20 runs")
    parser.add_argument("--scans", type=int, default=7, help="runs of each scan and side")
    parser.add_argument("--starts", type=int, default=3, help="of the server")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{ME}: ended by a signal"))  # by way of `finally`: the server ends too
    args.out = os.path.abspath(args.out)
    try:
        if args.step == "report":
            return report(args)
        expect("number of corpora", len(args.corpora) >= (2 if args.step == "memory" else 1) and bool(args.binary), True)
        args.binary = os.path.abspath(args.binary)
        head = {"step": args.step, "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                "cores": os.cpu_count(), "load_before": os.getloadavg(), "version": run([args.binary, "--version"])[1].strip()}
        result = STEPS[args.step](args)
        with open(os.path.join(args.out, f"scale-{args.step}.json"), "w") as f:
            json.dump(head | {"load_after": os.getloadavg(), "result": result}, f, indent=1, default=str)
            f.write("\n")
    except Failed as failure:
        sys.exit(f"{ME}: {args.step}: {failure}")


if __name__ == "__main__":
    main()
