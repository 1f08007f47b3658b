"""Small TFLite models, made with the schema's object interface: float32, or integers with ranges that a
run of the float model gave."""
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

T = schema.TensorType
KINDS = {"int8": (T.INT8, np.int8, -128, 127), "int16": (T.INT16, np.int16, -32768, 32767),
         "uint8": (T.UINT8, np.uint8, 0, 255)}
PLAIN = {np.dtype(np.float32): T.FLOAT32, np.dtype(np.int32): T.INT32, np.dtype(np.int64): T.INT64,
         np.dtype(np.int8): T.INT8, np.dtype(np.bool_): T.BOOL, np.dtype(np.float16): T.FLOAT16}
# Output parameters that TFLite's kernels insist on.
FIXED = {"int8": {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0),
                  "L2_NORMALIZATION": (1 / 128, 0), "LOG_SOFTMAX": (16 / 256, 127)},
         "int16": {"LOGISTIC": (1 / 32768, 0), "SOFTMAX": (1 / 32768, 0), "TANH": (1 / 32768, 0)},
         "uint8": {"LOGISTIC": (1 / 256, 0), "SOFTMAX": (1 / 256, 0), "TANH": (1 / 128, 128)}}


def options(kind, **fields):
    o = getattr(schema, kind + "T")()
    for key, value in fields.items():
        assert hasattr(o, key), (kind, key)
        setattr(o, key, value)
    return kind, o


class Net:
    """kind None: float32, "dynamic": int8 weights; else integers, whose ranges come from `ranges`."""

    def __init__(self, kind=None, ranges=None):
        self.kind, self.ranges = kind, ranges or {}
        self.tensors, self.ops, self.codes = [], [], []
        self.buffers = [schema.BufferT()]
        self.inputs, self.outputs, self.names = [], [], set()

    @property
    def integers(self):
        return self.kind in KINDS

    def _tensor(self, name, shape, kind, scale=None, zero=None, axis=0, data=None):
        t = schema.TensorT()
        while name in self.names:
            name += "_"
        self.names.add(name)
        t.name, t.shape, t.type, t.buffer = name.encode(), [int(d) for d in shape], kind, 0
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale, q.zeroPoint = [float(s) for s in np.ravel(scale)], [int(z) for z in np.ravel(zero)]
            q.quantizedDimension = axis
            t.quantization = q
        if data is not None:
            b = schema.BufferT()
            b.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            t.buffer = len(self.buffers)
            self.buffers.append(b)
        self.tensors.append(t)
        return len(self.tensors) - 1

    def params(self, name, op=None):
        """(scale, zero point) of an activation."""
        if op in FIXED[self.kind]:
            return FIXED[self.kind][op]
        lo, hi = self.ranges[name]
        lo, hi = min(lo, 0), max(hi, 0)
        if self.kind == "int16":
            return max(-lo, hi, 1e-6) / 32767, 0
        scale = max(hi - lo, 1e-6) / 255
        low = KINDS[self.kind][2]
        return scale, int(np.clip(round(low - lo / scale), low, low + 255))

    def act(self, name, shape, op=None, like=None):
        if not self.integers:
            return self._tensor(name, shape, T.FLOAT32)
        q = self.tensors[like].quantization if like is not None else None
        scale, zero = (q.scale[0], q.zeroPoint[0]) if q else self.params(name, op)
        return self._tensor(name, shape, KINDS[self.kind][0], scale, zero)

    def plain(self, name, shape, kind):
        return self._tensor(name, shape, kind)

    def input(self, shape, name="x"):
        i = self.act(name, shape)
        self.inputs.append(i)
        return i

    def array(self, values, name="c"):
        values = np.asarray(values)
        if values.dtype == np.int64:
            values = values.astype(np.int32)
        return self._tensor(name, values.shape, PLAIN[values.dtype], data=values)

    def weight(self, values, axis=None, name="w"):
        """Symmetric; per channel along `axis`."""
        values = np.asarray(values, np.float32)
        if self.kind is None:
            return self.array(values, name)
        others = tuple(d for d in range(values.ndim) if d != axis)
        largest = np.abs(values).max(axis=others if axis is not None else None, keepdims=True)
        scale = np.maximum(largest, 1e-6).astype(np.float32) / np.float32(127)
        codes = np.clip(np.rint(values / scale), -127, 127)
        zero = np.zeros(scale.size, int)
        if self.kind == "uint8":
            return self._tensor(name, values.shape, T.UINT8, scale, zero + 128, axis or 0,
                                (codes + 128).astype(np.uint8))
        return self._tensor(name, values.shape, T.INT8, scale, zero, axis or 0, codes.astype(np.int8))

    def constant(self, values, name="c"):
        """An operand of an elementwise operator."""
        values = np.asarray(values, np.float32)
        if not self.integers:
            return self.array(values, name)
        self.ranges[name] = (float(values.min()), float(values.max()))
        scale, zero = self.params(name)
        _, dtype, low, high = KINDS[self.kind]
        codes = np.clip(np.rint(values / np.float32(scale)) + zero, low, high).astype(dtype)
        return self._tensor(name, values.shape, KINDS[self.kind][0], scale, zero, 0, codes)

    def bias(self, values, x, w, name="b"):
        values = np.asarray(values, np.float32)
        if not self.integers:
            return self.array(values, name)
        scale = np.float32(self.tensors[x].quantization.scale[0]) * np.asarray(
            self.tensors[w].quantization.scale, np.float32)
        wide = self.kind == "int16"
        codes = np.rint(values / scale).astype(np.int64 if wide else np.int32)
        return self._tensor(name, values.shape, T.INT64 if wide else T.INT32, scale,
                            np.zeros(scale.size, int), 0, codes)

    def op(self, name, inputs, outputs, opts=None):
        number = getattr(schema.BuiltinOperator, name)
        if number not in self.codes:
            self.codes.append(number)
        o = schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = self.codes.index(number), list(inputs), list(outputs)
        if opts:
            o.builtinOptionsType, o.builtinOptions = getattr(schema.BuiltinOptions, opts[0]), opts[1]
        self.ops.append(o)
        return outputs[0]

    def model(self, outputs):
        self.outputs = list(outputs)
        g = schema.SubGraphT()
        g.tensors, g.inputs, g.outputs, g.operators = self.tensors, self.inputs, self.outputs, self.ops
        g.name = b"main"
        m = schema.ModelT()
        m.version, m.subgraphs, m.buffers, m.description = 3, [g], self.buffers, b"tests"
        m.operatorCodes = []
        for number in self.codes:
            c = schema.OperatorCodeT()
            c.builtinCode, c.deprecatedBuiltinCode, c.version = number, min(number, 127), 1
            m.operatorCodes.append(c)
        b = flatbuffers.Builder(1 << 16)
        b.Finish(m.Pack(b), b"TFL3")
        return bytes(b.Output())
