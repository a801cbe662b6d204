"""python3 benches/sources/run.py PROGRAM: what it costs to read logs from S3, beside local disk, in one run.

PROGRAM is a release build. Two sets of logs, made by benches/corpus (`cargo run --release --example gen_corpus`) or named by LARGE_LOGS and
SMALL_LOGS: a few large logs, and 2,000 small ones. Each is ingested from the local disk, from a versitygw on this machine (tests/rigs/s3.sh)
over the same files, and the small ones again with 20 ms before every answer (tests/rigs/faultproxy.py). A line of JSON a measurement; `ratio`
is the speed beside the local disk's. The S3 server's own CPU time comes out of the same two cores: it is said beside the gateway's."""
import json, os, pathlib, resource, shutil, socket, subprocess, sys, tempfile, time

here = pathlib.Path(__file__).resolve().parent
checkout = here.parent.parent
program = sys.argv[1]
rig = checkout / "tests/rigs/s3.sh"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ingest(source, config, cache):
    shutil.rmtree(cache, ignore_errors=True)
    arguments = [program, "ingest", source, "--cache", str(cache)] + (["--config", str(config)] if config else [])
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.time() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def small_logs(directory):
    text = (checkout / "tests/fixtures/damaged/local-good").read_text()
    for number in range(2000):
        (directory / f"app-{number}").write_text(text.replace('"App ID":"local-good"', f'"App ID":"app-{number}"'))


def large_logs(directory):
    """Tasks of a fixture over and over: about 200 MB a log."""
    lines = (checkout / "tests/fixtures/damaged/local-good").read_text().splitlines(keepends=True)
    middle = [line for line in lines if "SparkListenerTaskEnd" in line]
    for number in range(2):
        with open(directory / f"large-{number}", "w") as log:
            log.write("".join(lines[:-1]).replace('"App ID":"local-good"', f'"App ID":"large-{number}"'))
            written, task = 0, 1000
            while written < 200_000_000:
                for line in middle:
                    line = line.replace('"Task ID":', f'"Task ID":{task}', 1)
                    written += log.write(line)
                    task += 1
            log.write(lines[-1])


with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    buckets = work / "s3/data/logs"
    sets = {}
    for name, make in [("large", large_logs), ("small", small_logs)]:
        given = os.environ.get(f"{name.upper()}_LOGS")
        target = buckets / name
        if given:
            shutil.copytree(given, target)
        else:
            target.mkdir(parents=True)
            make(target)
        sets[name] = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    port, slow_port = free_port(), free_port()
    subprocess.run([rig, "start", work / "s3", str(port)], check=True)
    server = int((work / "s3/pid").read_text())
    rules = work / "rules"
    rules.write_text("* . delay 0.02\n")
    proxy = subprocess.Popen([sys.executable, checkout / "tests/rigs/faultproxy.py", str(slow_port), str(port), rules], stdout=subprocess.DEVNULL)
    try:
        configs = {}
        for at in (port, slow_port):
            configs[at] = work / f"{at}.toml"
            configs[at].write_text(
                f'[s3]\nendpoint = "http://127.0.0.1:{at}"\nallow_http = true\naccess_key_id = "rigkey"\nsecret_access_key = "rigsecret123"\n'
            )
        for name, size in sets.items():
            runs = [("local disk", str(buckets / name), None), ("S3", f"s3://logs/{name}", configs[port])]
            if name == "small":
                runs.append(("S3 with 20 ms a request", f"s3://logs/{name}", configs[slow_port]))
            local = None
            for what, source, config in runs:
                before = cpu(server)
                wall, seconds = ingest(source, config, work / "cache")
                local = local or wall
                print(json.dumps({
                    "logs": name, "megabytes": round(size / 1e6, 1), "source": what, "wall_s": round(wall, 2), "cpu_s": round(seconds, 2),
                    "store_cpu_s": round(cpu(server) - before, 2), "ratio": round(local / wall, 2),
                }), flush=True)
    finally:
        proxy.kill()
        subprocess.run([rig, "stop", work / "s3"])
