"""Files that Crayon writes, judged by others: real models go through peers-onnx_copy at several
opsets; onnx.checker has to accept the result with full_check, and ONNX Runtime has to compute the
same from it as from the original.

    onnx_write.py PATH/TO/peers-onnx_copy DATA_FOLDER

The comparison runs without graph optimizations, so that the only differences left are the lowered
operators'. See LIMIT.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

# The largest difference seen is 0: every rewritten form runs the same kernels in ONNX Runtime.
LIMIT = 0.0
OPSETS = (13, 14, 15, 17, 18, 19, 21, 22)


def session(path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def check(tool, model, opset, expected, feeds, folder):
    path = str(folder / "copy.onnx")
    done = subprocess.run([tool, model, path, str(opset)], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip()
    onnx.checker.check_model(path, full_check=True)
    proto = onnx.load(path)
    if [(o.domain, o.version) for o in proto.opset_import] != [("", opset)]:
        return f"opset_import is {proto.opset_import}"
    metadata = onnx.load(model).metadata_props
    if proto.producer_name != "crayon" or proto.metadata_props != metadata:
        return "producer or metadata differ"
    got = session(path).run(None, feeds)
    worst = max(float(np.abs(a.astype(np.float64) - b).max()) for a, b in zip(expected, got))
    return f"differs by {worst:g}" if worst > LIMIT else ""


def main():
    tool, data = sys.argv[1], pathlib.Path(sys.argv[2])
    models = [m for d in ("models", "models/foreign") for m in sorted((data / d).glob("*.onnx"))]
    if not models:
        print("SKIP no models")
        return
    passed = failed = 0
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as temp:
        for model in map(str, models):
            s = session(model)
            feeds = {i.name: rng.random(i.shape, np.float32) for i in s.get_inputs()}
            expected = s.run(None, feeds)
            for opset in OPSETS:
                problem = check(tool, model, opset, expected, feeds, pathlib.Path(temp))
                passed += not problem
                failed += bool(problem)
                if problem:
                    print(f"FAIL {pathlib.Path(model).name} opset {opset}: {problem}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


main()
