#!/usr/bin/env python3
"""Crayon and its peers on the same models, interleaved in one run.

    bench.py BUILD DATA WORK [--threads N] [--rounds N] [--minutes M] [--save] [--readme]

WORK holds MODEL-int8.onnx, made by `crayon quantize` (bench/run.sh does); prepare.py adds the peers'
own files there. Then rounds: every contestant runs once per round in a process of its own (some
runtimes' threads keep spinning), neighbours in time are neighbours in the table, and every second
round goes backwards, so that a slow minute of the machine hits all alike. A contestant's time is the
median over the rounds of the medians within a round. No row is begun after --minutes.

This process imports nothing large: its memory would show in its children's. Exit 0: the run worked;
whether the project's goals were reached is printed and does not change it.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

import report
from models import MODELS

HERE = os.path.dirname(os.path.abspath(__file__))
RUNS = {"yolov8n": 30, "yolox_nano": 60}  # within a round; half of it with one thread
LIMIT_S = 60                              # for one contestant in one round
PICTURE = os.path.join("seed", "frame_0000.jpg")  # 1280x720
PEERS = ("onnxruntime", "openvino", "nncf", "ai-edge-litert", "ncnn", "pnnx", "MNN", "numpy",
         "opencv-python-headless")


@dataclass
class Job:
    """One row of one table."""
    section: str    # "race", "pipeline"
    model: str
    label: str
    precision: str  # "float32", "bf16", "int8"
    threads: int
    batch: int
    command: list = None  # None: cannot run, see why
    why: str = None
    results: list = field(default_factory=list)

    @property
    def own(self):
        return self.label.startswith("Crayon")

    def median(self, key):
        values = [r[key] for r in self.results if r.get(key) is not None]
        return statistics.median(values) if values else None


# ---- processes ----

def start_pinned(threads):
    """One thread means one core: then nothing else can be busy beside it."""
    if threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def last_json(text):
    """The first JSON value that starts a line: runtimes print lines of their own before."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line[:1] in "[{" and line:
            try:
                value = json.loads("\n".join(lines[i:]))
            except ValueError:
                continue
            return value[0] if isinstance(value, list) else value
    return None


def call(command, threads):
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S,
                             preexec_fn=lambda: start_pinned(threads))
    except subprocess.TimeoutExpired:
        return {"why": f"did not end within {LIMIT_S} s"}
    found = last_json(out.stdout)
    if out.returncode < 0:
        return {"why": f"ended by signal {-out.returncode}"}
    if out.returncode or not isinstance(found, dict):
        said = (out.stderr.strip().splitlines() or ["said nothing"])[-1]
        return {"why": f"exit {out.returncode}: {said[:200]}"}
    return found


def run_job(job):
    found = call(job.command, job.threads)
    if job.own and job.section == "race" and "why" not in found:
        found["memory_mb"] = found["peak_rss_mb"]
        if found.get("first_result_ms") is not None:
            found["first_ms"] = found["first_result_ms"]
        else:
            cold = call([*job.command, "--warmup", "0", "--runs", "1"], job.threads)
            if "why" not in cold:
                found["first_ms"] = cold["load_ms"] + cold["median_ms"]
    if "why" in found:
        job.why = found["why"]
        if not job.results:
            job.command = None
    else:
        job.results.append(found)


# ---- contestants ----

def runs_of(model, threads, batch):
    return RUNS[model] // (2 if threads == 1 else 1) // batch


class Lineup:
    """Who takes part."""

    def __init__(self, args, files):
        self.args, self.files = args, files
        self.crayon = os.path.join(args.build, "crayon")
        self.help = subprocess.run([self.crayon, "bench", "--help"], check=True, capture_output=True,
                                   text=True).stdout
        self.jobs = []

    def add(self, section, model, label, precision, threads, batch, path, command):
        """`command` is made only if there is a file for it."""
        job = Job(section, model, label, precision, threads, batch)
        if isinstance(path, dict):
            job.why = path["why"]
        else:
            job.command = command(path)
        self.jobs.append(job)

    def own(self, section, model, label, precision, threads, batch, key, *options):
        """A row of ours; options that this build does not know make it a row that says so."""
        wanted = list(options)
        if batch > 1:
            wanted += ["--batch", str(batch)]
        if precision == "bf16":
            wanted += ["--precision", "bf16"]
        missing = [o for o in wanted if o.startswith("--") and o not in self.help]
        path = self.files[f"{model} {key}"]
        if missing:
            path = {"why": f"this build's crayon bench has no {missing[0]}"}
        runs = runs_of(model, threads, batch)
        self.add(section, model, label, precision, threads, batch, path,
                 lambda p: [self.crayon, "bench", p, "--json", "--threads", str(threads), "--runs",
                            str(runs), *wanted])

    def peer(self, model, label, precision, threads, batch, kind, key):
        suffix = "-b4" if batch > 1 and key.startswith(("onnx", "mnn")) else ""
        runs = runs_of(model, threads, batch)
        place = os.path.join(self.args.work, model)
        self.add("race", model, label, precision, threads, batch, self.files[f"{model} {key}{suffix}"],
                 lambda p: [sys.executable, os.path.join(HERE, "child.py"), kind, p, "--model", model,
                            "--input", place + "-input.npy", "--reference", place + "-output.npy",
                            "--threads", str(threads), "--batch", str(batch), "--runs", str(runs)])

    def race(self, model, threads, batch):
        own = lambda precision, key: self.own("race", model, f"Crayon {precision}", precision, threads,
                                              batch, key)
        peer = lambda label, precision, kind, key: self.peer(model, label, precision, threads, batch,
                                                             kind, key)
        own("float32", "onnx")
        peer("ONNX Runtime", "float32", "ort", "onnx")
        peer("OpenVINO", "float32", "openvino-f32", "onnx")
        peer("ncnn", "float32", "ncnn", "ncnn")
        peer("MNN", "float32", "mnn", "mnn")
        own("bf16", "onnx")
        peer("OpenVINO", "bf16", "openvino-bf16", "onnx")
        peer("ncnn", "bf16", "ncnn-bf16", "ncnn")
        peer("MNN", "bf16", "mnn-low", "mnn")
        own("int8", "onnx-int8")
        peer("LiteRT, full integer", "int8", "litert", "tflite-full")
        peer("LiteRT, dynamic range", "int8", "litert", "tflite-dynamic")
        peer("OpenVINO, NNCF's file", "int8", "openvino", "nncf")
        peer("OpenVINO, Crayon's file", "int8", "openvino", "onnx-int8")
        peer("ONNX Runtime, its static file", "int8", "ort", "onnx-static")
        peer("OpenVINO, ONNX Runtime's static file", "int8", "openvino", "onnx-static")
        peer("ONNX Runtime, its dynamic file", "int8", "ort", "onnx-dynamic")
        peer("ONNX Runtime, Crayon's file", "int8", "ort", "onnx-int8")
        peer("ncnn", "int8", "ncnn", "ncnn-int8")
        peer("MNN", "int8", "mnn", "mnn-int8")

    def loop(self, model, label, precision, threads, kind, key):
        self.add("pipeline", model, label, precision, threads, 1, self.files[f"{model} {key}"],
                 lambda p: [sys.executable, os.path.join(HERE, "pipeline.py"), "run", kind, p, "--model",
                            model, "--picture", os.path.join(self.args.data, PICTURE), "--threads",
                            str(threads), "--runs", str(RUNS[model])])

    def pipelines(self, model, threads):
        own = lambda precision, key: self.own("pipeline", model, f"Crayon {precision}", precision,
                                              threads, 1, key, "--pipeline",
                                              os.path.join(self.args.data, PICTURE))
        loop = lambda label, precision, kind, key: self.loop(model, label, precision, threads, kind, key)
        own("float32", "onnx")
        loop("Python, ONNX Runtime", "float32", "ort", "onnx")
        loop("Python, OpenVINO", "float32", "openvino-f32", "onnx")
        own("int8", "onnx-int8")
        loop("Python, ONNX Runtime, its static file", "int8", "ort", "onnx-static")
        loop("Python, OpenVINO, NNCF's file", "int8", "openvino", "nncf")


def jobs_of(args, files):
    lineup = Lineup(args, files)
    for model in MODELS:  # what matters most comes first: a slow machine may not reach the end
        lineup.race(model, args.threads, 1)
    for model in MODELS:
        for threads in sorted({args.threads, 1}):
            lineup.pipelines(model, threads)
        if args.threads > 1:
            lineup.race(model, 1, 1)
    for model in MODELS:
        lineup.race(model, args.threads, 4)
    return lineup.jobs


# ---- the run ----

def progress(text):
    """One line that is written over on a terminal, lines elsewhere only at a round's end."""
    if sys.stderr.isatty():
        print("\r\033[K" + text, end="", file=sys.stderr, flush=True)


def run_rounds(args, jobs, deadline):
    """Stops in the middle of a round if it must: rows keep the rounds that they had."""
    for done in range(args.rounds):
        start = time.monotonic()
        for i, job in enumerate(jobs if done % 2 == 0 else jobs[::-1]):
            if time.monotonic() > deadline:
                progress("")
                return done + i / len(jobs)
            progress(f"round {done + 1}: {i + 1} of {len(jobs)}: {job.label}")
            if job.command:
                run_job(job)
        progress("")
        print(f"round {done + 1}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return args.rounds


def checks(args):
    """Pixels and boxes of both, once."""
    data, script = args.data, os.path.join(HERE, "pipeline.py")
    folder = os.path.join(data, "coco-dev", "images")
    some = [os.path.join(data, PICTURE), *(os.path.join(folder, n) for n in sorted(os.listdir(folder))[:8])]
    found = {"pixels": call([sys.executable, script, "check", os.path.join(args.build, "libcrayon.so"),
                             *some], args.threads)}
    for model in MODELS:
        found[model] = call([sys.executable, script, "boxes", os.path.join(args.build, "crayon"),
                             os.path.join(data, "models", model + ".onnx"), "--model", model, "--picture",
                             os.path.join(data, PICTURE)], args.threads)
    return found


def layers(args, files):
    """`crayon bench --layers` of the INT8 model: its totals."""
    found = call([os.path.join(args.build, "crayon"), "bench", files["yolov8n onnx-int8"], "--layers",
                  "--json", "--runs", "10", "--threads", str(args.threads)], args.threads)
    return {"conv_share": found.get("convolutions", {}).get("peak_share"),
            "other_ms": found.get("other_ms"), "peaks": found.get("peaks"), "why": found.get("why")}


def commit():
    try:
        name = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True,
                              text=True, cwd=HERE).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], check=True,
                                 capture_output=True, text=True, cwd=HERE).stdout.strip()
        return name + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions():
    from importlib import metadata
    found = []
    for name in PEERS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return found


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip())
    parser.add_argument("build")
    parser.add_argument("data")
    parser.add_argument("work")
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=9.5, help="no row is begun later")
    parser.add_argument("--only", default="", help="rows whose label has this, and Crayon's")
    parser.add_argument("--save", action="store_true", help="write bench/results/DATE-CPU.md")
    parser.add_argument("--readme", action="store_true", help="write README.md's table")
    args = parser.parse_args()
    args.build, args.data, args.work = (os.path.abspath(p) for p in (args.build, args.data, args.work))
    return args


def main():
    args = arguments()
    began = time.monotonic()
    prepared = subprocess.run([sys.executable, os.path.join(HERE, "prepare.py"), args.data, args.work],
                              capture_output=True, text=True)
    if prepared.returncode:
        print(f"bench: the peers' files cannot be made: {prepared.stderr.strip()[-300:]}", file=sys.stderr)
        return 1
    with open(os.path.join(args.work, "files.json")) as f:
        files = json.load(f)
    jobs = [j for j in jobs_of(args, files) if j.own or args.only in j.label]
    rounds = run_rounds(args, jobs, began + args.minutes * 60)
    for job in jobs:
        if job.command and not job.results:
            job.why = "there was no time for it"
    ours = next((j.results[0] for j in jobs if j.own and j.section == "race" and j.results), None)
    if not ours:
        print("bench: Crayon ran no model", file=sys.stderr)
        return 1
    about = {"date": str(datetime.date.today()), "cpu": ours["cpu"], "level": ours["level"],
             "threads": args.threads, "commit": commit(), "rounds": rounds, "runs": RUNS,
             "versions": versions(), "checks": checks(args), "layers": layers(args, files),
             "minutes": (time.monotonic() - began) / 60, "load": os.getloadavg()[2]}
    report.publish(about, jobs, save=args.save, readme=args.readme,
                   root=os.path.dirname(os.path.dirname(HERE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
