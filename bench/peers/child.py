#!/usr/bin/env python3
"""One contestant, alone in its process: loads a model, runs it, prints a last line of JSON.

    child.py KIND PATH --model NAME --input X.npy --reference Y.npy [--threads N] [--batch N] [--runs N]

KIND: ort, openvino-f32, openvino-bf16, openvino (its own choice), litert, ncnn, ncnn-bf16, mnn, mnn-low.
  first_ms   from the call that opens the model file until the first output is in the program's hands
  median_ms  of `runs` runs after the warm-up, or as many as fit in four seconds, from input in memory to outputs in memory
  memory_mb  the most memory of the process less what it had before the runtime was imported (NumPy and
             the input were there already)
  cosine     of the class scores with ONNX Runtime's float output for the same picture
A contestant that cannot do what is asked prints {"why": reason}.
"""
import argparse
import json
import os
import statistics
import time

import numpy as np

from models import MODELS, cosine


class Unable(Exception):
    pass


def peak_mb():
    """This process's own; ru_maxrss would start at the parent's."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024


# Each gives a function that loads the model and returns a function that runs it once. Where a runtime
# can read the caller's tensor or lend its own output, it may: copies that it makes count.

def use_ort(args, x):
    import onnxruntime as ort

    def load():
        options = ort.SessionOptions()
        options.intra_op_num_threads = args.threads
        options.log_severity_level = 3
        session = ort.InferenceSession(args.path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda x=x: session.run(None, {name: x})[0]
    return load


def use_openvino(args, x):
    import openvino as ov
    hint = {"INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY"}
    if args.kind != "openvino":
        hint["INFERENCE_PRECISION_HINT"] = args.kind.split("-")[1]

    def load():
        core = ov.Core()
        if args.kind == "openvino-bf16" and "BF16" not in core.get_property(
                "CPU", "OPTIMIZATION_CAPABILITIES"):
            raise Unable("this CPU has no bf16 instructions")
        if args.batch > 1 and args.path.endswith(".xml"):
            model = core.read_model(args.path)
            model.reshape(list(x.shape))
            model = core.compile_model(model, "CPU", hint)
        else:
            model = core.compile_model(args.path, "CPU", hint)
        request = model.create_infer_request()
        return lambda x=x: request.infer({0: x}, share_inputs=True, share_outputs=True)[0]
    return load


def use_litert(args, x):
    from ai_edge_litert.interpreter import Interpreter
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def load():
        interpreter = Interpreter(args.path, num_threads=args.threads)
        port = interpreter.get_input_details()[0]
        if args.batch > 1:
            interpreter.resize_tensor_input(port["index"], nhwc.shape)
        interpreter.allocate_tensors()
        port, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        given = nhwc
        if port["dtype"] != np.float32:
            scale, zero = port["quantization"]
            given = np.clip(np.rint(nhwc / np.float32(scale)) + zero, -128, 127).astype(np.int8)

        def run():
            interpreter.set_tensor(port["index"], given)
            interpreter.invoke()
            return interpreter.get_tensor(out["index"])

        def float_output(y):
            if y.dtype == np.float32:
                return y
            scale, zero = out["quantization"]
            return (y.astype(np.float32) - zero) * np.float32(scale)
        run.float_output = float_output
        return run
    return load


def use_ncnn(args, x):
    import ncnn
    if args.batch > 1:
        raise Unable("ncnn's pictures have no batch dimension")
    given = np.ascontiguousarray(x[0])

    def load():
        net = ncnn.Net()
        net.opt.num_threads = args.threads
        net.opt.use_bf16_storage = args.kind == "ncnn-bf16"
        net.load_param(args.path)
        net.load_model(args.path.replace(".param", ".bin"))
        name_in, name_out = net.input_names()[0], net.output_names()[0]

        def run():
            extractor = net.create_extractor()
            extractor.input(name_in, ncnn.Mat(given))
            return np.array(extractor.extract(name_out)[1])[None]
        return run
    return load


def use_mnn(args, x):
    import MNN

    def load():
        settings = {"backend": 0, "numThread": args.threads,
                    "precision": "low" if args.kind == "mnn-low" else "high"}
        manager = MNN.nn.create_runtime_manager((settings,))
        net = MNN.nn.load_module_from_file(args.path, [], [], runtime_manager=manager)
        given = MNN.expr.const(x, list(x.shape), MNN.expr.NCHW)
        return lambda: net.forward([given])[0].read()
    return load


RUNTIMES = {"ort": use_ort, "openvino": use_openvino, "litert": use_litert, "ncnn": use_ncnn,
            "mnn": use_mnn}
WARMUP, WARMUP_S = 5, 1.0
LEAST_RUNS, MEASURE_S = 5, 4.0  # a slow contestant does not use up the others' time
FLOAT32 = 1 - 1e-8  # cosine; bf16 runs stay below 1 - 1e-6 on both models, float32 ones above 1 - 1e-9


def scores_of(output, model):
    axis, first = MODELS[model]["scores"]
    return np.take(output, range(first, output.shape[axis]), axis)


def measure(args):
    x = np.load(args.input)
    if args.batch > 1:
        x = np.ascontiguousarray(np.repeat(x, args.batch, 0))
    before = peak_mb()
    load = RUNTIMES[args.kind.split("-")[0]](args, x)
    begin = time.perf_counter()
    run = load()
    output = run()
    first_ms = (time.perf_counter() - begin) * 1e3
    output = getattr(run, "float_output", lambda y: y)(output).copy()
    if len(output) != args.batch:
        raise Unable(f"for {args.batch} pictures its output is {output.shape}")
    begin = time.perf_counter()
    for _ in range(WARMUP):
        run()
        if time.perf_counter() - begin > WARMUP_S:
            break
    times = []
    while len(times) < args.runs and (len(times) < LEAST_RUNS or sum(times) < MEASURE_S * 1e3):
        begin = time.perf_counter()
        run()
        times.append((time.perf_counter() - begin) * 1e3)
    memory = peak_mb() - before
    same = cosine(scores_of(output[-1:], args.model), scores_of(np.load(args.reference), args.model))
    if args.kind == "mnn-low" and same > FLOAT32:
        raise Unable("precision low computes in float32 here: MNN's package has no bf16 for x86")
    return {"first_ms": first_ms, "memory_mb": memory, "cosine": same,
            "median_ms": statistics.median(times), "min_ms": min(times)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("path")
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=30)
    args = parser.parse_args()
    try:
        found = measure(args)
    except ImportError as e:
        found = {"why": f"not installed: {e}".splitlines()[0]}
    except Unable as e:
        found = {"why": str(e)}
    except Exception as e:  # whatever a foreign runtime raises becomes the row's reason
        found = {"why": " ".join(f"{type(e).__name__}: {e}".split())[:200]}
    print("\n" + json.dumps(found), flush=True)
    os._exit(0)  # some runtimes' threads do not end by themselves


if __name__ == "__main__":
    main()
