#!/usr/bin/env python3
"""Crayon and its peers on the same models, interleaved in one run.

    bench.py CRAYON DATA WORK [--threads N] [--rounds N] [--save]

WORK holds MODEL-int8.onnx, made by `crayon quantize` (bench/run.sh does). Each round starts every
contestant once, one after another, in a process of its own (some runtimes' threads keep spinning),
and takes the median of its runs; the table gives the median over the rounds and the ratio to the
fastest. --save writes bench/results/DATE-CPU.md.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys

MODELS = ("yolov8n", "yolox_nano")


def run_peer(kind, path, threads, runs):
    """In a child: prints the median milliseconds of one run."""
    import time

    import numpy as np
    if kind == "ort":
        import onnxruntime as ort
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        port = session.get_inputs()[0]
        x = np.random.default_rng(0).random(port.shape, np.float32)
        call = lambda: session.run(None, {port.name: x})
    else:
        import openvino as ov
        hint = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        if kind == "openvino-f32":
            hint["INFERENCE_PRECISION_HINT"] = "f32"
        model = ov.Core().compile_model(path, "CPU", hint)
        x = np.random.default_rng(0).random(list(model.inputs[0].shape), np.float32)
        request = model.create_infer_request()
        call = lambda: request.infer({0: x})
    for _ in range(5):
        call()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    print(statistics.median(times))


def run_crayon(crayon, path, threads, runs):
    out = subprocess.run([crayon, "bench", path, "--threads", str(threads), "--runs", str(runs), "--json"],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)[0]


def contestants(args, name):
    """(label, function that gives milliseconds)"""
    float_path = os.path.join(args.data, "models", name + ".onnx")
    int_path = os.path.join(args.work, name + "-int8.onnx")
    foreign = os.path.join(args.data, "models", "foreign", name + "_nncf_int8.xml")

    def peer(kind, path):
        def call():
            out = subprocess.run([sys.executable, __file__, "--peer", kind, path, str(args.threads),
                                  str(args.runs)], check=True, capture_output=True, text=True).stdout
            return float(out.split()[-1])
        return call

    def own(path):
        return lambda: run_crayon(args.crayon, path, args.threads, args.runs)["median_ms"]

    rows = [("Crayon float32", own(float_path)), ("ONNX Runtime float32", peer("ort", float_path)),
            ("OpenVINO float32", peer("openvino-f32", float_path)),
            ("OpenVINO, its own choice (bf16 where the CPU has it)", peer("openvino", float_path)),
            ("Crayon int8", own(int_path)), ("ONNX Runtime on Crayon's int8 file", peer("ort", int_path)),
            ("OpenVINO on Crayon's int8 file", peer("openvino", int_path))]
    static = os.path.join(args.data, "models", "foreign", name + "_ort_static_qdq.onnx")
    if os.path.exists(static):
        rows.append(("ONNX Runtime on its own static int8 file", peer("ort", static)))
    if os.path.exists(foreign):
        rows.append(("OpenVINO on NNCF's int8 file", peer("openvino", foreign)))
    return rows


def table(args, name):
    rows = contestants(args, name)
    times = {label: [] for label, _ in rows}
    for _ in range(args.rounds):
        for label, call in rows:
            times[label].append(call())
    best = min(statistics.median(t) for t in times.values())
    lines = [f"### {name}", "", "| runtime | ms | ratio to the fastest |", "|---|---|---|"]
    for label, t in times.items():
        ms = statistics.median(t)
        lines.append(f"| {label} | {ms:.2f} | {ms / best:.2f} |")
    ratio = statistics.median(times["Crayon float32"]) / statistics.median(times["ONNX Runtime float32"])
    lines += ["", f"Crayon's float time is {ratio:.2f} of ONNX Runtime's."]
    return lines, ratio


def commit():
    try:
        return subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True,
                              text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "--peer":
        return run_peer(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    parser = argparse.ArgumentParser()
    parser.add_argument("crayon")
    parser.add_argument("data")
    parser.add_argument("work")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    info = run_crayon(args.crayon, os.path.join(args.data, "models", MODELS[0] + ".onnx"), args.threads, 5)
    lines = [f"# Speed, {datetime.date.today()}", "",
             f"{info['cpu']} ({info['level']}), {args.threads} threads, commit {commit()}. Milliseconds of one "
             f"run, batch 1: median of {args.rounds} rounds, each the median of {args.runs} runs in a process "
             "of its own; all contestants take turns within a round. `bench/run.sh` prints this.", ""]
    ratios = []
    for name in MODELS:
        part, ratio = table(args, name)
        lines += part + [""]
        ratios.append(ratio)
    text = "\n".join(lines)
    print(text)
    if args.save:
        cpu = "-".join(info["cpu"].split()[:3])
        path = os.path.join("bench", "results", f"{datetime.date.today()}-{cpu}-{info['level']}.md")
        with open(path, "w") as f:
            f.write(text)
        print("written:", path)
    limit = 2.0
    print(f"{'PASS' if ratios[0] <= limit else 'FAIL'} yolov8n float at most {limit} of ONNX Runtime's time")
    return 0 if ratios[0] <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
