#!/usr/bin/env python3
"""Measures Spark's REST API as Sparkgate and Spark's own history server answer it, side by side over the same corpus.

One server runs at a time, as a child of this script, and is ended by its process id. CPU time is that of the whole server
process, user and system, and counts; wall time informs. Every answer must have status 200, and the answers of both servers to
the same requests are held against each other by their digests. Only the standard library is used, one keep-alive connection a
client, no compression.

    load.py measure SERVER --corpus DIR --json FILE     one server over one corpus
    load.py report DIR                                  the tables, from DIR/load-CORPUS-SERVER.json

Not measured here: what the same questions cost in SQL, logs that grow, and a cache that is already on disk.
"""

import argparse
import datetime
import glob
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

API = "/api/v1"
SERVERS = ("sparkgate", "spark")
# What FINDINGS and the goals speak of; `{app}` and `{stage}` are drawn, `{stage}` is `ID/ATTEMPT`.
ENDPOINTS = {
    "applications?limit=100": "/applications?limit=100",
    "jobs": "/applications/{app}/jobs",
    "stages": "/applications/{app}/stages",
    "executors": "/applications/{app}/executors",
    "taskSummary": "/applications/{app}/stages/{stage}/taskSummary",
    "taskList?length=100": "/applications/{app}/stages/{stage}/taskList?length=100",
}


class Failed(Exception):
    """The measurement cannot go on; the text says why."""


# --- the server and what it uses -------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server that this script started, and its clocks."""

    def __init__(self, kind, args, corpus, work):
        self.port = free_port()
        self.log = os.path.join(work, "server.log")
        env = dict(os.environ, TZ="UTC")
        if kind == "spark":
            opens = [f"--add-opens=java.base/java.{p}=ALL-UNNAMED" for p in (
                "lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "util", "util.concurrent", "util.concurrent.atomic")]
            opens += ["--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED"]
            env["SPARK_LOCAL_IP"] = "127.0.0.1"
            self.command = ["java", f"-Xmx{args.heap}", *opens, "-cp", f"{args.jars}/*",
                            f"-Dspark.history.fs.logDirectory=file:{corpus}", f"-Dspark.history.ui.port={self.port}",
                            "-Dspark.history.fs.update.interval=3600s", "org.apache.spark.deploy.history.HistoryServer"]
        else:
            self.command = [args.sparkgate, "serve", corpus, "--pg", "off", "--flight", "off", "--http", f"127.0.0.1:{self.port}",
                            "--scan-interval", "1h"]
        self.started = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=work)
        # Linux numbers the CPU clock of a process like this (clock_getcpuclockid): utime + stime of /proc/PID/stat in nanoseconds.
        self.clock = (~self.process.pid << 3) | 2

    def wall(self):
        return time.monotonic() - self.started

    def cpu(self):
        """CPU seconds of the process so far, user and system, ended threads included."""
        return time.clock_gettime(self.clock)

    def stat_cpu(self):
        """The same from /proc/PID/stat, in ticks of 10 ms: the check on `cpu`."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self):
        """Resident memory now and at its highest."""
        with open(f"/proc/{self.process.pid}/status") as f:
            kb = {k: int(v.split()[0]) for k, v in (line.split(":", 1) for line in f if line.startswith(("VmRSS", "VmHWM")))}
        return {"now": round(kb["VmRSS"] / 1024), "peak": round(kb["VmHWM"] / 1024)}

    def alive(self):
        if self.process.poll() is not None:
            with open(self.log, errors="replace") as f:
                raise Failed(f"the server ended with code {self.process.returncode}:\n{f.read()[-2000:]}")

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Client:
    """One keep-alive connection."""

    def __init__(self, port, timeout=600):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.failure = None

    def try_get(self, path):
        """Status and body; None while nobody listens."""
        try:
            self.connection.request("GET", API + path, headers={"Accept": "application/json"})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (ConnectionError, http.client.HTTPException, socket.timeout) as failure:
            self.failure = failure
            self.connection.close()
            return None

    def get(self, path):
        answer = self.try_get(path)
        if answer is None or answer[0] != 200:
            raise Failed(f"{path}: {repr(self.failure) if answer is None else (answer[0], answer[1][:200])}")
        return answer[1]


# --- the steps ---------------------------------------------------------------------------------------------------------


def until_listed(server, client, expected, limit):
    """Polls until every application is listed as completed. Pauses are ten times as long as polls, at most a second: polls hardly count."""
    polls, poll_time = 0, 0.0
    while server.wall() < limit:
        server.alive()
        before = time.monotonic()
        answer = client.try_get("/applications")
        polls += 1
        took = time.monotonic() - before
        poll_time += took
        if answer is not None and answer[0] == 200:
            listed = json.loads(answer[1])
            if len(listed) >= expected and all(a["attempts"][0]["completed"] for a in listed):
                return {"wall_s": server.wall(), "cpu_s": server.cpu(), "applications": len(listed), "polls": polls,
                        "polls_wall_s": poll_time, "rss_mb": server.memory_mb()}, listed
        time.sleep(min(1, max(0.1, 10 * took)))
    raise Failed(f"not all of {expected} applications are listed after {limit} s")


def first_stages(server, client, app, expected_stages):
    """The first complete answer about the stages of `app`: what a user who opens it waits for."""
    wall, cpu = server.wall(), server.cpu()
    tries = 0
    while True:
        tries += 1
        stages = json.loads(client.get(f"/applications/{app}/stages"))
        if len(stages) >= expected_stages and all(s["status"] in ("COMPLETE", "SKIPPED", "FAILED") for s in stages):
            break
        if server.wall() - wall > 600:
            raise Failed(f"{app}: {len(stages)} stages of {expected_stages} after 600 s")
        time.sleep(0.2)
    return {"wall_s": server.wall() - wall, "cpu_s": server.cpu() - cpu, "tries": tries,
            "since_start_wall_s": server.wall(), "since_start_cpu_s": server.cpu()}, stages


def until_idle(server, limit=120):
    """Waits until the server uses less than a twentieth of a core; says what it used until then and what it uses idle."""
    wall, cpu = server.wall(), server.cpu()
    while True:
        before, at = server.cpu(), server.wall()
        time.sleep(2)
        rate = (server.cpu() - before) / (server.wall() - at)
        if rate < 0.05 or server.wall() - wall > limit:
            return {"wall_s": server.wall() - wall, "cpu_s": server.cpu() - cpu, "idle_cpu_ms_per_s": 1000 * rate,
                    "since_start_cpu_s": server.cpu()}


def quantile(ordered, q):
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, max(0, -(-int(q * 1000) * len(ordered) // 1000) - 1))]


def digest(body):
    return hashlib.sha256(body).hexdigest()[:16]


def requests(server, paths, clients):
    """Sends `paths` by `clients` connections that take turns; latencies, CPU time and digests."""
    connections = [Client(server.port) for _ in range(clients)]
    for connection in connections:
        connection.connection.connect()
    latencies, bodies, failures = [0.0] * len(paths), [b""] * len(paths), []

    def work(first):
        try:
            for at in range(first, len(paths), clients):
                before = time.perf_counter()
                body = connections[first].get(paths[at])
                latencies[at] = time.perf_counter() - before
                bodies[at] = body
        except Exception as failure:  # a thread's failure is the run's
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    wall, cpu, stat = time.monotonic(), server.cpu(), server.stat_cpu()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, cpu, stat = time.monotonic() - wall, server.cpu() - cpu, server.stat_cpu() - stat
    if failures:
        raise failures[0]
    for connection in connections:
        connection.connection.close()
    ordered = sorted(latencies)
    ms = lambda s: round(1000 * s, 3)  # noqa: E731
    return {
        "clients": clients, "requests": len(paths), "cpu_ms_per_request": ms(cpu / len(paths)),
        "stat_cpu_ms_per_request": ms(stat / len(paths)), "requests_per_s": round(len(paths) / wall, 1),
        "p50_ms": ms(quantile(ordered, 0.5)), "p99_ms": ms(quantile(ordered, 0.99)), "max_ms": ms(ordered[-1]),
        "bytes_per_answer": round(sum(map(len, bodies)) / len(bodies)), "latencies_ms": [ms(s) for s in latencies],
        "digests": [digest(body) for body in bodies],
        "json_digests": [digest(json.dumps(json.loads(body), sort_keys=True).encode()) for body in bodies],
    }


def download_logs(server, app, work):
    """The zip of an application's logs: first byte, all of it, CPU; and whether it unpacks to what it says."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    path = os.path.join(work, "logs.zip")
    before, cpu = time.monotonic(), server.cpu()
    client.request("GET", f"{API}/applications/{app}/logs", headers={"Accept": "application/octet-stream"})
    answer = client.getresponse()
    if answer.status != 200:
        return {"status": answer.status, "text": answer.read()[:200].decode(errors="replace")}
    first = None
    size = 0
    with open(path, "wb") as out:
        while chunk := answer.read1(1 << 20):
            first = first or time.monotonic() - before
            size += len(chunk)
            out.write(chunk)
    total, cpu = time.monotonic() - before, server.cpu() - cpu
    client.close()
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        unpacked = sum(entry.file_size for entry in archive.infolist())
    os.remove(path)
    return {"status": 200, "first_byte_s": first, "total_s": total, "cpu_s": cpu, "bytes": size, "unpacked_bytes": unpacked,
            "damaged": damaged}


# --- one server over one corpus ------------------------------------------------------------------------------------------


def measure(args):
    corpus = os.path.abspath(args.corpus)
    with open(corpus.rstrip("/") + ".manifest.json") as f:
        manifest = json.load(f)
    stages_of = {a["id"]: a["stages"] for a in manifest["app"]}
    draw = random.Random(args.seed)
    # The first is opened right after the listing, `fresh` once each, `kept` again and again. Spark keeps 50 applications in memory,
    # in four parts of 12 or 13 by hash: with 40 some are evicted all the time, with 20 none is.
    ids = sorted(stages_of)
    draw.shuffle(ids)
    kept, fresh = ids[: args.kept], ids[args.kept : args.kept + args.fresh]
    warm_up = args.warm_up if args.warm_up is not None else {"sparkgate": 30, "spark": 200}[args.server]
    result = {
        "corpus": os.path.basename(corpus), "server": args.server, "manifest": {k: manifest["total"][k] for k in (
            "events", "bytes", "stored_bytes", "jobs", "stages", "tasks", "executors")} | {"apps": manifest["apps"]},
        "seed": args.seed, "kept_applications": len(kept), "warm_up_requests": warm_up,
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cores": os.cpu_count(), "load_before": os.getloadavg(),
    }

    def note(text):
        print(f"{result['corpus']} {args.server}: {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="load-") as work:
        server = Server(args.server, args, corpus, work)
        # No path of the machine it was measured on.
        home = os.path.expanduser("~")
        result["command"] = [os.path.basename(part) if part == args.sparkgate else part.replace(home, "~") for part in server.command]
        try:
            client = Client(server.port)
            result["listed"], listed = until_listed(server, client, manifest["apps"], args.limit)
            note("listed {wall_s:.1f} s, {cpu_s:.1f} CPU s".format(**result["listed"]))
            result["version"] = json.loads(client.get("/version"))
            app = kept[0]
            result["first_stages"], _ = first_stages(server, client, app, stages_of[app])
            note("first stages {wall_s:.2f} s, {cpu_s:.2f} CPU s".format(**result["first_stages"]))
            result["settled"] = until_idle(server)
            client = Client(server.port)  # Spark closes connections that were idle for 30 s
            if fresh:
                each = [first_stages(server, client, a, stages_of[a])[0] for a in fresh]
                walls = sorted(e["wall_s"] for e in each)
                result["further_first_stages"] = {
                    "applications": len(each), "cpu_s_mean": sum(e["cpu_s"] for e in each) / len(each),
                    "p50_s": quantile(walls, 0.5), "max_s": walls[-1]}
                note("further ones {p50_s:.3f} s, {cpu_s_mean:.3f} CPU s".format(**result["further_first_stages"]))
            places = []
            for app in kept:
                for s in first_stages(server, client, app, stages_of[app])[1]:
                    if s["numCompleteTasks"]:
                        places.append((app, f"{s['stageId']}/{s['attemptId']}"))
            places.sort()
            result["rss_mb"] = {"kept": server.memory_mb()}
            result["warm"] = {}
            for name, path in ENDPOINTS.items():
                of_app = "{stage}" not in path
                choose = random.Random(f"{args.seed} {name}")

                def drawn(n):
                    """`n` paths that go round the applications or stages in a drawn order: each as often as any other."""
                    among = [(a, None) for a in kept] if of_app else places[:]
                    chosen = []
                    while len(chosen) < n:
                        choose.shuffle(among)
                        chosen += among
                    return [path.format(app=a, stage=s) for a, s in chosen[:n]]

                paths, warming = drawn(args.requests), drawn(warm_up)
                requests(server, warming, 1)
                if args.bodies:
                    os.makedirs(args.bodies, exist_ok=True)
                    file = "-".join((result["corpus"], "".join(c if c.isalnum() else "_" for c in name), args.server)) + ".json"
                    with open(os.path.join(args.bodies, file), "wb") as out:
                        out.write(Client(server.port).get(paths[0]))
                runs = [requests(server, paths, n) for n in args.clients]
                result["warm"][name] = runs
                note(f"{name}: " + "; ".join("{clients} clients {cpu_ms_per_request} CPU ms, p50 {p50_ms} p99 {p99_ms} ms".format(**r)
                                             for r in runs))
            result["rss_mb"]["warm"] = server.memory_mb()
            if args.zip:
                result["zip"] = download_logs(server, kept[0], work)
                note(f"zip {result['zip']}")
            server.alive()
            result["rss_mb"]["end"] = server.memory_mb()
            result["cpu_s_in_all"] = server.cpu()
        except Failed as failure:
            with open(server.log, errors="replace") as f:
                raise Failed(f"{failure}\nthe server's last words:\n{f.read()[-3000:]}") from failure
        finally:
            server.end()
    result["load_after"] = os.getloadavg()
    os.makedirs(os.path.dirname(os.path.abspath(args.json)), exist_ok=True)
    with open(args.json, "w") as out:
        json.dump(result, out, separators=(",", ":"))
        out.write("\n")


# --- the tables --------------------------------------------------------------------------------------------------------


def row(*cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


def ratio(ours, theirs):
    return f"{ours / theirs:.2f}" if ours is not None and theirs else ""


def report(args):
    runs = {}
    for path in sorted(glob.glob(os.path.join(args.directory, "load-*.json"))):
        with open(path) as f:
            one = json.load(f)
        runs.setdefault(one["corpus"], {})[one["server"]] = one
    order = [c for c in ("many", "medium", "big") if c in runs] + sorted(set(runs) - {"many", "medium", "big"})
    if not order:
        raise Failed(f"{args.directory}: no load-*.json")
    out = ["# REST, side by side", "", "Made by `benches/load/load.py report`; `benches/load/README.md` says what each figure is. CPU is "
           "that of the server process, user and system.", "Ratio: Sparkgate / Spark, below 1 is cheaper.", ""]
    out += ["## From start to the first answer", "", row("corpus", "figure", "Sparkgate", "Spark", "ratio"), row("---", "---", "---:", "---:", "---:")]

    def line(corpus, name, pick, digits=2):
        values = []
        for server in SERVERS:
            try:
                values.append(pick(runs[corpus][server]))
            except (KeyError, TypeError):
                values.append(None)
        if any(v is not None for v in values):
            shown = ["" if v is None else f"{v:,.{digits}f}" for v in values]
            out.append(row(corpus, name, *shown, ratio(*values)))

    for corpus in order:
        line(corpus, "all applications listed, CPU s", lambda r: r["listed"]["cpu_s"])
        line(corpus, "all applications listed, wall s", lambda r: r["listed"]["wall_s"])
        line(corpus, "first `stages`, CPU s", lambda r: r["first_stages"]["cpu_s"], 3)
        line(corpus, "first `stages`, wall s", lambda r: r["first_stages"]["wall_s"], 3)
        line(corpus, "start to first `stages`, CPU s", lambda r: r["first_stages"]["since_start_cpu_s"])
        line(corpus, "start to first `stages`, wall s", lambda r: r["first_stages"]["since_start_wall_s"])
        line(corpus, "first `stages` of further applications, CPU s each", lambda r: r["further_first_stages"]["cpu_s_mean"], 4)
        line(corpus, "first `stages` of further applications, median wall s", lambda r: r["further_first_stages"]["p50_s"], 4)
        line(corpus, "resident when listed, MB", lambda r: r["listed"]["rss_mb"]["now"], 0)
        line(corpus, "resident after warm requests, MB", lambda r: r["rss_mb"]["warm"]["now"], 0)
        line(corpus, "peak resident, MB", lambda r: r["rss_mb"]["end"]["peak"], 0)
        line(corpus, "idle, CPU ms per s", lambda r: r["settled"]["idle_cpu_ms_per_s"], 1)
        line(corpus, "zip of the log, first byte s", lambda r: r["zip"]["first_byte_s"], 3)
        line(corpus, "zip of the log, all s", lambda r: r["zip"]["total_s"])
        line(corpus, "zip of the log, CPU s", lambda r: r["zip"]["cpu_s"])
        line(corpus, "zip of the log, MB", lambda r: r["zip"]["bytes"] / 1e6, 1)
    seen = sorted({run["clients"] for corpus in order for r in runs[corpus].values() for e in r["warm"].values() for run in e})
    for clients in seen:
        out += ["", f"## Warm, {clients} client{'s' if clients > 1 else ''}", "",
                row("corpus", "endpoint", "CPU ms/request", "Spark", "ratio", "p50 ms", "Spark", "p99 ms", "Spark", "ratio p99", "kB", "same JSON", "same bytes"),
                row("---", "---", *["---:"] * 11)]
        for corpus in order:
            for name in ENDPOINTS:
                pair = []
                for server in SERVERS:
                    found = [e for e in runs[corpus].get(server, {}).get("warm", {}).get(name, []) if e["clients"] == clients]
                    pair.append(found[0] if found else None)
                if not any(pair):
                    continue
                ours, theirs = pair

                def cell(one, key):
                    return "" if one is None else f"{one[key]:.2f}"

                def same(key):
                    return sum(a == b for a, b in zip(ours[key], theirs[key])) if key in ours and key in theirs else "?"

                both = (lambda key: ratio(ours[key], theirs[key])) if all(pair) else (lambda key: "")
                out.append(row(corpus, f"`{name}`", cell(ours, "cpu_ms_per_request"), cell(theirs, "cpu_ms_per_request"),
                               both("cpu_ms_per_request"), cell(ours, "p50_ms"), cell(theirs, "p50_ms"), cell(ours, "p99_ms"),
                               cell(theirs, "p99_ms"), both("p99_ms"), f"{(ours or theirs)['bytes_per_answer'] / 1000:.1f}",
                               f"{same('json_digests')} of {ours['requests']}" if all(pair) else "",
                               f"{same('digests')} of {ours['requests']}" if all(pair) else ""))
    print("\n".join(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("measure", help="one server over one corpus")
    one.add_argument("server", choices=SERVERS)
    one.add_argument("--corpus", required=True, help="directory of logs, with DIR.manifest.json beside it")
    one.add_argument("--json", required=True, help="where the figures go")
    one.add_argument("--sparkgate", help="the binary")
    one.add_argument("--jars", help="directory of Spark's jars")
    one.add_argument("--heap", default="4g", help="Spark's -Xmx")
    one.add_argument("--requests", type=int, default=200, help="per endpoint and run")
    one.add_argument("--clients", type=lambda s: [int(n) for n in s.split(",")], default=[1, 8], help="one run each, such as 1,8")
    one.add_argument("--warm-up", type=int, help="requests per endpoint that do not count (Sparkgate 30, Spark 200 for its JIT)")
    one.add_argument("--kept", type=int, default=20, help="applications that the warm requests ask about, at most")
    one.add_argument("--fresh", type=int, default=20, help="further applications whose first `stages` is timed, at most")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--limit", type=float, default=900, help="seconds until all are listed")
    one.add_argument("--bodies", help="directory for one answer of each endpoint, to compare by hand")
    one.add_argument("--zip", action="store_true", help="also download the zip of one application's log")
    one.set_defaults(run=measure)
    tables = commands.add_parser("report", help="the tables of a directory of results")
    tables.add_argument("directory")
    tables.set_defaults(run=report)
    args = parser.parse_args()
    if args.run is measure and not (args.sparkgate if args.server == "sparkgate" else args.jars):
        parser.error("--sparkgate BINARY or --jars DIRECTORY says what to start")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("load.py: ended by a signal"))  # by way of `finally`: the server ends too
    try:
        args.run(args)
    except Failed as failure:
        sys.exit(f"load.py: {failure}")


if __name__ == "__main__":
    main()
