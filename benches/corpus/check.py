#!/usr/bin/env python3
"""Checks a generated corpus: its lines against its manifest, and the shape of its events against real event logs.

  check.py CORPUS                    recounts every log (plain, zstd through the `zstd` program) and compares with CORPUS.manifest.json
  check.py CORPUS --real LOG...      also: every kind of event has the keys of the real ones, in the same order

Exit code 1 if anything differs.
"""
import argparse, json, os, subprocess, sys

METRICS = "Task Metrics"


def lines(path):
    """Every line of one log, in order, bytes with the newline."""
    if os.path.isdir(path):
        files = [f for f in os.listdir(path) if f.startswith("events_")]
        files = [os.path.join(path, f) for f in sorted(files, key=lambda f: int(f.split("_")[1]))]
    else:
        files = [path]
    for file in files:
        if file.removesuffix(".inprogress").endswith(".zstd"):
            with subprocess.Popen(["zstd", "-dcq", file], stdout=subprocess.PIPE) as process:
                yield from process.stdout
        else:
            with open(file, "rb") as plain:
                yield from plain


def count(path):
    """The numbers of a manifest entry, from the lines alone."""
    n = dict.fromkeys(("events bytes jobs failed_jobs stages failed_stages tasks failed_tasks sql executors run_ms gc_ms shuffle_write shuffle_read "
                       "input_bytes output_bytes").split(), 0)
    facts, started, ended = {}, set(), set()
    for line in lines(path):
        event = json.loads(line)
        kind = event["Event"].rsplit(".", 1)[-1]
        n["events"] += 1
        n["bytes"] += len(line)
        if kind == "SparkListenerTaskStart":
            started.add(event["Task Info"]["Task ID"])
        elif kind == "SparkListenerTaskEnd":
            ended.add(event["Task Info"]["Task ID"])
            m = event[METRICS]
            read, write = m["Shuffle Read Metrics"], m["Shuffle Write Metrics"]
            n["tasks"] += 1
            n["failed_tasks"] += event["Task Info"]["Failed"]
            n["run_ms"] += m["Executor Run Time"]
            n["gc_ms"] += m["JVM GC Time"]
            n["shuffle_write"] += write["Shuffle Bytes Written"]
            n["shuffle_read"] += read["Remote Bytes Read"] + read["Local Bytes Read"]
            n["input_bytes"] += m["Input Metrics"]["Bytes Read"]
            n["output_bytes"] += m["Output Metrics"]["Bytes Written"]
        elif kind == "SparkListenerJobEnd":
            n["jobs"] += 1
            n["failed_jobs"] += event["Job Result"]["Result"] != "JobSucceeded"
        elif kind == "SparkListenerStageCompleted":
            n["stages"] += 1
            n["failed_stages"] += "Failure Reason" in event["Stage Info"]
        elif kind == "SparkListenerSQLExecutionEnd":
            n["sql"] += 1
        elif kind == "SparkListenerExecutorAdded":
            n["executors"] += 1
        elif kind == "SparkListenerApplicationStart":
            facts = {"id": event["App ID"], "name": event["App Name"], "user": event["User"], "start": event["Timestamp"]}
        elif kind == "SparkListenerLogStart":
            n["spark"] = event["Spark Version"]
        last = kind
    return n | facts | {"complete": last == "SparkListenerApplicationEnd", "tasks_match": started == ended}


def shape(value, path, out):
    """Key orders by path; where keys are data (properties, class path, metadata) only the path."""
    if isinstance(value, dict):
        if path.endswith(("Properties", "Entries", "modifiedConfigs", "metadata", "Attributes", "Log Urls")):
            return
        out.setdefault(path, set()).add(tuple(value))
        for key, inner in value.items():
            shape(inner, path + "/" + key, out)
    elif isinstance(value, list):
        for inner in value:
            shape(inner, path if path.endswith("children") else path + "[]", out)
    else:
        kind = type(value).__name__
        if isinstance(value, str) and value.lstrip("-").isdigit():
            kind = "number in a string"
        out.setdefault(path, set()).add(kind)


def shapes(paths):
    out = {}
    for path in paths:
        for line in lines(path):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            shape(event, event["Event"].rsplit(".", 1)[-1], out)
    return out


def compare_shapes(ours, real):
    """What we write and no real log has. Values that may be text or numbers (names, hosts) do not count."""
    problems = []
    for path, seen in sorted(ours.items()):
        known = real.get(path)
        if known is None:
            problems.append(f"no real log has {path}: {sorted(map(str, seen))}")
            continue
        for one in seen - known:
            if isinstance(one, tuple) or not {"str", "number in a string"} & (known | {one}):
                problems.append(f"{path}: {one} is not among {sorted(map(str, known))[:4]}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--real", nargs="+", default=[], help="real event logs of the same Spark version")
    args = parser.parse_args()
    corpus = args.corpus.rstrip("/")
    with open(corpus + ".manifest.json") as file:
        manifest = json.load(file)

    # A manifest of very many applications has only the totals.
    entries = manifest.get("app") or [{"file": name} for name in sorted(os.listdir(corpus))]
    problems, total = [], {}
    for entry in entries:
        counted = count(os.path.join(corpus, entry["file"]))
        if not counted.pop("tasks_match"):
            problems.append(f"{entry['file']}: a task starts and does not end, or the reverse")
        for key, value in counted.items():
            if entry.get(key, value) != value:
                problems.append(f"{entry['file']}: {key} is {value}, the manifest says {entry[key]}")
            if not isinstance(value, (str, bool)) and key in manifest["total"]:
                total[key] = total.get(key, 0) + value
    problems += [f"total: {key} is {value}, the manifest says {manifest['total'][key]}"
                 for key, value in total.items() if manifest["total"][key] != value]
    listed = {entry["file"] for entry in entries}
    problems += [f"{name} is not in the manifest" for name in sorted(set(os.listdir(corpus)) ^ listed)]
    if args.real:
        ours = shapes(os.path.join(corpus, entry["file"]) for entry in entries)
        problems += compare_shapes(ours, shapes(args.real))
    print("\n".join(problems[:60]) or f"{corpus}: {len(listed)} logs, {total['events']} events, as the manifest says")
    sys.exit(bool(problems))


main()
