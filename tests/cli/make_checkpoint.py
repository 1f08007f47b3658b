#!/usr/bin/env python3
"""Checkpoints as torch.save writes them, made without PyTorch.

    make_checkpoint.py SHAPES.onnx DIR
    make_checkpoint.py --tiny DIR

The sample model's weights, taken from its ONNX file, are put into modules of Ultralytics' classes:
DIR gets shapes.pt (zip, float32, with BatchNormalization taken out of the convolutions again),
half.pt (the averaged model, fused, float16), old.pt (the container before torch 1.6) and older.pt
(names as a list, arguments as a namespace, a numpy scalar, a path). --tiny writes seeds for fuzzing: a model
of a few kilobytes in both containers. bad_checkpoints.py makes hostile ones with the same tools.
"""
import array
import collections
import io
import math
import pickle
import random
import struct
import sys
import types
import zipfile

STORAGES = {"f": "FloatStorage", "e": "HalfStorage", "q": "LongStorage"}


def module(name):
    """The module of that name, made if need be: pickle looks classes up where they say they live."""
    parts = name.split(".")
    for n in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:n]), types.ModuleType(".".join(parts[:n])))
    return sys.modules[name]


def named(path, **body):
    """A class or function stand-in of a given full name."""
    where, name = path.rsplit(".", 1)
    if not hasattr(module(where), name):
        setattr(module(where), name, type(name, (), {"__module__": where, **body}))
    return getattr(module(where), name)


def function(path):
    where, name = path.rsplit(".", 1)
    if not hasattr(module(where), name):
        f = types.FunctionType((lambda *a: None).__code__, {}, name)
        f.__module__, f.__qualname__ = where, name
        setattr(module(where), name, f)
    return getattr(module(where), name)


class Storage:
    def __init__(self, values, code="f"):
        self.code, self.count = code, len(values)
        self.raw = struct.pack(f"<{len(values)}{code}", *values)


class Tensor:
    def __init__(self, values, size, code="f", stride=None, offset=0, storage=None):
        self.storage = storage or Storage(values, code)
        self.size, self.offset = tuple(size), offset
        self.stride = stride or tuple(math.prod(size[i + 1:]) for i in range(len(size)))


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor


class Pickler(pickle.Pickler):
    """Tensors become calls of torch's rebuilding functions, storages persistent ids."""

    def __init__(self, file, protocol=2, views=False):
        super().__init__(file, protocol)
        self.keys, self.storages, self.views = {}, [], views

    def persistent_id(self, o):
        if not isinstance(o, Storage):
            return None
        if id(o) not in self.keys:
            self.keys[id(o)] = str(len(self.storages))
            self.storages.append(o)
        kind = named("torch." + STORAGES[o.code])
        return ("storage", kind, self.keys[id(o)], "cpu", o.count) + ((None,) if self.views else ())

    def reducer_override(self, o):
        if isinstance(o, Tensor):
            return (function("torch._utils._rebuild_tensor_v2"),
                    (o.storage, o.offset, o.size, o.stride, False, collections.OrderedDict()))
        if isinstance(o, Parameter):
            return function("torch._utils._rebuild_parameter"), (o.tensor, True, collections.OrderedDict())
        if isinstance(o, Reduced):
            return o.f, o.args
        return NotImplemented


class Reduced:
    """Whatever pickles as a call of f."""

    def __init__(self, f, *args):
        self.f, self.args = f, args


def dump(o, protocol=2, views=False):
    file = io.BytesIO()
    p = Pickler(file, protocol, views)
    p.dump(o)
    return file.getvalue(), p.storages


def save(path, o, protocol=2):
    data, storages = dump(o, protocol)
    save_raw(path, data, [(str(i), s.raw) for i, s in enumerate(storages)])


def save_raw(path, data, storages=(), order=b"little", method=zipfile.ZIP_STORED, extra=()):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("archive/data.pkl", data, method)
        z.writestr("archive/byteorder", order)
        for key, raw in storages:
            z.writestr(f"archive/data/{key}", raw)
        for name, raw in extra:
            z.writestr(name, raw)


def save_old(path, o):
    data, storages = dump(o, views=True)
    sizes = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    with open(path, "wb") as f:
        for part in (0x1950A86A20F9469CFC6C, 1001, sizes):
            f.write(pickle.dumps(part, 2))
        f.write(data + pickle.dumps([str(i) for i in range(len(storages))], 2))
        for s in storages:
            f.write(struct.pack("<q", s.count) + s.raw)


# ---- modules ----

NN = "torch.nn.modules."
OWN = "ultralytics.nn.modules."


def mod(path, children=(), parameters=(), buffers=(), **attributes):
    m = named(path)()
    m.training = False
    m._parameters = collections.OrderedDict((k, Parameter(v) if v else None) for k, v in parameters)
    m._buffers = collections.OrderedDict(buffers)
    m._non_persistent_buffers_set = set()
    m._modules = collections.OrderedDict(children)
    for k, v in attributes.items():
        setattr(m, k, v)
    return m


def listed(kind, items):
    return mod(NN + "container." + kind, [(str(i), m) for i, m in enumerate(items)])


def conv2d(weight, bias, stride=1):
    k = weight.size[2]
    return mod(NN + "conv.Conv2d", parameters=[("weight", weight), ("bias", bias)], in_channels=weight.size[1],
               out_channels=weight.size[0], kernel_size=(k, k), stride=(stride, stride), padding=(k // 2, k // 2),
               dilation=(1, 1), groups=1, padding_mode="zeros", transposed=False, output_padding=(0, 0))


class Maker:
    """Modules from the sample's weights. unfused: norm apart; code: the storages' type."""

    def __init__(self, weights, unfused, code):
        self.weights, self.unfused, self.code = weights, unfused, code
        self.act = mod(NN + "activation.SiLU", inplace=True)

    def tensor(self, values, size):
        return Tensor(values, size, self.code)

    def plain(self, name, stride=1):
        (w, size), (b, _) = self.weights[name + ".weight"], self.weights[name + ".bias"]
        return conv2d(self.tensor(w, size), self.tensor(b, [size[0]]), stride)

    def conv(self, name, stride=1):
        """A convolution with norm and activation. Unfused: y = (x*w' - mean) * gain / sqrt(var + eps) + shift."""
        if not self.unfused:
            return mod(OWN + "conv.Conv", [("conv", self.plain(name + ".conv", stride)), ("act", self.act)])
        (w, size), (b, _) = self.weights[name + ".conv.weight"], self.weights[name + ".conv.bias"]
        n, eps = size[0], 1e-3
        gain = [0.5 + 0.25 * (c % 5) for c in range(n)]
        mean = [0.1 * (c % 3) for c in range(n)]
        var = [0.4 + 0.2 * (c % 7) for c in range(n)]
        factor = [g / math.sqrt(v + eps) for g, v in zip(gain, var)]
        each = len(w) // n
        apart = [x / factor[i // each] for i, x in enumerate(w)]
        shift = [b[c] + mean[c] * factor[c] for c in range(n)]
        norm = mod(NN + "batchnorm.BatchNorm2d", num_features=n, eps=eps, momentum=0.03, affine=True,
                   parameters=[("weight", self.tensor(gain, [n])), ("bias", self.tensor(shift, [n]))],
                   buffers=[("running_mean", self.tensor(mean, [n])), ("running_var", self.tensor(var, [n])),
                            ("num_batches_tracked", Tensor([9], [], "q"))])
        return mod(OWN + "conv.Conv", [("conv", conv2d(self.tensor(apart, size), None, stride)), ("bn", norm), ("act", self.act)])

    def c2f(self, name, add):
        inner = mod(OWN + "block.Bottleneck", [(c, self.conv(f"{name}.m.0.{c}")) for c in ("cv1", "cv2")], add=add)
        return mod(OWN + "block.C2f", [("cv1", self.conv(name + ".cv1")), ("cv2", self.conv(name + ".cv2")),
                                       ("m", listed("ModuleList", [inner]))], c=0)

    def sppf(self, name):
        pool = mod(NN + "pooling.MaxPool2d", kernel_size=5, stride=1, padding=2, dilation=1, ceil_mode=False)
        return mod(OWN + "block.SPPF", [("cv1", self.conv(name + ".cv1")), ("cv2", self.conv(name + ".cv2")), ("m", pool)])

    def branch(self, name):
        return listed("Sequential", [self.conv(name + ".0"), self.conv(name + ".1"), self.plain(name + ".2")])

    def detect(self, strides=(8, 16), classes=5, bins=16):
        conv = mod(NN + "conv.Conv2d", parameters=[("weight", self.tensor(range(bins), [1, bins, 1, 1])), ("bias", None)],
                   kernel_size=(1, 1), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, padding_mode="zeros")
        return mod(OWN + "head.Detect",
                   [("cv2", listed("ModuleList", [self.branch("head.box.0"), self.branch("head.box.1")])),
                    ("cv3", listed("ModuleList", [self.branch("head.cls.0"), self.branch("head.cls.1")])),
                    ("dfl", mod(OWN + "block.DFL", [("conv", conv)], c1=bins))],
                   nc=classes, nl=2, reg_max=bins, no=classes + 4 * bins, stride=Tensor(strides, [2]))

    def shapes(self):
        return [(self.conv("stem", 2), -1), (self.conv("down2", 2), -1), (self.c2f("stage2", True), -1),
                  (self.conv("down3", 2), -1), (self.c2f("stage3", True), -1), (self.conv("down4", 2), -1),
                  (self.c2f("stage4", True), -1), (self.sppf("sppf"), -1),
                  (mod(NN + "upsampling.Upsample", size=None, scale_factor=2.0, mode="nearest"), -1),
                  (mod(OWN + "conv.Concat", d=1), [-1, 4]), (self.c2f("up3", False), -1), (self.conv("pan4", 2), -1),
                  (mod(OWN + "conv.Concat", d=1), [-1, 7]), (self.c2f("out4", False), -1), (self.detect(), [10, 13])]

    def attention(self, name):
        """PSABlock's neighbour: two heads of keys of 1 and values of 2 numbers."""
        attn = mod(OWN + "block.Attention", [(c, self.conv(f"{name}.attn.{c}")) for c in ("qkv", "proj", "pe")],
                   num_heads=2, key_dim=1, head_dim=2, scale=1.0)
        attn._modules["pe"]._modules["conv"].groups = 4
        ffn = listed("Sequential", [self.conv(f"{name}.ffn.{i}") for i in range(2)])
        block = mod(OWN + "block.PSABlock", [("attn", attn), ("ffn", ffn)], add=True)
        return mod(OWN + "block.C2PSA", [("cv1", self.conv(name + ".cv1")), ("cv2", self.conv(name + ".cv2")),
                                         ("m", listed("Sequential", [block]))], c=4)

    def tiny(self):
        return [(self.conv("stem", 2), -1), (self.c2f("stage", True), -1), (self.conv("down", 2), -1), (self.sppf("sppf"), -1),
                (self.attention("psa"), -1), (mod(NN + "upsampling.Upsample", size=None, scale_factor=2.0, mode="nearest"), -1),
                (mod(OWN + "conv.Concat", d=1), [-1, 1]), (self.detect((2, 4), 2, 2), [6, 4])]

    def model(self, layers, names, size):
        for i, (m, f) in enumerate(layers):
            m.i, m.f, m.type, m.np = i, f, type(m).__name__, 0
        return mod("ultralytics.nn.tasks.DetectionModel", [("model", listed("Sequential", [m for m, _ in layers]))],
                   yaml={"nc": len(names), "ch": 3}, names=names, stride=layers[-1][0].stride, save=[],
                   args={"imgsz": size, "task": "detect"})


# ---- the sample's weights ----

def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """(number, value) of each protobuf field; length-delimited ones as bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 2:
            n, at = varint(data, at)
            yield key >> 3, data[at:at + n]
            at += n
        elif key & 7 == 0:
            value, at = varint(data, at)
            yield key >> 3, value
        else:
            n = 8 if key & 7 == 1 else 4
            yield key >> 3, data[at:at + n]
            at += n


def weights_of(path):
    """Float initializers of an ONNX file: name -> (values, dims)."""
    found = {}
    with open(path, "rb") as f:
        graph = next(v for k, v in fields(f.read()) if k == 7)
    for tensor in (v for k, v in fields(graph) if k == 5):
        parts, dims = {}, []
        for k, v in fields(tensor):
            if k == 1 and isinstance(v, int):
                dims.append(v)
            elif k == 1:
                at = 0
                while at < len(v):
                    d, at = varint(v, at)
                    dims.append(d)
            parts[k] = v
        if parts.get(2) == 1:
            found[parts[8].decode()] = (array.array("f", parts[9]).tolist(), dims)
    return found


NAMES = ["circle", "square", "triangle", "star", "crayon"]


# Output and input channels and kernel size of the tiny model's convolutions.
TINY = {"stem": (4, 3, 3), "stage.cv1": (4, 4, 1), "stage.m.0.cv1": (2, 2, 3), "stage.m.0.cv2": (2, 2, 3), "stage.cv2": (4, 6, 1),
        "down": (4, 4, 3), "sppf.cv1": (2, 4, 1), "sppf.cv2": (8, 8, 1), "psa.cv1": (8, 8, 1), "psa.attn.qkv": (8, 4, 1),
        "psa.attn.proj": (4, 4, 1), "psa.attn.pe": (4, 1, 3), "psa.ffn.0": (4, 4, 1), "psa.ffn.1": (4, 4, 1), "psa.cv2": (8, 8, 1)}
for level, channels in (0, 12), (1, 8):
    for kind, out in ("box", 8), ("cls", 2):
        TINY.update({f"head.{kind}.{level}.0": (2, channels, 1), f"head.{kind}.{level}.1": (2, 2, 3), f"head.{kind}.{level}.2": (out, 2, 1)})


def tiny_weights():
    rng, found = random.Random(4), {}
    for name, (n, c, k) in TINY.items():
        stem = name if name.startswith("head") and name.endswith(".2") else name + ".conv"
        found[stem + ".weight"] = [rng.uniform(-1, 1) for _ in range(n * c * k * k)], [n, c, k, k]
        found[stem + ".bias"] = [rng.uniform(-1, 1) for _ in range(n)], [n]
    return found


def make_tiny(folder):
    for code, unfused, path, write in ("f", True, "tiny_old.pt", save_old), ("e", False, "tiny.pt", save):
        maker = Maker(tiny_weights(), unfused, code)
        write(f"{folder}/{path}", {"model": maker.model(maker.tiny(), {0: "a", 1: "b"}, 32), "train_args": {"imgsz": 32}})


def make_shapes(weights, folder):
    def made(unfused, code, names):
        maker = Maker(weights, unfused, code)
        return maker.model(maker.shapes(), names, 256)

    plain, fused = made(True, "f", dict(enumerate(NAMES))), made(False, "e", dict(enumerate(NAMES)))
    save(f"{folder}/shapes.pt", {"model": plain, "ema": None, "optimizer": None, "version": "8.4.190", "epoch": -1,
                                 "train_args": {"imgsz": 256, "batch": 16}})
    save(f"{folder}/half.pt", {"model": None, "ema": fused, "train_args": {"imgsz": 256}})
    save_old(f"{folder}/old.pt", {"model": plain})
    older = made(False, "f", NAMES)
    older.args = named("ultralytics.utils.IterableSimpleNamespace")()
    older.args.imgsz = 256
    scalar = Reduced(function("numpy.core.multiarray.scalar"), Reduced(named("numpy.dtype"), "f8", False, True), b"\0" * 8)
    save(f"{folder}/older.pt", {"model": older, "best_fitness": scalar, "opt": Reduced(named("pathlib.PosixPath"), "runs", "train")})
    save(f"{folder}/protocol4.pt", {"model": fused}, 4)


if __name__ == "__main__":
    make_tiny(sys.argv[2]) if sys.argv[1] == "--tiny" else make_shapes(weights_of(sys.argv[1]), sys.argv[2])
