#!/usr/bin/env python3
"""Gradients of whole models, tensor by tensor, against PyTorch's on the same graph.

    autograd_torch.py PATH/TO/peers-autograd_dump [--bench THREADS] MODEL...

MODEL is an ONNX file, or an untrained architecture (tests/peers/train_model.h).

The dump tool writes the graph that it differentiated, its input, the loss's gradient at the outputs
and the gradient of every parameter; here PyTorch runs that graph in float64. For each tensor the
difference is |ours - theirs| / |theirs| (norms). In float64 it must be below LIMIT_F64. In float32 a
value near a kink (LeakyReLU, the maximum of a pool) falls on one side or the other and takes its
whole gradient with it, so the worst tensor must not be further from float64 than TIMES the worst of
PyTorch's own float32, which is printed beside it. --bench times both alternately instead (float32, forward and
backward, medians).
"""
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import numpy as np
    import onnx
    import torch
    import torch.nn.functional as F
    from onnx import numpy_helper
except ImportError as missing:
    print(f"SKIP autograd_torch: no Python module {missing.name}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

LIMIT_F64 = 1e-6  # the files are float32: measured 5e-8
TIMES = 3  # measured: 1.0


def pads_of(a):
    p = a.get("pads", [0, 0, 0, 0])
    return (p[1], p[3], p[0], p[2])


def conv(a, x, w, b=None):
    x = F.pad(x, pads_of(a))
    return F.conv2d(x, w, b, a.get("strides", 1), 0, a.get("dilations", 1), a.get("group", 1))


def max_pool(a, x):
    x = F.pad(x, pads_of(a), value=float("-inf"))
    return F.max_pool2d(x, a["kernel_shape"], a.get("strides", [1, 1]))


def resize(a, x, roi=None, scales=None, sizes=None):
    size = sizes[2:] if sizes is not None else [int(d * s) for d, s in zip(x.shape[2:], scales[2:])]
    size = [int(s) for s in size]
    if a.get("mode", b"nearest") == b"nearest":
        return F.interpolate(x, size=size, mode="nearest")
    return F.interpolate(x, size=size, mode="bilinear",
                         align_corners=a.get("coordinate_transformation_mode") == b"align_corners")


def cut(a, x, starts, ends, axes=None, steps=None):
    axes = range(len(starts)) if axes is None else axes.tolist()
    for i, axis in enumerate(axes):
        step = int(steps[i]) if steps is not None else 1
        index = range(*slice(int(starts[i]), int(ends[i]), step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(list(index)))
    return x


def batch_norm(a, x, scale, bias, mean, variance):
    """By the statistics of the batch; running ones are not followed."""
    return F.batch_norm(x, None, None, scale, bias, True, 0, a.get("epsilon", 1e-5))


def split(a, x, sizes=None, outputs=2):
    axis = a.get("axis", 0)
    return x.split(sizes.tolist() if sizes is not None else x.shape[axis] // outputs, axis)


OPS = {
    "Conv": conv, "MaxPool": max_pool, "Resize": resize, "Slice": cut, "Split": split,
    "BatchNormalization": batch_norm,
    "Sigmoid": lambda a, x: x.sigmoid(), "Relu": lambda a, x: x.relu(),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
    "Add": lambda a, x, y: x + y, "Sub": lambda a, x, y: x - y,
    "Mul": lambda a, x, y: x * y, "Div": lambda a, x, y: x / y,
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Reshape": lambda a, x, s: x.reshape([x.shape[i] if d == 0 else int(d)
                                          for i, d in enumerate(s)]),
    "Transpose": lambda a, x: x.permute(a["perm"]),
}


class Net:
    def __init__(self, path, dtype):
        self.graph = onnx.load(path).graph
        self.dtype = dtype
        self.constants = {}
        for t in self.graph.initializer:
            v = numpy_helper.to_array(t)
            is_float = v.dtype.kind == "f"
            self.constants[t.name] = torch.tensor(v, dtype=dtype) if is_float else v
        self.nodes = [(n, {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute})
                      for n in self.graph.node]

    def run(self, x):
        values = dict(self.constants)
        values[self.graph.input[0].name] = x
        for n, attributes in self.nodes:
            extra = {"outputs": len(n.output)} if n.op_type == "Split" else {}
            y = OPS[n.op_type](attributes, *[values[i] if i else None for i in n.input], **extra)
            for name, v in zip(n.output, y if isinstance(y, tuple) else (y,)):
                values[name] = v
        return [values[o.name] for o in self.graph.output]


def read(path, shape, dtype):
    return torch.tensor(np.fromfile(path, np.float32), dtype=dtype).reshape(shape)


def step(net, names, x, seeds):
    for name in names:
        net.constants[name].grad = None
    outputs = net.run(x)
    torch.autograd.backward(outputs, seeds)
    return outputs


def load(folder, dtype):
    net = Net(folder / "graph.onnx", dtype)
    names = [line.split(" ", 1)[1] for line in (folder / "grads.txt").read_text().splitlines()]
    for name in names:
        net.constants[name].requires_grad_(True)
    shape = [d.dim_value for d in net.graph.input[0].type.tensor_type.shape.dim]
    x = read(folder / "in0.bin", shape, dtype)
    seeds = []
    for i, y in enumerate(net.run(x)):
        seeds.append(read(folder / f"seed{i}.bin", y.shape, dtype))
    return net, names, x, seeds


def distance(a, b):
    scale = b.norm().item()
    return (a.to(torch.float64) - b).norm().item() / (scale or 1)


def gradients(folder, dtype):
    net, names, x, seeds = load(folder, dtype)
    step(net, names, x, seeds)
    return names, [net.constants[name].grad for name in names]


def compare(tool, model, flags):
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        subprocess.run([tool, model, work, *flags], check=True, stdout=subprocess.DEVNULL)
        names, exact = gradients(folder, torch.float64)
        limit, note = LIMIT_F64, ""
        if not flags:
            peer = max(map(distance, gradients(folder, torch.float32)[1], exact))
            limit, note = TIMES * peer, f", PyTorch's float32 {peer:.2e}"
        ours = [distance(read(folder / f"grad-{i}.bin", g.shape, torch.float64), g)
                for i, g in enumerate(exact)]
    worst = max(ours)
    good = all(d <= limit for d in ours)
    print(f"{'ok' if good else 'FAIL'} {Path(model).name} {' '.join(flags) or 'float32'}: "
          f"{len(names)} tensors, worst relative difference {worst:.2e} "
          f"({names[ours.index(worst)]}){note}", flush=True)
    return good


def bench(tool, model, threads):
    torch.set_num_threads(threads)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as work:
        flags = [tool, model, work, "--threads", str(threads), "--runs", "3"]
        for _ in range(3):
            out = subprocess.run(flags, check=True, capture_output=True, text=True).stdout
            ours.append(float(out.split()[1]))
            net, names, x, seeds = load(Path(work), torch.float32)
            for _ in range(3):
                start = time.perf_counter()
                step(net, names, x, seeds)
                theirs.append((time.perf_counter() - start) * 1e3)
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{Path(model).name}: Crayon {a:.0f} ms, PyTorch {torch.__version__} {b:.0f} ms, "
          f"{threads} threads, forward and backward; {out.split(';')[1].strip()}")


def main():
    args = sys.argv[1:]
    if len(args) > 2 and args[1] == "--bench":
        for model in args[3:]:
            bench(args[0], model, int(args[2]))
        return 0
    results = [compare(args[0], m, flags) for m in args[1:] for flags in ([], ["--f64"])]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed, 0 skipped")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
