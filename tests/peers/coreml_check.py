#!/usr/bin/env python3
"""Core ML packages, checked by coremltools and by an interpreter of MIL, against Crayon's own session.

    coreml_check.py BUILD [--data DIR] [--classifier MODEL.onnx]

Each line is one check; the last is "N passed, N failed, N skipped". Needs coremltools and NumPy
(requirements-coreml.txt); runs on Linux, where coremltools reads packages, checks every operation and
infers types, but computes nothing: coreml_mil.py does that.
"""
import argparse
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    from coreml_mil import Package
    from coremltools.converters.mil.mil.types import builtin_to_string
except ImportError as missing:
    print(f"SKIP coreml: no Python module {missing.name}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

# Sums of float32 in another order. Relative to max(1, |value|): measured 1.2e-5 in yolov8n, whose
# coordinates are differences of larger numbers times a stride, 2.9e-5 in yolox_nano.
FLOAT_LIMIT = 1e-4
# 8-bit activations: such a difference turns a rounding tie into another code here and there, which
# travels on. Correlation with the session's outputs: measured 0.999993 (sample).
TIE_CORRELATION = 0.9999
# float16 arithmetic (11 bits): boxes of yolov8n differ by up to 1.01 pixels of 640, 2 % of their size;
# measured correlation 0.99999991.
HALF_CORRELATION = 0.99999

passed = failed = skipped = 0


def report(what, good, detail):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    print(f"{'PASS' if good else 'FAIL'} {what}: {detail}")


def skip(what, why):
    global skipped
    skipped += 1
    print(f"SKIP {what}: {why}")


class Crayon:
    def __init__(self, build, folder):
        self.build, self.folder = build, folder

    def __call__(self, *args):
        r = subprocess.run([f"{self.build}/crayon", *args], capture_output=True, text=True)
        if r.returncode:
            raise RuntimeError(f"crayon {' '.join(args)}: {r.stderr.strip()}")
        return r.stdout

    def package(self, verb, model, *options):
        out = f"{self.folder}/m.mlpackage"
        self(verb, model, "-o", out, *options)
        return Package(out)

    def session(self, model, x, *options):
        x.astype(np.float32).tofile(f"{self.folder}/in.bin")
        tool = f"{self.build}/tests/peers-run_model"
        subprocess.run([tool, model, self.folder, *options, f"{self.folder}/in.bin"], check=True)
        outs = []
        while os.path.exists(f := f"{self.folder}/out{len(outs)}.bin"):
            outs.append(np.fromfile(f, np.float32))
            os.remove(f)
        return outs


def distance(made, wanted):
    """Largest difference relative to max(1, |wanted|), and correlation, over all outputs."""
    a = np.concatenate([np.ravel(v).astype(np.float64) for v in made])
    b = np.concatenate([np.ravel(v).astype(np.float64) for v in wanted])
    return (np.abs(a - b) / np.maximum(1, np.abs(b))).max(), np.corrcoef(a, b)[0, 1]


def outputs(package, x):
    made = package.run(x)
    return [made[v.name] for v in package.block.outputs]


def noise(model, height, width):
    """Pixels 0..255 and what a network gets of them."""
    pixels = np.random.default_rng(7).integers(0, 256, (1, 3, height, width)).astype(np.float32)
    name = os.path.basename(model)
    if "yolox" in name:
        return pixels, pixels
    if "nanodet" in name:
        mean = np.array([103.53, 116.28, 123.675], np.float32).reshape(1, 3, 1, 1)
        div = np.array([57.375, 57.12, 58.395], np.float32).reshape(1, 3, 1, 1)
        return pixels, (pixels - mean) / div
    return pixels, pixels / np.float32(255)


def ports(package):
    return package.spec.description.input[0].type


def check_float(crayon, model, side):
    pixels, x = noise(model, side, side)
    name = os.path.basename(model)
    wanted = crayon.session(model, x)
    p = crayon.package("convert", model, "--input", "array")
    worst, _ = distance(outputs(p, x), wanted)
    report(f"float {name}", worst <= FLOAT_LIMIT and p.model.specificationVersion == 6,
           f"specification {p.model.specificationVersion}, largest difference {worst:.1e}")
    p = crayon.package("convert", model)
    kind = ports(p).WhichOneof("Type")
    worst, _ = distance(outputs(p, pixels), wanted)
    order = ports(p).imageType.colorSpace
    right = order == (30 if "nano" in name else 20)  # 20 RGB, 30 BGR
    report(f"picture {name}", kind == "imageType" and right and worst <= FLOAT_LIMIT,
           f"{kind}, colour space {order}, largest difference {worst:.1e}")


def size_of(folder):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(folder) for f in files)


def check_size(crayon, model, most, *options):
    crayon.package("convert", model)
    float32 = size_of(f"{crayon.folder}/m.mlpackage")
    crayon.package("quantize", model, *options)
    share = 100 * size_of(f"{crayon.folder}/m.mlpackage") / float32
    report(f"size {os.path.basename(model)} {' '.join(options)}", share <= most, f"{share:.1f} %, at most {most} %")


WEIGHTS = [(["--mode", "fp16"], 7), (["--mode", "weights"], 7),
           (["--mode", "weights", "--weights", "uint8", "--granularity", "tensor"], 7),
           (["--mode", "weights", "--weights", "int4"], 9), (["--mode", "weights", "--weights", "uint4"], 9),
           (["--mode", "weights", "--weights", "int4", "--block", "32"], 9),
           (["--mode", "weights", "--weights", "int2"], 9), (["--mode", "weights", "--weights", "int1"], 9),
           (["--mode", "weights", "--weights", "palette4"], 9), (["--mode", "weights", "--weights", "palette6"], 9),
           (["--mode", "weights", "--weights", "palette4", "--granularity", "tensor"], 7),
           (["--mode", "weights", "--weights", "palette8"], 7)]


def check_weights(crayon, model, side):
    """Weights come back as the session has them: outputs equal but for the order of sums."""
    _, x = noise(model, side, side)
    onnx = f"{crayon.folder}/m.onnx"
    for options, version in WEIGHTS:
        crayon("quantize", model, "-o", onnx, *options)
        p = crayon.package("quantize", model, *options, "--input", "array", "--arithmetic", "float32")
        worst, _ = distance(outputs(p, x), crayon.session(onnx, x))
        report(f"weights {os.path.basename(model)} {' '.join(options)}",
               worst <= FLOAT_LIMIT and p.model.specificationVersion == version,
               f"specification {p.model.specificationVersion}, largest difference {worst:.1e}")


def check_half(crayon, model, side):
    _, x = noise(model, side, side)
    onnx = f"{crayon.folder}/m.onnx"
    for options in (["--mode", "fp16-graph"], ["--mode", "weights"]):
        crayon("quantize", model, "-o", onnx, *options)
        p = crayon.package("quantize", model, *options, "--input", "array")
        worst, same = distance(outputs(p, x), crayon.session(onnx, x))
        halves = sum(builtin_to_string(op.outputs[0].dtype) == "fp16" for op in p.operations() if op.op_type == "conv")
        report(f"float16 {os.path.basename(model)} {' '.join(options)}", same >= HALF_CORRELATION and halves > 30,
               f"{halves} convolutions, correlation {same:.8f}, largest difference {worst:.1e}")


def check_static(crayon, model, pictures, side):
    _, x = noise(model, side, side)
    onnx, recipe = f"{crayon.folder}/m.onnx", f"{crayon.folder}/r.json"
    crayon("quantize", model, "-o", onnx, "--images", pictures, "--rounding", "nearest", "--save-recipe", recipe)
    p = crayon.package("convert", model, "--recipe", recipe, "--input", "array", "--arithmetic", "float32")
    count = sum(op.op_type == "quantize" for op in p.operations())
    worst, same = distance(outputs(p, x), crayon.session(onnx, x))
    report(f"activations {os.path.basename(model)}",
           same >= TIE_CORRELATION and p.model.specificationVersion == 8 and count > 20,
           f"{count} quantized tensors, correlation {same:.8f}, largest difference {worst:.1e}")


def check_suppression(crayon, model, side):
    pixels, x = noise(model, side, side)
    out = crayon.session(model, x)[0]
    p = crayon.package("convert", model, "--nms", "--nms-conf", "0.3", "--nms-iou", "0.6")
    scores, boxes = outputs(p, pixels)
    if "yolox" in model:
        out = out.reshape(-1, 85)
        cells = [(c, r, s) for s in (8, 16, 32) for r in range(side // s) for c in range(side // s)]
        grid = np.array(cells, np.float32)
        want_boxes = np.concatenate([(out[:, :2] + grid[:, :2]) * grid[:, 2:], np.exp(out[:, 2:4]) * grid[:, 2:]], 1)
        want = out[:, 5:] * out[:, 4:5]
    else:
        out = out.reshape(-1, scores.shape[0]).T
        want_boxes, want = out[:, :4], out[:, 4:]
    worst = max(distance([scores], [want])[0], distance([boxes * side], [want_boxes])[0])
    nms = p.spec.pipeline.models[1].nonMaximumSuppression
    names = [f.name for f in p.spec.description.output]
    good = (names == ["confidence", "coordinates"] and nms.confidenceThreshold == 0.3 and nms.iouThreshold == 0.6
            and nms.pickTop.perClass and len(nms.stringClassLabels.vector) == scores.shape[1]
            and nms.confidenceInputFeatureName == p.block.outputs[0].name
            and nms.coordinatesInputFeatureName == p.block.outputs[1].name)
    report(f"suppression {os.path.basename(model)}", good and worst <= FLOAT_LIMIT,
           f"{len(nms.stringClassLabels.vector)} labels, largest difference {worst:.1e}")


def check_classifier(crayon, model, side):
    pixels, x = noise(model, side, side)
    p = crayon.package("convert", model)
    wanted = crayon.session(model, x)[0]
    made = p.run(pixels)
    d = p.spec.description
    names = list(made[d.predictedProbabilitiesName])
    worst, _ = distance([np.array([made[d.predictedProbabilitiesName][n] for n in names])], [wanted])
    report("classifier", made[d.predictedFeatureName] == names[int(wanted.argmax())] and worst <= FLOAT_LIMIT,
           f"{len(names)} labels, largest difference {worst:.1e}")


def check_random(crayon, count):
    tool = f"{crayon.build}/tests/peers-coreml_nets"
    lines = subprocess.run([tool, crayon.folder, str(count)], check=True, capture_output=True, text=True).stdout
    worst, worst_seed, nets = 0.0, None, 0
    for line in lines.splitlines():
        seed, outs = line.split()
        base = f"{crayon.folder}/net-{seed}"
        p = Package(f"{base}.mlpackage")
        x = np.fromfile(f"{base}.in.bin", np.float32).reshape(p.block.inputs[next(iter(p.block.inputs))].shape)
        wanted = [np.fromfile(f"{base}.out{k}.bin", np.float32) for k in range(int(outs))]
        d, _ = distance(outputs(p, x), wanted)
        nets += 1
        if not d <= worst:
            worst, worst_seed = d, seed
    report("random networks", nets >= count // 4 and worst <= 1e-3,
           f"{nets} of {count}, largest difference {worst:.1e} (seed {worst_seed})")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--data", default="../shared/data")
    p.add_argument("--classifier")
    a = p.parse_args()
    sample = "sample/shapes.onnx"
    models = [(f"{a.data}/models/{n}.onnx", s) for n, s in (("yolov8n", 640), ("yolox_nano", 416), ("nanodet_m_320", 320))]
    present = [m for m in models if os.path.exists(m[0])]
    with tempfile.TemporaryDirectory() as folder:
        crayon = Crayon(os.path.abspath(a.build), folder)
        crayon("synth", f"{folder}/scenes", "-n", "12", "--seed", "5")
        for model, side in [(sample, 256), *present]:
            check_float(crayon, model, side)
        check_weights(crayon, sample, 256)
        check_half(crayon, sample, 256)
        check_static(crayon, sample, f"{folder}/scenes", 256)
        check_suppression(crayon, sample, 256)
        check_random(crayon, 200)
        if a.classifier:
            check_classifier(crayon, a.classifier, 32)
        else:
            skip("classifier", "no --classifier")
        if len(present) < len(models):
            skip("real models", f"not all of them are in {a.data}")
            print(f"{passed} passed, {failed} failed, {skipped} skipped")
            return failed > 0
        check_suppression(crayon, models[1][0], 416)
        check_half(crayon, models[0][0], 640)
        check_size(crayon, models[0][0], 51, "--mode", "fp16")
        check_size(crayon, models[0][0], 51, "--mode", "fp16-graph")
        check_size(crayon, models[0][0], 27, "--mode", "weights")
        check_size(crayon, models[0][0], 15, "--mode", "weights", "--weights", "palette4")
        # 18.1 %: of int4 weights 30 % stay in 8 bits, the layers that lose most (--small-layers)
        check_size(crayon, models[0][0], 19, "--mode", "weights", "--weights", "int4")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
