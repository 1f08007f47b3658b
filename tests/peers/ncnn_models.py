#!/usr/bin/env python3
"""ncnn models as Crayon writes them, judged by ncnn.

    ncnn_models.py CRAYON [--small]
    ncnn_models.py CRAYON [--coco yolov8n|yolox_nano FILE.param [--limit N] [--agreement A]]

Single layers (each operator in the forms that a model may have), then every model of the data folder and
the sample, are written as .param and .bin. Demanded of ncnn in float32: the outputs of ONNX Runtime within
1e-4 of the largest value of each (3.2e-5 was seen, on NanoDet: Winograd convolutions); of float16 weights:
a .bin of at most 51 %, of palettes of 8 bits 27 % where the model has 10 MB (a table takes 1 KB per layer). What ncnn has no layer for is refused in one line that
names the node. --small: layers and the sample. With --coco: FILE in ncnn over coco-dev, mAP and agreement with the float model.
"""
import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import ncnn
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    print(f"SKIP ncnn_models: no Python module {missing.name}")
    sys.exit(0)

DATA = os.environ.get("CRAYON_DATA", os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                                   "..", "..", "..", "shared", "data"))
SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "sample", "shapes.onnx")
MODEL_FILES = ["yolov8n", "yolov8n-pose", "yolox_nano", "nanodet_m_320"]
MAX_OFF, MAX_HALF, MAX_PALETTE, MAX_PALETTE_SMALL = 1e-4, 0.51, 0.27, 0.33
rng = np.random.default_rng(1)
bad = 0


def verdict(good, text):
    global bad
    bad += not good
    print(("PASS " if good else "FAIL ") + text, flush=True)


def bin_of(param):
    return param[:-len(".param")] + ".bin"


class Net:
    def __init__(self, param):
        self.net = ncnn.Net()
        o = self.net.opt
        o.num_threads = 2
        o.use_fp16_storage = o.use_fp16_packed = o.use_fp16_arithmetic = o.use_bf16_storage = False
        if self.net.load_param(param) or self.net.load_model(bin_of(param)):
            raise ValueError("ncnn does not load it")

    def run(self, feeds, outputs):
        extractor = self.net.create_extractor()
        for name, x in feeds.items():
            x = x[0] if x.ndim > 1 and x.shape[0] == 1 else x
            extractor.input(name, ncnn.Mat(np.ascontiguousarray(x)).clone())
        found = []
        for name in outputs:
            status, mat = extractor.extract(name)
            if status:
                raise ValueError(f"ncnn gives no {name}: {status}")
            found.append(np.array(mat))
        return found


def off(want, got):
    """Largest difference of any output, as a share of its largest value."""
    worst = 0
    for a, b in zip(want, got):
        if a.size != b.size or [d for d in a.shape if d > 1] != [d for d in b.shape if d > 1]:
            return float("inf")
        difference = np.abs(a.reshape(b.shape).astype(np.float64) - b).max()
        if not np.isfinite(difference):
            return float("inf")
        worst = max(worst, difference / max(np.abs(a).max(), 1e-9))
    return worst


def compare(model, param, scale=1.0):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {i.name: (rng.random([d if isinstance(d, int) else 1 for d in i.shape], dtype=np.float32) * 2 - 1) *
             scale for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    return off(session.run(names, feeds), Net(param).run(feeds, names))


# ---- single layers ----

def net(nodes, shape, constants=None, outputs=("y",), more=None):
    """A model from node tuples (operator, inputs, output or outputs, attributes)."""
    made = [helper.make_node(op, list(i), [o] if isinstance(o, str) else list(o), name=f"n{k}", **a)
            for k, (op, i, o, a) in enumerate(nodes)]
    inputs = {"x": shape, **(more or {})}
    graph = helper.make_graph(
        made, "g", [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in inputs.items()],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def one(op, shape, *constants, **attributes):
    names = [f"c{k}" if c is not None else "" for k, c in enumerate(constants)]
    return net([(op, ["x", *names], "y", attributes)], shape,
               {f"c{k}": c for k, c in enumerate(constants) if c is not None})


def w(*shape):
    return (rng.standard_normal(shape) * 0.5).astype(np.float32)


def positive(*shape):
    return (rng.random(shape) + 0.5).astype(np.float32)


def i64(*v):
    return np.array(v, np.int64)


P = [1, 8, 13, 10]  # a picture
CASES = {
    "conv 3x3": one("Conv", P, w(6, 8, 3, 3), w(6), pads=[1, 1, 1, 1]),
    "conv 5x2, no bias, uneven": one("Conv", P, w(6, 8, 5, 2), pads=[2, 0, 1, 1], strides=[2, 1]),
    "conv dilated": one("Conv", P, w(4, 8, 3, 3), w(4), dilations=[2, 3], pads=[2, 3, 2, 3]),
    "conv depthwise": one("Conv", P, w(8, 1, 3, 3), w(8), group=8, pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv in groups": one("Conv", P, w(6, 4, 3, 3), w(6), group=2),
    "conv same upper": one("Conv", P, w(6, 8, 4, 4), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv same lower": one("Conv", P, w(6, 8, 4, 4), auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv transpose": one("ConvTranspose", P, w(8, 5, 4, 4), w(5), strides=[2, 2], pads=[1, 1, 1, 1]),
    "conv transpose, adjusted": one("ConvTranspose", P, w(8, 5, 3, 3), strides=[2, 3], pads=[1, 0, 0, 1],
                                    output_padding=[1, 2]),
    "conv transpose, shape": one("ConvTranspose", P, w(8, 5, 3, 3), strides=[2, 2], output_shape=[25, 20]),
    "conv transpose, groups": one("ConvTranspose", P, w(8, 3, 2, 2), w(6), strides=[2, 2], group=2),
    "conv transpose, depthwise": one("ConvTranspose", P, w(8, 1, 3, 3), w(8), group=8),
    "gemm": one("Gemm", [1, 12], w(12, 7), w(7)),
    "gemm turned": one("Gemm", [1, 12], w(7, 12), w(7), transB=1),
    "gemm of rows": one("Gemm", [5, 12], w(7, 12), w(7), transB=1),
    "matmul by a constant": one("MatMul", [1, 9, 12], w(12, 7)),
    "matmul of heads": net([("MatMul", ["x", "b"], "y", {})], [1, 4, 9, 12], more={"b": [1, 4, 12, 5]}),
    "max pool": one("MaxPool", P, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    "max pool, up": one("MaxPool", P, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average pool": one("AveragePool", P, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 1]),
    "average pool, with padding": one("AveragePool", P, kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                                      count_include_pad=1),
    "global average": one("GlobalAveragePool", P),
    "global max": one("GlobalMaxPool", P),
    "batch norm": net([("Relu", "x", "r", {}), ("BatchNormalization", ["r", "a", "b", "m", "v"], "y",
                                               {"epsilon": 1e-3})], P,
                      {"a": w(8), "b": w(8), "m": w(8), "v": positive(8)}),
    "instance norm": one("InstanceNormalization", P, w(8), w(8)),
    "group norm": net([("GroupNormalization", ["x", "a", "b"], "y", {"num_groups": 2})], P,
                      {"a": np.repeat(w(2), 1), "b": np.repeat(w(2), 1)}),
    "layer norm": one("LayerNormalization", [1, 9, 12], w(12), w(12)),
    "layer norm, no bias": one("LayerNormalization", [1, 3, 9, 12], w(12), epsilon=1e-4),
    "softmax of rows": one("Softmax", [1, 9, 12], axis=-1),
    "softmax of channels": one("Softmax", P, axis=1),
    "softmax of columns": one("Softmax", P, axis=2),
    "resize, nearest": one("Resize", P, None, np.array([1, 1, 2, 3], np.float32), mode="nearest",
                           coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    "resize, half pixel": one("Resize", P, None, np.array([1, 1, 2, 2], np.float32), mode="nearest"),
    "resize, linear": one("Resize", P, None, None, i64(1, 8, 20, 7), mode="linear"),
    "resize, corners": one("Resize", P, None, None, i64(1, 8, 25, 19), mode="linear",
                           coordinate_transformation_mode="align_corners"),
    "reshape, transpose": net([("Reshape", ["x", "s"], "a", {}), ("Transpose", ["a"], "b", {"perm": [0, 2, 1, 3, 4]}),
                               ("Reshape", ["b", "t"], "y", {})], P,
                              {"s": i64(1, 2, 4, 13, 10), "t": i64(1, 8, 13, 10)}),
    "transpose out of the batch": one("Transpose", [1, 6, 7], perm=[1, 2, 0]),
    "transpose without a batch": one("Transpose", [5, 6, 7], perm=[2, 0, 1]),
    "squeeze, unsqueeze": net([("Squeeze", ["x", "a"], "s", {}), ("Unsqueeze", ["s", "a"], "u", {}),
                               ("Relu", ["u"], "y", {})], P, {"a": i64(0)}),
    "flatten": net([("Flatten", ["x"], "f", {}), ("Neg", ["f"], "y", {})], P),
    "concat": net([("Relu", ["x"], "r", {}), ("Concat", ["x", "r", "c"], "y", {"axis": 2})], P,
                  {"c": w(1, 8, 2, 10)}),
    "split, twice read": net([("Split", ["x", "s"], ["a", "b", "c"], {"axis": 1}), ("Add", ["a", "b"], "d", {}),
                              ("Concat", ["d", "c", "a"], "y", {"axis": 1})], P, {"s": i64(3, 3, 2)}),
    "split of rows": net([("Split", ["x", "s"], ["y", "z"], {"axis": 0})], [5, 7], {"s": i64(3, 2)}, ("y", "z")),
    "split to rows": net([("Split", ["x", "s"], ["y", "z"], {"axis": 0})], [3, 7], {"s": i64(1, 2)}, ("y", "z")),
    "slice": one("Slice", P, i64(1, -8), i64(7, 2**31), i64(1, -1)),
    "slice with steps": one("Slice", P, i64(1, 0), i64(13, 10), i64(2, 3), i64(2, 3)),
    "slice, all of it": net([("Slice", ["x", "a", "b", "c"], "s", {}), ("Abs", ["s"], "y", {})], P,
                            {"a": i64(0), "b": i64(99), "c": i64(1)}),
    "pad": one("Pad", P, i64(0, 1, 2, 3, 0, 2, 0, 1), np.float32(1.5)),
    "pad, reflect": one("Pad", P, i64(0, 0, 2, 3, 0, 0, 1, 1), mode="reflect"),
    "pad, edge": one("Pad", [1, 6, 9], i64(0, 1, 2, 0, 0, 3), mode="edge"),
    "tile": one("Tile", P, i64(1, 2, 1, 3)),
    "expand": one("Expand", [1, 8, 1, 1], i64(1, 8, 5, 4)),
    "depth to space": one("DepthToSpace", P, blocksize=2),
    "depth to space, CRD": one("DepthToSpace", P, blocksize=2, mode="CRD"),
    "space to depth": one("SpaceToDepth", [1, 3, 6, 8], blocksize=2),
    "swish with a factor": net([("Mul", ["x", "a"], "m", {}), ("Sigmoid", ["m"], "s", {}),
                                ("Mul", ["x", "s"], "y", {})], P, {"a": np.float32(1.702)}),
    "clip from below": one("Clip", P, np.float32(-.25)),
    "clip": one("Clip", P, np.float32(-.25), np.float32(.5)),
    "prelu": one("PRelu", P, w(8, 1, 1)),
    "prelu, one slope": one("PRelu", P, w(1)),
    "hard sigmoid": one("HardSigmoid", P, alpha=.3, beta=.4),
    "elu": one("Elu", P, alpha=.7),
    "celu": one("Celu", P, alpha=.7),
    "leaky relu": one("LeakyRelu", P, alpha=.2),
    "gelu": one("Gelu", P),
    "gelu, tanh": one("Gelu", P, approximate="tanh"),
    "add per channel": one("Add", P, w(8, 1, 1)),
    "add per column": one("Add", P, w(10)),
    "sub of rows": one("Sub", [1, 9, 12], w(1, 9, 1)),
    "number - x": net([("Sub", ["c", "x"], "y", {})], P, {"c": np.float32(.7)}),
    "number / x": net([("Exp", ["x"], "e", {}), ("Div", ["c", "e"], "y", {})], P, {"c": np.float32(.7)}),
    "x ** 2": one("Pow", P, np.float32(2)),
    "max, min": net([("Max", ["x", "a"], "m", {}), ("Min", ["m", "b"], "y", {})], P,
                    {"a": np.float32(-.2), "b": w(8, 1, 1)}),
    "a vector to a picture": net([("GlobalAveragePool", ["x"], "g", {}), ("Sigmoid", ["g"], "s", {}),
                                  ("Mul", ["x", "s"], "y", {})], P),
    "of fewer axes": net([("Add", ["x", "b"], "y", {})], P, more={"b": [13, 10]}),
    "two outputs, one of them read": net([("Relu", ["x"], "y", {}), ("Neg", ["y"], "z", {})], P, outputs=("y", "z")),
    "identity at the end": net([("Relu", ["x"], "r", {}), ("Identity", ["r"], "y", {}), ("Neg", ["r"], "z", {})],
                               P, outputs=("y", "z")),
}
for op in ("Relu Sigmoid Tanh Mish Softplus Erf Abs Neg Floor Ceil Exp Sin Cos Tan Asin Acos Atan Selu HardSwish "
           "Round").split():
    CASES[op] = one(op, P)
for op in ("Sqrt", "Log", "Reciprocal"):
    CASES[op] = net([("Exp", ["x"], "e", {}), (op, ["e"], "y", {})], P)
for op in "Sum Mean Max Min Prod L1 L2 LogSumExp SumSquare".split():
    CASES[f"reduce {op}"] = one(f"Reduce{op}", P, i64(1, 3), keepdims=op != "Max")
CASES["reduce to nothing"] = one("ReduceMean", [1, 9], i64(1), keepdims=0)
for op, attributes in (("Relu", {}), ("LeakyRelu", {"alpha": .1}), ("Sigmoid", {}), ("Mish", {}), ("HardSwish", {})):
    CASES[f"conv and {op}"] = net([("Conv", ["x", "w"], "c", {}), (op, ["c"], "y", attributes)], P,
                                  {"w": w(6, 8, 3, 3)})
CASES["conv and Clip"] = net([("Conv", ["x", "w"], "c", {}), ("Clip", ["c", "a", "b"], "y", {})], P,
                             {"w": w(6, 8, 3, 3), "a": np.float32(0), "b": np.float32(6)})

REFUSED = {
    "TopK": net([("TopK", ["x", "k"], ["y", "i"], {})], [1, 9], {"k": i64(3)}),
    "a power": one("Pow", P, np.float32(3)),
    "a batch": one("Conv", [2, 8, 9, 9], w(4, 8, 3, 3)),
    "Slice": one("Slice", P, i64(7), i64(0), i64(1), i64(-2)),
    "of five axes": one("Relu", [2, 2, 2, 2, 2]),
    "Resize": one("Resize", P, None, None, i64(1, 8, 20, 7), mode="cubic"),
}


def write(crayon, model, param):
    return subprocess.run([crayon, "convert", model, "-o", param], capture_output=True, text=True)


def check_layers(crayon, folder):
    path, param = os.path.join(folder, "m.onnx"), os.path.join(folder, "m.param")
    worst, failed = (0, ""), []
    for name, model in CASES.items():
        onnx.save(model, path)
        made = write(crayon, path, param)
        if made.returncode:
            failed.append(f"{name}: {made.stderr.strip()}")
            continue
        try:
            worst = max(worst, (here := compare(path, param), name))
        except ValueError as e:
            here = float("inf")
            failed.append(f"{name}: {e}")
        if MAX_OFF < here < float("inf"):
            failed.append(f"{name}: {here:.2g} of the largest value away")
        elif here == float("inf"):
            failed.append(f"{name}: other shapes, or no numbers")
    for text in failed:
        print("     " + text)
    verdict(not failed, f"{len(CASES)} forms of layers in ncnn, {worst[0]:.2g} away at most ({worst[1]})")
    for name, model in REFUSED.items():
        onnx.save(model, path)
        os.path.exists(param) and os.remove(param)
        made = write(crayon, path, param)
        good = made.returncode == 1 and made.stderr.count("\n") == 1 and not os.path.exists(param)
        verdict(good, f"refused: {made.stderr.strip().split('/')[-1]}")


def check_model(crayon, model, folder):
    name = os.path.basename(model)
    param, half = os.path.join(folder, "f.param"), os.path.join(folder, "h.param")
    made = write(crayon, model, param)
    if made.returncode:
        verdict(False, f"{name}: {made.stderr.strip()}")
        return
    scale = 255 if "yolox" in name or "nanodet" in name else 1
    here = compare(model, param, scale)
    verdict(here <= MAX_OFF, f"{name} in ncnn: {here:.2g} of the largest value away")
    palette = MAX_PALETTE if os.path.getsize(model) > 1e7 else MAX_PALETTE_SMALL
    for limit, options in ((MAX_HALF, ["--mode", "fp16"]), (palette, ["--mode", "weights", "--weights", "palette8"])):
        onnx_too = half.replace(".param", ".onnx")
        for out in (half, onnx_too):
            subprocess.run([crayon, "quantize", model, "-o", out, *options], check=True, capture_output=True)
        share = os.path.getsize(bin_of(half)) / os.path.getsize(bin_of(param))
        here = compare(onnx_too, half, scale)
        verdict(share <= limit and here <= MAX_OFF, f"{name}, {options[-1]}: {share:.1%} of the .bin, {here:.2g} away "
                "from ONNX Runtime with the same weights")


# ---- over pictures ----

def ncnn_runner(path):
    model = Net(path)
    return lambda x: model.run({model.net.input_names()[0]: x}, [model.net.output_names()[0]])[0][None]


def check_coco(name, path, limit, least):
    from quantized_coco import agreement, ort_runner
    from tflite_coco import detections
    from vision_coco import coco_map
    from pycocotools.coco import COCO
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(os.path.join(DATA, "coco-dev", "instances.json"))
    pictures = gt.loadImgs(sorted(gt.getImgIds()))[:limit or None]
    source = os.path.join(DATA, "models", name + ".onnx")
    before = detections(ort_runner(source), name, pictures)
    after = detections(ncnn_runner(path), name, pictures)
    same = agreement(before, after)
    share = (os.path.getsize(path) + os.path.getsize(bin_of(path))) / os.path.getsize(source)
    verdict(same >= least, f"{os.path.basename(path)} in ncnn: mAP {coco_map(gt, after):.4f} (float "
            f"{coco_map(gt, before):.4f}), agreement {same:.4f}, {share:.1%} of the float file")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("crayon")
    p.add_argument("--small", action="store_true")
    p.add_argument("--coco", nargs=2)
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--agreement", type=float, default=0)
    a = p.parse_args()
    if a.coco:
        check_coco(*a.coco, a.limit, a.agreement)
        return bad > 0
    with tempfile.TemporaryDirectory() as folder:
        check_layers(a.crayon, folder)
        names = [] if a.small else MODEL_FILES
        for model in [SAMPLE, *(os.path.join(DATA, "models", m + ".onnx") for m in names)]:
            if os.path.exists(model):
                check_model(a.crayon, model, folder)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
