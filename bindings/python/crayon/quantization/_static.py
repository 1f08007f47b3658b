"""quantize_static."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from .._model import Model
from .._plan import Plan, Spool, Stats, plan_and_export
from . import _arguments as arguments
from ._types import CalibrationMethod, QuantFormat, QuantType

_METHODS = {CalibrationMethod.MinMax: "minmax", CalibrationMethod.Entropy: "entropy",
            CalibrationMethod.Percentile: "percentile"}


def quantize_static(
    model_input: Any,
    model_output: Any,
    calibration_data_reader: Any = None,
    quant_format: QuantFormat = QuantFormat.QDQ,
    op_types_to_quantize: Optional[Sequence[str]] = None,
    per_channel: bool = False,
    reduce_range: bool = False,
    activation_type: QuantType = QuantType.QInt8,
    weight_type: QuantType = QuantType.QInt8,
    nodes_to_quantize: Optional[Sequence[str]] = None,
    nodes_to_exclude: Optional[Sequence[str]] = None,
    use_external_data_format: bool = False,
    calibrate_method: CalibrationMethod = CalibrationMethod.MinMax,
    calibration_providers: Optional[Sequence[Any]] = None,
    extra_options: Optional[Mapping[str, Any]] = None,
    calibration_cache_path: Any = None,
) -> None:
    """Writes `model_output`: weights and activations in integers, whose ranges are those of the data
    that the reader gives.

    model_input: a path or an onnx.ModelProto. calibration_cache_path: statistics (Crayon's, which do
    not depend on the method) are written there, or read if the file exists.

    extra_options: ActivationSymmetric, CalibTensorRangeSymmetric, CalibPercentile (99.999),
    CalibMovingAverage. WeightSymmetric and a few others are taken at the value that describes what
    is done anyway: WeightSymmetric follows weight_type, AddQDQPairToWeight is False. Crayon's own:
    CrayonCalibration, a method of `crayon quantize --calib` in place of calibrate_method;
    CrayonHead, "auto" or "quantize" as its --head; CrayonThreads.
    """
    _check_format(quant_format, activation_type, weight_type, use_external_data_format)
    extra = arguments.Extra(extra_options)
    plan = Plan(int(extra.take("CrayonThreads", 0)))
    _set_plan(plan, extra, per_channel, reduce_range, activation_type, weight_type,
              calibrate_method)
    extra.finish()
    with arguments.model_file(model_input) as path:
        first, rest = _peek(calibration_data_reader, calibration_cache_path)
        model = _open(path, first)
        arguments.choose_nodes(plan, model, nodes_to_quantize, nodes_to_exclude,
                               op_types_to_quantize)
        stats = _statistics(model, plan, first, rest, calibration_cache_path)
        plan_and_export(model, stats, plan, model_output)


def _check_format(quant_format: QuantFormat, activation_type: QuantType, weight_type: QuantType,
                  external: bool) -> None:
    if quant_format is not QuantFormat.QDQ:
        raise ValueError(f"quant_format={quant_format}: not supported, only QuantFormat.QDQ")
    if activation_type is QuantType.QInt8 and weight_type is QuantType.QUInt8:
        raise ValueError("activation_type=QInt8 with weight_type=QUInt8: ONNX Runtime cannot run "
                         "such a model; use QInt8 weights")
    if external:
        raise ValueError("use_external_data_format=True: not supported, a model is one file")


def _set_plan(plan: Plan, extra: arguments.Extra, per_channel: bool, reduce_range: bool,
              activation_type: QuantType, weight_type: QuantType,
              method: CalibrationMethod) -> None:
    plan.set("weights", arguments.weight_name(weight_type))
    plan.set("activations", arguments.activation_name(activation_type))
    plan.set("granularity", "channel" if per_channel else "tensor")
    plan.set("reduce_range", bool(reduce_range))
    symmetric = extra.take_flag("ActivationSymmetric", False)
    symmetric |= extra.take_flag("CalibTensorRangeSymmetric", False)
    plan.set("symmetric", symmetric)
    plan.set("all_samples", True)
    plan.set("calib", _method(extra, method))
    plan.set("head", str(extra.take("CrayonHead", "auto")))
    extra.accept_only("WeightSymmetric", weight_type is QuantType.QInt8)
    for name in ("AddQDQPairToWeight", "DedicatedQDQPair", "ForceQuantizeNoInputCheck",
                 "EnableSubgraph", "SmoothQuant", "UseQDQContribOps", "extra.Sigmoid.nnapi",
                 "ActivationRestrictedAsymmetric"):
        extra.accept_only(name, False)
    for name in ("MatMulConstBOnly", "QDQKeepRemovableActivations"):
        extra.accept_only(name, True)
    extra.take("CalibMaxIntermediateOutputs", None)  # memory only: ours is flat anyway


def _method(extra: arguments.Extra, method: CalibrationMethod) -> str:
    own = extra.take("CrayonCalibration", None)
    average = extra.take_flag("CalibMovingAverage", False)
    percentile = extra.take("CalibPercentile", 99.999)
    if own is not None:
        return str(own)
    if method not in _METHODS:
        raise ValueError(f"calibrate_method={method}: not supported; "
                         f"{', '.join(str(m) for m in _METHODS)} are")
    if average and method is CalibrationMethod.MinMax:
        return "moving-average"
    if method is CalibrationMethod.Percentile:
        return f"percentile:{float(percentile):.17g}"
    return _METHODS[method]


def _peek(reader: Any, cache: Any) -> Any:
    """The first feed, which tells the sizes that a model leaves open, and the reader."""
    if cache is not None and Path(cache).is_file():
        return None, None
    if reader is None:
        raise ValueError("calibration_data_reader is missing (or a calibration_cache_path that "
                         "exists)")
    first = reader.get_next()
    if first is None:
        raise ValueError("no calibration data: the reader gave nothing")
    return first, reader


def _open(path: Path, feed: Any) -> Model:
    for value in feed.values() if hasattr(feed, "values") else ():
        shape = getattr(value, "shape", ())
        if len(shape) == 4:
            return Model(path, imgsz=(int(shape[2]), int(shape[3])))
    return Model(path)


def _statistics(model: Model, plan: Plan, first: Any, reader: Any, cache: Any) -> Stats:
    if first is None:
        return Stats.load(cache)
    with Spool(model) as spool:
        feed = first
        while feed is not None:
            spool.add_feed(feed)
            feed = reader.get_next()
        stats = spool.calibrate(plan, None)
    if cache is not None:
        stats.save(cache)
    return stats
