#!/usr/bin/env python3
"""examples/decode_nhwc.c against the formulas, and behind LiteRT against Crayon's own decoding.

    decode_nhwc.py EXAMPLE                                       random codes; needs Python alone
    decode_nhwc.py EXAMPLE DECODE_BRANCHES MODEL.tflite PICTURE   a detached model with int8 outputs

With a model LiteRT runs it, the example decodes the bytes of its outputs, and every box of a score of
at least .4 has a partner among those that examples/decode_branches.c finds with Crayon's session: same
class, scores within .03, sides within 3 % of the picture (codes may differ by a step here and there).
"""
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import zipfile


def parsed(program, arguments):
    text = subprocess.run([program, *map(str, arguments)], check=True, stdout=subprocess.PIPE).stdout
    words = [line.split() for line in text.decode().splitlines()]
    return [(int(w[1]), float(w[3]), [float(v) for v in w[5:9]]) for w in words]


def softmax_mean(codes, scale):
    e = [math.exp(scale * (c - max(codes))) for c in codes]
    return sum(k * v for k, v in enumerate(e)) / sum(e)


def write(path, codes):
    with open(path, "wb") as f:
        f.write(struct.pack(f"{len(codes)}b", *codes))


def level(folder, rng, k, height, width, stride, classes, bins):
    """Arguments of one level, and what must be found there."""
    boxes = [rng.randint(-128, 127) for _ in range(height * width * 4 * bins)]
    scores = [rng.randint(-128, 127) for _ in range(height * width * classes)]
    paths = [os.path.join(folder, f"{kind}{k}.bin") for kind in ("box", "score")]
    write(paths[0], boxes), write(paths[1], scores)
    box_scale, score_scale, zero = rng.uniform(.01, .2), rng.uniform(.01, .1), rng.randint(0, 127)
    want = []
    for i, code in enumerate(scores):
        p = 1 / (1 + math.exp(-score_scale * (code - zero)))
        cell = i // classes
        if p < .25:
            continue
        x, y = cell % width + .5, cell // width + .5
        side = [softmax_mean(boxes[(cell * 4 + s) * bins:][:bins], box_scale) for s in range(4)]
        want.append((i % classes, p, [(x - side[0]) * stride, (y - side[1]) * stride,
                                      (x + side[2]) * stride, (y + side[3]) * stride]))
    return [height, width, stride, paths[0], box_scale, rng.randint(-9, 9), paths[1], score_scale, zero], want


def check_formulas(program):
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        parts = [level(folder, rng, k, *shape) for k, shape in
                 enumerate([(8, 10, 8, 5, 16), (4, 5, 16, 5, 16), (1, 3, 32, 1, 1)])]
        found = parsed(program, sum((p[0] for p in parts), []))
        want = sum((p[1] for p in parts), [])
        cut = parts[0][0][:]
        write(cut[3], [0] * 7)
        refused = [subprocess.run([program, *map(str, a)], stderr=subprocess.DEVNULL).returncode
                   for a in (cut, cut[:-1], [])]
    same = len(found) == len(want) and all(
        f[0] == w[0] and abs(f[1] - w[1]) < 6e-4 and max(abs(a - b) for a, b in zip(f[2], w[2])) < .011
        for f, w in zip(found, want))
    good = same and len(want) > 50 and refused == [1, 2, 2]
    print(f"{'PASS' if good else 'FAIL'} decode_nhwc: {len(found)} boxes, {len(want)} expected; refusals {refused}")
    return good


def check_model(program, branches, path, picture):
    try:
        import numpy as np
        from ai_edge_litert.interpreter import Interpreter
        from vision_coco import letterbox
        import cv2
    except ImportError as missing:
        print(f"SKIP decode_nhwc: no Python module {missing.name}")
        return True
    with zipfile.ZipFile(path) as z:
        facts = json.loads(z.read("metadata.json"))["crayon.branches"]
    r = Interpreter(path)
    r.allocate_tensors()
    port = r.get_input_details()[0]
    size = int(port["shape"][1])
    boxed, _ = letterbox(cv2.imread(picture), size)
    scale, zero = port["quantization"]
    x = np.rint(boxed[..., ::-1].astype(np.float32) / np.float32(255) / np.float32(scale)) + zero
    r.set_tensor(port["index"], np.clip(x, -128, 127).astype(np.int8)[None])
    r.invoke()
    outputs = {o["name"]: o for o in r.get_output_details()}
    levels = {}
    for b in facts["branches"]:
        levels.setdefault(b["stride"], {})[b["part"]] = outputs[b["output"]]
    arguments = []
    with tempfile.TemporaryDirectory() as folder:
        for stride, parts in levels.items():
            arguments += [*parts["box"]["shape"][1:3], stride]
            for part in ("box", "score"):
                o = parts[part]
                name = os.path.join(folder, f"{part}{stride}.bin")
                r.get_tensor(o["index"]).tofile(name)
                arguments += [name, *o["quantization"]]
        found = parsed(program, arguments)
    own = parsed(branches, [path, picture])
    sure = [f for f in found if f[1] >= .4]
    lost = [f for f in sure if not any(
        f[0] == o[0] and abs(f[1] - o[1]) < .03 and
        max(abs(a - b) for a, b in zip(f[2], o[2])) < .03 * size for o in own)]
    good = sure and not lost
    print(f"{'PASS' if good else 'FAIL'} {os.path.basename(path)} in LiteRT, decoded by decode_nhwc: {len(found)} "
          f"boxes, Crayon {len(own)}; {len(lost)} of {len(sure)} sure ones without a partner")
    return good


def main():
    if len(sys.argv) not in (2, 5):
        print(__doc__)
        return 2
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    good = check_formulas(sys.argv[1]) if len(sys.argv) == 2 else check_model(*sys.argv[1:])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
