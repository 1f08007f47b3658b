#!/usr/bin/env python3
"""TFLite operators that Crayon reads, each in a model of its own, Crayon's outputs against LiteRT's.

    tflite_ops.py PATH/TO/peers-run_model [--only WORD] [--seed N]

Every case is run as float32 and, where LiteRT's reference kernels have the operator, with int8, int16 and
uint8 activations; once on the graph's input and once behind a pool of size 1 (so that Crayon has
the tensor in NCHW). Float32 outputs must agree to LIMIT of their largest value, 8-bit codes to one step
(LiteRT multiplies by fixed-point numbers), 16-bit codes to WIDE steps (its tables of 513 entries).
Ends in "N passed, N failed, N skipped".
"""
import os
import subprocess
import sys
import tempfile

try:
    import flatbuffers  # noqa: F401
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError as missing:
    print(f"SKIP tflite_ops: no Python module {missing.name}")
    sys.exit(0)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tflite_models import KINDS, Net, T, options

LIMIT = 2e-5  # float sums of some hundred products
WIDE = 12     # LOGISTIC, TANH, SOFTMAX, HARD_SWISH and averages in 16 bits
# Operators that only the set of optimized kernels has, or (SUM: it does not rescale) has right.
OPTIMIZED = ("SUM", "ELU", "CEIL", "ROUND", "BROADCAST_TO")
# Where LiteRT's kernels are far from real numbers: the steps that were seen; None: not compared.
ROUGH = {"RESIZE-BILINEAR": {"int16": 200},  # weights of 10 bits
         "unary-EXP": {"int16": 100}, "unary-GELU": {"int16": 50}, "positive-SQRT": {"int16": 50},  # tables
         "positive-LOG": {"int16": None}, "positive-RSQRT": {"int16": None},  # the same, near their poles
         "PRELU": {"int16": None},           # the float kernel runs on the codes
         "unary-NEG": {"int8": None}}        # codes are negated, whatever the scales
SHAPE = (1, 5, 7, 6)
rng = np.random.default_rng(1)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


# ---- cases: each adds operators behind tensor x of shape SHAPE (or its own input) ----

CASES = {}


def case(name, *arguments, **more):
    def keep(f):
        CASES[name] = (f, arguments, more)
        return f
    return keep


def cases(template, values):
    def keep(f):
        for v in values:
            label = "-".join(str(p) for p in v) if isinstance(v, tuple) else str(v)
            CASES[template + label] = (f, v if isinstance(v, tuple) else (v,), {})
        return f
    return keep


def out_size(n, k, stride, dilation, same):
    reach = (k - 1) * dilation + 1
    return -(-n // stride) if same else (n - reach) // stride + 1


@cases("CONV_2D-", [(1, 1, 1, 0, 0), (3, 1, 1, 0, 1), (3, 2, 1, 0, 3), (3, 2, 1, 1, 0), (3, 1, 2, 0, 2),
                    (2, 2, 1, 0, 0), (5, 3, 1, 0, 1)])
def conv(n, x, k, stride, dilation, valid, act):
    _, h, w, c = SHAPE
    weight = n.weight(normal(4, k, k, c) / k, 0)
    y = n.act("y", (1, out_size(h, k, stride, dilation, not valid), out_size(w, k, stride, dilation, not valid), 4))
    return n.op("CONV_2D", [x, weight, n.bias(normal(4), x, weight)], [y], options(
        "Conv2DOptions", padding=valid, strideH=stride, strideW=stride, dilationHFactor=dilation,
        dilationWFactor=dilation, fusedActivationFunction=act))


@case("CONV_2D groups")
def conv_groups(n, x):
    weight = n.weight(normal(4, 3, 3, 3), 0)
    y = n.act("y", (1, 5, 7, 4))
    return n.op("CONV_2D", [x, weight, n.bias(normal(4), x, weight)], [y],
                options("Conv2DOptions", padding=0, strideH=1, strideW=1))


@case("CONV_2D without bias, per tensor")
def conv_bare(n, x):
    weight = n.weight(normal(4, 1, 1, 6))
    return n.op("CONV_2D", [x, weight, n.bias(np.zeros(4), x, weight)], [n.act("y", (1, 5, 7, 4))],
                options("Conv2DOptions", padding=1, strideH=1, strideW=1))


@cases("PAD and CONV_2D, valid ", [1, 0])
def pad_conv(n, x, valid):
    p = n.act("p", (1, 7, 10, 6), like=x)
    n.op("PAD", [x, n.array(np.array([[0, 0], [1, 1], [1, 2], [0, 0]], np.int32))], [p])
    weight = n.weight(normal(4, 3, 3, 6), 0)
    y = n.act("y", (1, out_size(7, 3, 2, 1, not valid), out_size(10, 3, 2, 1, not valid), 4))
    return n.op("CONV_2D", [p, weight, n.bias(normal(4), p, weight)], [y],
                options("Conv2DOptions", padding=valid, strideH=2, strideW=2))


@cases("DEPTHWISE_CONV_2D-", [(1, 1, 0), (1, 2, 1), (2, 1, 3)])
def depthwise(n, x, multiplier, stride, act):
    weight = n.weight(normal(1, 3, 3, 6 * multiplier), 3)
    y = n.act("y", (1, out_size(5, 3, stride, 1, True), out_size(7, 3, stride, 1, True), 6 * multiplier))
    return n.op("DEPTHWISE_CONV_2D", [x, weight, n.bias(normal(6 * multiplier), x, weight)], [y],
                options("DepthwiseConv2DOptions", padding=0, strideH=stride, strideW=stride,
                        depthMultiplier=multiplier, fusedActivationFunction=act))


@cases("TRANSPOSE_CONV-", [(2, 2, 1), (3, 2, 0), (3, 1, 0), (4, 2, 0)])
def transpose_conv(n, x, k, stride, valid):
    h, w = (5 * stride, 7 * stride) if not valid else ((5 - 1) * stride + k, (7 - 1) * stride + k)
    weight = n.weight(normal(4, k, k, 6), 0)
    y = n.act("y", (1, h, w, 4))
    size = n.array(np.array([1, h, w, 4], np.int32))
    return n.op("TRANSPOSE_CONV", [size, weight, x, n.bias(normal(4), x, weight)], [y],
                options("TransposeConvOptions", padding=valid, strideH=stride, strideW=stride))


@cases("FULLY_CONNECTED-", [(6, False, 0), (6, True, 1), (210, False, 0)])
def fully_connected(n, x, width, keep, act):
    weight = n.weight(normal(3, width) / 4)
    y = n.act("y", SHAPE[:3] + (3,) if keep else (210 // width, 3))
    return n.op("FULLY_CONNECTED", [x, weight, n.bias(normal(3), x, weight)], [y],
                options("FullyConnectedOptions", keepNumDims=keep, fusedActivationFunction=act))


@cases("BATCH_MATMUL-", [(False, False), (False, True)])
def batch_matmul(n, x, adj_x, adj_y):
    other = n.constant(normal(*((3, 6) if adj_y else (6, 3))).reshape((1, 1) + ((3, 6) if adj_y else (6, 3))))
    y = n.act("y", SHAPE[:3] + (3,))
    return n.op("BATCH_MATMUL", [x, other], [y], options("BatchMatMulOptions", adjX=adj_x, adjY=adj_y))


@cases("POOL-", [("MAX_POOL_2D", 3, 1, 0), ("MAX_POOL_2D", 2, 2, 1), ("AVERAGE_POOL_2D", 3, 2, 0),
                 ("AVERAGE_POOL_2D", 2, 1, 1)])
def pool(n, x, op, k, stride, valid):
    y = n.act("y", (1, out_size(5, k, stride, 1, not valid), out_size(7, k, stride, 1, not valid), 6), like=x)
    return n.op(op, [x], [y], options("Pool2DOptions", padding=valid, strideH=stride, strideW=stride,
                                      filterHeight=k, filterWidth=k))


@cases("RESIZE-", [(kind, size, align, half) for kind in ("BILINEAR", "NEAREST_NEIGHBOR")
                   for size in ((10, 14), (8, 9), (3, 4)) for align, half in ((0, 0), (1, 0), (0, 1))])
def resize(n, x, kind, size, align, half):
    y = n.act("y", (1,) + size + (6,), like=x)
    o = "ResizeBilinearOptions" if kind == "BILINEAR" else "ResizeNearestNeighborOptions"
    return n.op("RESIZE_" + kind, [x, n.array(np.array(size, np.int32))], [y],
                options(o, alignCorners=bool(align), halfPixelCenters=bool(half)))


@case("SPACE_TO_DEPTH and DEPTH_TO_SPACE")
def depth_space(n, x):
    c = n.act("c", (1, 4, 6, 6), like=x)
    n.op("SLICE", [x, n.array(np.zeros(4, np.int32)), n.array(np.array([1, 4, 6, -1], np.int32))], [c])
    d = n.act("d", (1, 2, 3, 24), like=x)
    n.op("SPACE_TO_DEPTH", [c], [d], options("SpaceToDepthOptions", blockSize=2))
    r = n.act("r", (1, 2, 3, 24), like=x)
    n.op("RESHAPE", [d, n.array(np.array([1, 2, 3, 24], np.int32))], [r])
    y = n.act("y", (1, 4, 6, 6), like=x)
    return n.op("DEPTH_TO_SPACE", [r], [y], options("DepthToSpaceOptions", blockSize=2))


BINARY = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions", "MAXIMUM": None,
          "MINIMUM": None, "SQUARED_DIFFERENCE": None, "POW": None}


@cases("binary-", [(op, shape) for op in BINARY for shape in ((6,), (1, 1, 1, 6), (), (5, 7, 6), (7, 1))])
def binary(n, x, op, shape):
    values = np.abs(normal(*shape)) + np.float32(0.5)
    if op == "POW":
        a = n.act("a", SHAPE)
        n.op("ABS", [x], [a])
        x = a
    y = n.act("y", SHAPE, like=x if op in ("MAXIMUM", "MINIMUM") else None)
    c = n.constant(values)
    if n.integers and op in ("MAXIMUM", "MINIMUM"):
        n.tensors[c].quantization = n.tensors[x].quantization
    return n.op(op, [x, c], [y], options(BINARY[op]) if BINARY[op] else None)


@cases("fused-", [(op, act) for op in ("ADD", "SUB", "MUL") for act in (1, 2, 3)])
def fused(n, x, op, act):
    y = n.act("y", SHAPE)
    return n.op(op, [n.constant(normal(6)), x], [y], options(op.title() + "Options", fusedActivationFunction=act))


@case("SE block")
def squeeze_excite(n, x):
    m = n.act("m", (1, 6))
    n.op("MEAN", [x, n.array(np.array([1, 2], np.int32))], [m], options("ReducerOptions", keepDims=False))
    w = n.weight(normal(6, 6) / 2)
    f = n.act("f", (1, 6))
    n.op("FULLY_CONNECTED", [m, w, n.bias(normal(6), m, w)], [f],
         options("FullyConnectedOptions", fusedActivationFunction=1))
    s = n.act("s", (1, 6), "LOGISTIC")
    n.op("LOGISTIC", [f], [s])
    r = n.act("r", (1, 1, 1, 6), like=s)
    n.op("RESHAPE", [s, n.array(np.array([1, 1, 1, -1], np.int32))], [r])
    return n.op("MUL", [x, r], [n.act("y", SHAPE)], options("MulOptions"))


@case("PRELU")
def prelu(n, x):
    return n.op("PRELU", [x, n.constant(np.abs(normal(1, 1, 6)) / 2)], [n.act("y", SHAPE)])


@cases("unary-", ["LOGISTIC", "HARD_SWISH", "RELU", "RELU6", "RELU_N1_TO_1", "TANH", "ELU", "EXP", "ABS", "NEG",
                  "SIN", "COS", "FLOOR", "CEIL", "ROUND", "SQUARE", "GELU", "GELU tanh", "LEAKY_RELU",
                  "L2_NORMALIZATION", "RELU_0_TO_1", "SIGN"])
def unary(n, x, op):
    name = op.split()[0]
    o = {"GELU": options("GeluOptions", approximate="tanh" in op), "L2_NORMALIZATION": options("L2NormOptions"),
         "LEAKY_RELU": options("LeakyReluOptions", alpha=0.125)}.get(name)
    return n.op(name, [x], [n.act("y", SHAPE, name)], o)


@cases("positive-", ["LOG", "SQRT", "RSQRT"])
def positive(n, x, op):
    e = n.act("e", SHAPE)
    n.op("EXP", [x], [e])
    return n.op(op, [e], [n.act("y", SHAPE)])


@cases("SOFTMAX-", [1.0, 0.5])
def softmax(n, x, beta):
    return n.op("SOFTMAX", [x], [n.act("y", SHAPE, "SOFTMAX")], options("SoftmaxOptions", beta=beta))


@case("LOG_SOFTMAX")
def log_softmax(n, x):
    return n.op("LOG_SOFTMAX", [x], [n.act("y", SHAPE, "LOG_SOFTMAX")], options("LogSoftmaxOptions"))


@cases("reduce-", [(op, axes, keep) for op in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
                   for axes in ((1, 2), (3,), (1,), (-1, 2)) for keep in (True, False)])
def reduce(n, x, op, axes, keep):
    gone = {a % 4 for a in axes}
    shape = [1 if d in gone else SHAPE[d] for d in range(4) if keep or d not in gone]
    y = n.act("y", shape, like=x if op.startswith("REDUCE") else None)
    return n.op(op, [x, n.array(np.array(axes, np.int32))], [y], options("ReducerOptions", keepDims=keep))


@cases("ARG_MAX-", [3, 1])
def arg_max(n, x, axis):
    a = n.plain("a", [SHAPE[d] for d in range(4) if d != axis], T.INT32)
    n.op("ARG_MAX", [x, n.array(np.array(axis, np.int32))], [a], options("ArgMaxOptions", outputType=T.INT32))
    y = n.plain("y", [SHAPE[d] for d in range(4) if d != axis], T.FLOAT32)
    return n.op("CAST", [a], [y], options("CastOptions", inDataType=T.INT32, outDataType=T.FLOAT32))


@case("TOPK_V2")
def top_k(n, x):
    y, i = n.act("y", (1, 5, 7, 2), like=x), n.plain("i", (1, 5, 7, 2), T.INT32)
    return n.op("TOPK_V2", [x, n.array(np.array(2, np.int32))], [y, i], options("TopKV2Options"))


@case("SELECT_V2")
def select(n, x):
    mask = n.array(rng.standard_normal(SHAPE) > 0)
    return n.op("SELECT_V2", [mask, x, x], [n.act("y", SHAPE, like=x)], options("SelectV2Options"))


@cases("RESHAPE-", [(1, 35, 6), (1, 5, 42), (1, 6, 35), (210,), (1, 7, 5, 6), (-1, 3)])
def reshape(n, x, *shape):
    real = [210 // 3 if d == -1 else d for d in shape]
    return n.op("RESHAPE", [x, n.array(np.array(shape, np.int32))], [n.act("y", real, like=x)])


@case("SQUEEZE and EXPAND_DIMS")
def squeeze(n, x):
    s = n.act("s", SHAPE[1:], like=x)
    n.op("SQUEEZE", [x], [s], options("SqueezeOptions", squeezeDims=[0]))
    return n.op("EXPAND_DIMS", [s, n.array(np.array(1, np.int32))], [n.act("y", (5, 1, 7, 6), like=x)])


def permutations(n=4):
    import itertools
    return list(itertools.permutations(range(n)))


@cases("TRANSPOSE-", permutations())
def transpose(n, x, *perm):
    y = n.act("t", [SHAPE[d] for d in perm], like=x)
    n.op("TRANSPOSE", [x, n.array(np.array(perm, np.int32))], [y])
    r = n.act("y", (1, SHAPE[perm[1]] * SHAPE[perm[2]] * SHAPE[perm[3]] * SHAPE[perm[0]]), like=x)
    return n.op("RESHAPE", [y, n.array(np.array([1, 210], np.int32))], [r])


@cases("TRANSPOSE twice-", permutations()[:8])
def transpose_twice(n, x, *perm):
    t = n.act("t", [SHAPE[d] for d in (0, 3, 1, 2)], like=x)
    n.op("TRANSPOSE", [x, n.array(np.array([0, 3, 1, 2], np.int32))], [t])
    y = n.act("y", [(1, 6, 5, 7)[d] for d in perm], like=x)
    return n.op("TRANSPOSE", [t, n.array(np.array(perm, np.int32))], [y])


@cases("CONCATENATION-", [1, 2, 3, -1])
def concat(n, x, axis):
    shape = list(SHAPE)
    shape[axis] *= 2
    y = n.act("y", shape, like=x)
    return n.op("CONCATENATION", [x, x], [y], options("ConcatenationOptions", axis=axis))


@cases("SPLIT-", [(3, 3), (-1, 2)])
def split(n, x, axis, parts):
    shape = list(SHAPE)
    shape[axis] //= parts
    ys = [n.act(f"y{i}", shape, like=x) for i in range(parts)]
    n.op("SPLIT", [n.array(np.array(axis, np.int32)), x], ys, options("SplitOptions", numSplits=parts))
    z = n.act("y", shape)
    return n.op("ADD", [ys[0], ys[-1]], [z], options("AddOptions"))


@case("SPLIT_V")
def split_v(n, x):
    a, b = n.act("a", (1, 5, 3, 6), like=x), n.act("b", (1, 5, 4, 6), like=x)
    n.op("SPLIT_V", [x, n.array(np.array([3, -1], np.int32)), n.array(np.array(2, np.int32))], [a, b],
         options("SplitVOptions", numSplits=2))
    return n.op("CONCATENATION", [b, a], [n.act("y", SHAPE, like=x)], options("ConcatenationOptions", axis=2))


@case("SLICE")
def slice_(n, x):
    y = n.act("y", (1, 3, 5, 6), like=x)
    return n.op("SLICE", [x, n.array(np.array([0, 1, 2, 0], np.int32)), n.array(np.array([1, 3, -1, 6], np.int32))], [y])


@cases("STRIDED_SLICE-", [((0, 0, 0, 0), (1, 5, 7, 6), (1, 2, 3, 1), 0, 0, 0), ((0, 1, -3, 2), (0, 0, -1, 0), (1, 1, 1, 2), 1, 11, 0),
                          ((0, 4, 0, 5), (1, 0, 7, 0), (1, -1, 1, -2), 0, 10, 0), ((0, 2, 0, 0), (1, 3, 7, 6), (1, 1, 1, 1), 0, 0, 2),
                          ((0, 0, 0, -1), (0, 0, 0, 0), (1, 1, 1, 1), 7, 7, 8)])
def strided(n, x, begin, end, step, begin_mask, end_mask, shrink):
    index = []
    for d in range(4):
        b, e = (None if begin_mask >> d & 1 else begin[d]), (None if end_mask >> d & 1 else end[d])
        index.append(begin[d] if shrink >> d & 1 else slice(b, e, step[d]))
    shape = np.zeros(SHAPE)[tuple(index)].shape
    arrays = [n.array(np.array(v, np.int32)) for v in (begin, end, step)]
    return n.op("STRIDED_SLICE", [x] + arrays, [n.act("y", shape, like=x)],
                options("StridedSliceOptions", beginMask=begin_mask, endMask=end_mask, shrinkAxisMask=shrink))


@cases("PAD-", [((0, 0), (1, 2), (0, 1), (0, 0)), ((0, 0), (1, 1), (1, 1), (2, 0))])
def pad(n, x, *pads):
    y = n.act("y", [s + sum(p) for s, p in zip(SHAPE, pads)], like=x)
    return n.op("PAD", [x, n.array(np.array(pads, np.int32))], [y])


@case("PADV2")
def pad_v2(n, x):
    y = n.act("y", (1, 7, 8, 6), like=x)
    value = n.constant(np.float32(-1.5))
    if n.integers:
        q = n.tensors[x].quantization
        n.tensors[value].quantization = q
        dtype = KINDS[n.kind][1]
        code = np.clip(np.rint(-1.5 / q.scale[0]) + q.zeroPoint[0], *KINDS[n.kind][2:]).astype(dtype)
        n.buffers[n.tensors[value].buffer].data = np.frombuffer(code.tobytes(), np.uint8)
    return n.op("PADV2", [x, n.array(np.array([[0, 0], [1, 1], [0, 1], [0, 0]], np.int32)), value], [y])


@case("MIRROR_PAD")
def mirror(n, x):
    y = n.act("y", (1, 7, 9, 6), like=x)
    return n.op("MIRROR_PAD", [x, n.array(np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32))], [y],
                options("MirrorPadOptions", mode=0))


@cases("GATHER-", [(3, (5, 0, 3)), (1, (4,)), (2, ((0, 1), (6, 2)))])
def gather(n, x, axis, indices):
    indices = np.array(indices, np.int32)
    y = n.act("y", SHAPE[:axis] + indices.shape + SHAPE[axis + 1:], like=x)
    return n.op("GATHER", [x, n.array(indices)], [y], options("GatherOptions", axis=axis))


@case("GATHER_ND")
def gather_nd(n, x):
    y = n.act("y", (2, 7, 6), like=x)
    return n.op("GATHER_ND", [x, n.array(np.array([[0, 4], [0, 1]], np.int32))], [y], options("GatherNdOptions"))


@cases("PACK and UNPACK-", [1, 3])
def pack(n, x, axis):
    shape = SHAPE[:axis] + SHAPE[axis + 1:]
    parts = [n.act(f"p{i}", shape, like=x) for i in range(SHAPE[axis])]
    n.op("UNPACK", [x], parts, options("UnpackOptions", num=len(parts), axis=axis))
    y = n.act("y", (2,) + shape, like=x)
    return n.op("PACK", [parts[-1], parts[0]], [y], options("PackOptions", valuesCount=2, axis=0))


@case("TILE")
def tile(n, x):
    return n.op("TILE", [x, n.array(np.array([1, 1, 2, 3], np.int32))], [n.act("y", (1, 5, 14, 18), like=x)])


@case("BROADCAST_TO")
def broadcast(n, x):
    m = n.act("m", (1, 1, 1, 6))
    n.op("MEAN", [x, n.array(np.array([1, 2], np.int32))], [m], options("ReducerOptions", keepDims=True))
    return n.op("BROADCAST_TO", [m, n.array(np.array([1, 3, 2, 6], np.int32))], [n.act("y", (1, 3, 2, 6), like=m)])


@case("SHAPE and RESHAPE")
def shape_of(n, x):
    s, first, wanted = (n.plain(name, d, T.INT32) for name, d in (("s", (4,)), ("f", (1,)), ("v", (2,))))
    n.op("SHAPE", [x], [s], options("ShapeOptions", outType=T.INT32))
    n.op("STRIDED_SLICE", [s] + [n.array(np.array([v], np.int32)) for v in (0, 1, 1)], [first],
         options("StridedSliceOptions"))
    n.op("CONCATENATION", [first, n.array(np.array([-1], np.int32))], [wanted], options("ConcatenationOptions"))
    return n.op("RESHAPE", [x, wanted], [n.act("y", (1, 210), like=x)])


@case("float16 weights")
def half(n, x):
    if n.kind:
        raise NotImplementedError
    w16, w = n.array(normal(4, 3, 3, 6).astype(np.float16)), n.plain("wf", (4, 3, 3, 6), T.FLOAT32)
    n.op("DEQUANTIZE", [w16], [w])
    y = n.act("y", (1, 5, 7, 4))
    return n.op("CONV_2D", [x, w, n.array(normal(4))], [y],
                options("Conv2DOptions", padding=0, strideH=1, strideW=1))


@case("DEQUANTIZE, EXP, QUANTIZE")
def float_island(n, x):
    f, e = n.plain("f", SHAPE, T.FLOAT32), n.plain("e", SHAPE, T.FLOAT32)
    if not n.kind:
        raise NotImplementedError
    n.op("DEQUANTIZE", [x], [f])
    n.op("EXP", [f], [e])
    n.ranges["y"] = (0, 8)
    return n.op("QUANTIZE", [e], [n.act("y", SHAPE)])


@case("QUANTIZE again")
def requantize(n, x):
    if not n.kind:
        raise NotImplementedError
    n.ranges["y"] = (-1, 2)
    return n.op("QUANTIZE", [x], [n.act("y", SHAPE)])


# ---- running ----



def build(name, kind, stem, ranges, seed):
    global rng
    f, arguments, more = CASES[name]
    rng = np.random.default_rng(seed)
    n = Net(kind, dict(ranges))
    x = n.input(SHAPE)
    if stem: # exact, and NCHW
        x = n.op("MAX_POOL_2D", [x], [n.act("stem", SHAPE, like=x)], options(
            "Pool2DOptions", padding=1, strideH=1, strideW=1, filterHeight=1, filterWidth=1))
    y = f(n, x, *arguments, **more)
    return n, y, n.model([y])


def rough(name, kind, limit):
    for start, limits in ROUGH.items():
        if name.startswith(start) and kind in limits:
            return limits[kind]
    return limit


def litert(content, feed, keep=False, reference=True):
    resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    r = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=keep,
                    experimental_op_resolver_type=resolver)
    r.allocate_tensors()
    r.set_tensor(r.get_input_details()[0]["index"], feed)
    r.invoke()
    return r


def float_ranges(name, stem, seed, x):
    """{activation: (min, max)} of the float model."""
    try:
        n, _, content = build(name, None, stem, {"x": (x.min(), x.max())}, seed)
    except NotImplementedError:
        return {"x": (x.min(), x.max()), "stem": (-4, 4)}
    r = litert(content, x, True, reference=not any(op in name for op in OPTIMIZED))
    return {t.name.decode(): (float(v.min()), float(v.max())) for i, t in enumerate(n.tensors)
            for v in [r.get_tensor(i)] if v.dtype == np.float32 and v.size}


def transposes_input(n):
    first = n.ops[0]
    return n.codes[first.opcodeIndex] == 39 and first.inputs[0] == n.inputs[0]


def crayon(tool, folder, content, x):
    model = os.path.join(folder, "m.tflite")
    with open(model, "wb") as f:
        f.write(content)
    x.tofile(os.path.join(folder, "in.bin"))
    ran = subprocess.run([tool, model, folder, "--threads", "1", os.path.join(folder, "in.bin")],
                         capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip() or f"exit {ran.returncode}")
    return np.fromfile(os.path.join(folder, "out0.bin"), np.float32)


def both_layouts(want):
    yield want
    if want.ndim == 4:
        yield want.transpose(0, 3, 1, 2)


def run(tool, folder, name, kind, stem, seed):
    """None: LiteRT cannot; else (passed, text)."""
    x = np.random.default_rng(seed + 7).standard_normal(SHAPE).astype(np.float32)
    try:
        ranges = float_ranges(name, stem, seed, x)
        n, y, content = build(name, kind, stem, ranges, seed)
        feed = x
        if n.integers:
            scale, zero = n.params("x")
            _, dtype, low, high = KINDS[kind]
            feed = np.clip(np.rint(x / np.float32(scale)) + zero, low, high).astype(dtype)
        r = litert(content, feed, reference=not any(op in name for op in OPTIMIZED))
        want = r.get_tensor(y)
    except (RuntimeError, ValueError, NotImplementedError) as e:
        return None, str(e)
    plain = transposes_input(n)
    try:
        ours = crayon(tool, folder, content, x if plain else np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    except RuntimeError as e:
        return False, str(e)
    if ours.size != want.size:
        return False, f"{ours.size} values, LiteRT has {want.size}"
    q = n.tensors[y].quantization
    if n.integers and q is not None:
        ours = np.rint(ours / np.float32(q.scale[0])) + q.zeroPoint[0]
    limit = LIMIT * max(1, np.abs(want).max()) if want.dtype == np.float32 else WIDE if kind == "int16" else 1
    if kind == "dynamic" or (want.dtype == np.float32 and n.integers):
        limit = 0.05 * np.abs(want).max()
    limit = rough(name, kind, limit)
    if limit is None:
        return None, "LiteRT computes something else"
    worst = min(np.abs(ours - v.ravel().astype(np.float64)).max() for v in both_layouts(want))
    return worst <= limit, f"differs by {worst:.3g} (limit {limit:.3g})"


def main():
    arguments = sys.argv[1:]
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else ""
    seed = int(arguments[arguments.index("--seed") + 1]) if "--seed" in arguments else 1
    if not arguments or arguments[0].startswith("--"):
        print(__doc__)
        return 2
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in CASES:
            if only not in name:
                continue
            ran = False
            for kind in (None, "int8", "uint8", "int16", "dynamic"):
                for stem in (False, True):
                    good, text = run(arguments[0], folder, name, kind, stem, seed)
                    if good is None:
                        if "--why" in arguments:
                            print(f"  not run: {name} {kind or 'float32'}: {text.splitlines()[0][:100] if text else ''}")
                        continue
                    ran = True
                    passed += good
                    failed += not good
                    if not good:
                        print(f"FAIL {name}, {kind or 'float32'}{', behind a pool' if stem else ''}: {text}")
            skipped += not ran
            if not ran:
                print(f"SKIP {name}: LiteRT runs it in no form")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
