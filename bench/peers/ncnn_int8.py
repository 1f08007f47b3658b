"""ncnn's INT8 model from its float model: what ncnn2table and ncnn2int8 do, which ncnn's Python package
does not bring.

Written from the format's description in ncnn's documentation: a .param file is one text line per layer
(type, name, counts, blobs, key=value), a .bin file holds the layers' data in the same order. Convolution:
a 4-byte tag (0: float32 follows, 0x000D4B38: int8), weights padded to 4 bytes, float bias; with key 8
(int8_scale_term) also 127/absmax per output channel of the weights and 127/absmax of the input. The
input's absmax is the largest over the calibration pictures. That is simpler than ncnn2table's KL
method and does not change the speed, which is all that the race uses these files for.
"""
import struct

import ncnn
import numpy as np

INT8_TAG = 0x000D4B38
CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")


def read_layers(path):
    """(head lines, [(type, name, inputs, outputs, {key: text})])"""
    with open(path) as f:
        lines = f.read().splitlines()
    layers = []
    for line in lines[2:]:
        kind, name, inputs, outputs, *rest = line.split()
        n = int(inputs) + int(outputs)
        layers.append((kind, name, rest[:int(inputs)], rest[int(inputs):n],
                       dict(item.split("=", 1) for item in rest[n:])))
    return lines[:2], layers


def input_ranges(param, layers, tensors):
    """Largest absolute value that each convolution's input took."""
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.lightmode = False
    net.opt.use_bf16_storage = net.opt.use_fp16_storage = net.opt.use_fp16_packed = False
    net.load_param(param)
    net.load_model(param.replace(".param", ".bin"))
    blobs = {inputs[0] for kind, _, inputs, _, _ in layers if kind in CONVOLUTIONS}
    top = dict.fromkeys(blobs, 0.0)
    for x in tensors:
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], ncnn.Mat(np.ascontiguousarray(x[0])))
        for blob in blobs:
            top[blob] = max(top[blob], float(np.abs(np.array(extractor.extract(blob)[1])).max()))
    return top


class Weights:
    """Walks the float .bin file beside the layers."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.at = 0

    def floats(self, n):
        out = np.frombuffer(self.data, np.float32, n, self.at)
        self.at += 4 * n
        return out

    def tag(self):
        value, = struct.unpack_from("<I", self.data, self.at)
        self.at += 4
        if value:
            raise ValueError(f"weights have the form {value:#x}, not float32")


def quantize_convolution(kind, keys, source, top):
    """The layer's bytes; sets int8_scale_term in `keys`."""
    outputs, size = int(keys["0"]), int(keys["6"])
    channels = int(keys.get("7", 1)) if kind == "ConvolutionDepthWise" else outputs
    source.tag()
    rows = source.floats(size).reshape(channels, -1)
    bias = source.floats(outputs if keys.get("5", "0") == "1" else 0)
    absmax = np.abs(rows).max(1)
    scales = np.where(absmax > 0, 127 / np.maximum(absmax, 1e-30), 1).astype(np.float32)
    codes = np.clip(np.rint(rows * scales[:, None]), -127, 127).astype(np.int8).tobytes()
    keys["8"] = "1" if kind == "ConvolutionDepthWise" else "2"
    return (struct.pack("<I", INT8_TAG) + codes + bytes(-len(codes) % 4) + bias.tobytes()
            + scales.tobytes() + np.float32(127 / max(top, 1e-30)).tobytes())


def quantize(param, out_param, tensors):
    head, layers = read_layers(param)
    top = input_ranges(param, layers, tensors)
    source = Weights(param.replace(".param", ".bin"))
    parts, lines = [], list(head)
    for kind, name, inputs, outputs, keys in layers:
        if kind in CONVOLUTIONS:
            parts.append(quantize_convolution(kind, keys, source, top[inputs[0]]))
        elif kind == "MemoryData":
            n = int(np.prod([int(keys.get(k, 0)) or 1 for k in ("0", "1", "11", "2")]))
            parts.append(source.floats(n).tobytes())
        elif kind in ("InnerProduct", "BatchNorm", "Deconvolution", "Scale", "PReLU"):
            raise ValueError(f"{kind} {name} has weights that this does not read")
        lines.append(" ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs,
                               *(f"{k}={v}" for k, v in keys.items())]))
    if source.at != len(source.data):
        raise ValueError(f"{len(source.data) - source.at} bytes of weights were not read")
    with open(out_param, "w") as f:
        f.write("\n".join(lines) + "\n")
    with open(out_param.replace(".param", ".bin"), "wb") as f:
        f.write(b"".join(parts))
