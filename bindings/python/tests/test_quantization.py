"""The interface of onnxruntime.quantization."""

import inspect
import unittest
from pathlib import Path

from common import SAMPLE, Case, crayon, np, tensors
from crayon import quantization
from crayon.quantization import (CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType,
                                 quant_pre_process, quantize_static)


class Reader(CalibrationDataReader):
    def __init__(self, count=3, name="images"):
        self.feeds = iter([{name: x} for x in tensors(count)])

    def get_next(self):
        return next(self.feeds, None)


class Plain:
    """A reader that does not know of the base class."""

    get_next = Reader.get_next

    def __init__(self):
        self.feeds = Reader().feeds


class SignatureTest(unittest.TestCase):
    def test_equal_to_onnxruntime(self):
        try:
            from onnxruntime import quantization as theirs
        except ImportError:
            self.skipTest("onnxruntime is not installed")
        for name in quantization.__all__:
            ours, other = getattr(quantization, name), getattr(theirs, name)
            if inspect.isfunction(ours):
                a, b = inspect.signature(ours).parameters, inspect.signature(other).parameters
                self.assertEqual([p for p in a if p not in ("deprecated",)],
                                 [p for p in b if p not in ("deprecated_kwargs",)], name)
                for p in a:
                    if p in b:
                        self.assertEqual(str(a[p].default), str(b[p].default), f"{name}: {p}")
            elif issubclass(ours, CalibrationDataReader):
                self.assertEqual({m for m in vars(other) if not m.startswith("_")},
                                 {m for m in vars(ours) if not m.startswith("_")})
            else:
                self.assertEqual({m.name: m.value for m in ours},
                                 {m.name: m.value for m in other})


class StaticTest(Case):
    def run_static(self, reader=None, **options):
        quantize_static(SAMPLE, self.out, Reader() if reader is None else reader, **options)
        return crayon.Session(self.out).model

    def test_it_writes_a_model(self):
        model = self.run_static()
        self.assertTrue(model.quantized)
        y = crayon.Session(self.out).run(next(tensors(1)))
        self.assertTrue(np.isfinite(y).all())

    def test_any_reader(self):
        self.run_static()
        kept = self.out.read_bytes()
        self.run_static(Plain())
        self.assertEqual(self.out.read_bytes(), kept)
        self.assertIsInstance(Plain(), CalibrationDataReader)
        self.assertEqual(sum(1 for _ in Reader(4)), 4)

    def test_arguments_reach_the_plan(self):
        """Each argument alone gives another file than the defaults do."""
        self.run_static()
        files = {self.out.read_bytes(): "default"}
        for options in (
                {"per_channel": True}, {"reduce_range": True},
                {"activation_type": QuantType.QUInt8},
                {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8},
                {"calibrate_method": CalibrationMethod.Percentile,
                 "extra_options": {"CalibPercentile": 99.0}},
                {"extra_options": {"CalibMovingAverage": True}},
                {"extra_options": {"ActivationSymmetric": True}},
                {"extra_options": {"CrayonCalibration": "mse"}},
                {"extra_options": {"CrayonHead": "quantize"}},
                {"op_types_to_quantize": ["Conv"], "nodes_to_exclude": ["/stem/conv/Conv"]},
                {"nodes_to_quantize": ["/stem/conv/Conv"]}):
            self.run_static(**options)
            data = self.out.read_bytes()
            self.assertNotIn(data, files, f"{options} as {files.get(data)}")
            files[data] = options

    def test_excluded_node_stays_float(self):
        model = self.run_static(nodes_to_exclude=["/stem/conv/Conv", "/stem/act/Sigmoid"])
        self.run_static(nodes_to_quantize=[n.name for n in model.file_nodes
                                           if n.op == "Conv" and n.name != "/stem/conv/Conv"])
        by_list = self.out.read_bytes()
        self.run_static(nodes_to_exclude=["/stem/conv/Conv"])
        self.assertEqual(self.out.read_bytes(), by_list)

    def test_names_are_exact(self):
        wrong = ["/stem/conv/Con", "/stem/*", "", "/stem/conv/Conv "]
        for name in wrong:
            self.refuses(ValueError, ["nodes_to_exclude", repr(name)], self.run_static,
                         nodes_to_exclude=[name])
        self.refuses(ValueError, "/stem/conv/Conv", self.run_static,
                     nodes_to_exclude=["/stem/conv/Con"])
        self.refuses(ValueError, ["nodes_to_quantize", "nearest"], self.run_static,
                     nodes_to_quantize=["stem"])
        self.refuses(TypeError, "list", self.run_static, nodes_to_exclude="/stem/conv/Conv")

    def test_missing_comma_is_named(self):
        fused = "/stem/conv/Conv" "/stem/act/Sigmoid"
        self.refuses(ValueError, ["comma", "'/stem/conv/Conv'", "'/stem/act/Sigmoid'"],
                     self.run_static, nodes_to_exclude=[fused])

    def test_unknown_options_are_refused_by_name(self):
        self.refuses(ValueError, "Fancy", self.run_static, extra_options={"Fancy": 1})
        self.refuses(ValueError, "SmoothQuant", self.run_static, extra_options={"SmoothQuant": True})
        self.run_static(extra_options={"SmoothQuant": False, "WeightSymmetric": True})

    def test_unsupported_is_refused_by_name(self):
        run = self.run_static
        self.refuses(ValueError, "QOperator", run, quant_format=QuantFormat.QOperator)
        self.refuses(ValueError, "Distribution", run,
                     calibrate_method=CalibrationMethod.Distribution)
        self.refuses(ValueError, "QFLOAT8E4M3FN", run, weight_type=QuantType.QFLOAT8E4M3FN)
        self.refuses(ValueError, "QUInt8", run, activation_type=QuantType.QInt8,
                     weight_type=QuantType.QUInt8)
        self.refuses(TypeError, "weight_type", run, weight_type="int8")
        self.refuses(ValueError, "use_external", run, use_external_data_format=True)
        self.refuses(ValueError, "nothing", run, op_types_to_quantize=["LSTM"])

    def test_bad_readers(self):
        run = self.run_static
        self.refuses(ValueError, "calibration_data_reader", quantize_static, SAMPLE, self.out)
        self.refuses(ValueError, "no calibration data", run, Reader(0))
        self.refuses(ValueError, ["'pixels'", "'images'"], run, Reader(name="pixels"))

        class Wrong(Reader):
            def __init__(self, array):
                self.feeds = iter([{"images": array}])

        self.refuses(TypeError, "float64", run, Wrong(np.zeros((1, 3, 256, 256))))
        self.refuses(crayon.CrayonError, ["images", "256", "64"], run,
                     Wrong(np.zeros((1, 3, 64, 64), "f4")))
        self.refuses(ValueError, "[1, 3, 256, 256]", run, Wrong(np.zeros((3, 256, 256), "f4")))
        self.refuses(crayon.CrayonError, ["images", "NaN"], run,
                     Wrong(np.full((1, 3, 256, 256), np.nan, "f4")))

    def test_cache(self):
        cache = self.folder / "cache.json"
        self.run_static(calibration_cache_path=cache)
        kept = self.out.read_bytes()
        quantize_static(str(SAMPLE), str(self.out), calibration_cache_path=str(cache))
        self.assertEqual(self.out.read_bytes(), kept)

    def test_model_proto(self):
        class Proto:
            def SerializeToString(self):
                return Path(SAMPLE).read_bytes()

        self.run_static()
        kept = self.out.read_bytes()
        quantize_static(Proto(), self.out, Reader())
        self.assertEqual(self.out.read_bytes(), kept)

    def test_pre_process(self):
        ready = self.folder / "ready.onnx"
        quant_pre_process(SAMPLE, ready)
        x = next(tensors(1))
        np.testing.assert_array_equal(crayon.Session(SAMPLE).run(x), crayon.Session(ready).run(x))
        self.run_static()
        kept = self.out.read_bytes()
        quantize_static(ready, self.out, Reader())
        self.assertEqual(self.out.read_bytes(), kept)
        self.assertRaises(TypeError, quant_pre_process, SAMPLE, ready, nothing=1)


class DynamicTest(Case):
    def write(self, **options):
        quantization.quantize_dynamic(SAMPLE, self.out, **options)
        return self.out.read_bytes()

    def test_it_runs_without_data(self):
        self.write()
        session = crayon.Session(self.out)
        self.assertEqual(session.model.precision, "int8, dynamic")
        x = next(tensors(1))
        a, b = crayon.Session(SAMPLE).run(x), session.run(x)
        # boxes of 256 pixels, weights per tensor: differences of 0.6 pixels on average were measured
        self.assertLess(np.abs(a - b).mean(), 2)

    def test_arguments_reach_the_plan(self):
        files = {self.write(): "default"}
        for options in ({"per_channel": True}, {"reduce_range": True},
                        {"weight_type": QuantType.QUInt8}, {"extra_options": {"CrayonHead": "float"}},
                        {"nodes_to_exclude": ["/stem/conv/Conv"]},
                        {"nodes_to_quantize": ["/stem/conv/Conv"]}):
            data = self.write(**options)
            self.assertNotIn(data, files, f"{options} as {files.get(data)}")
            files[data] = options

    def test_signed_and_unsigned_weights_give_the_same(self):
        x, found = next(tensors(1)), []
        for kind in (QuantType.QInt8, QuantType.QUInt8):
            self.write(weight_type=kind, per_channel=True)
            found.append(crayon.Session(self.out).run(x))
        np.testing.assert_array_equal(*found)

    def test_refusals(self):
        run = quantization.quantize_dynamic
        self.refuses(ValueError, "QInt16", run, SAMPLE, self.out, weight_type=QuantType.QInt16)
        self.refuses(ValueError, "Fancy", run, SAMPLE, self.out, extra_options={"Fancy": 1})
        self.refuses(ValueError, "nearest", run, SAMPLE, self.out, nodes_to_exclude=["nobody"])

    def test_onnxruntime_gives_the_same_layer(self):
        """The first layer of the sample, alone in a file, in both."""
        try:
            import onnx
            import onnxruntime
        except ImportError:
            self.skipTest("onnx and onnxruntime are not installed")
        x = next(tensors(1))
        for options in ({}, {"per_channel": True}, {"weight_type": QuantType.QUInt8}):
            self.write(**options)
            cut = self.folder / "cut.onnx"
            model = onnx.load(self.out)
            conv = next(n for n in model.graph.node if n.op_type == "ConvInteger")
            name = next(n.output[0] for n in model.graph.node if n.op_type == "Add")
            del model.graph.output[:]
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
            onnx.save(model, cut)
            self.assertTrue(conv.input[0].startswith("images"))
            off = onnxruntime.SessionOptions()
            off.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            theirs = onnxruntime.InferenceSession(str(cut), off).run(None, {"images": x})[0]
            np.testing.assert_array_equal(crayon.Session(cut).run(x), theirs)


if __name__ == "__main__":
    unittest.main()
