"""quantize_dynamic."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from .._model import Model
from .._plan import Plan, plan_and_export
from . import _arguments as arguments
from ._types import QuantType


def quantize_dynamic(
    model_input: Any,
    model_output: Any,
    op_types_to_quantize: Optional[Sequence[str]] = None,
    per_channel: bool = False,
    reduce_range: bool = False,
    weight_type: QuantType = QuantType.QInt8,
    nodes_to_quantize: Optional[Sequence[str]] = None,
    nodes_to_exclude: Optional[Sequence[str]] = None,
    use_external_data_format: bool = False,
    extra_options: Optional[Mapping[str, Any]] = None,
) -> None:
    """Writes `model_output`: weights in integers, activations in the integers of ranges that each run
    finds for itself (DynamicQuantizeLinear, ConvInteger, MatMulInteger). No data is needed.

    QUInt8 weights use their whole range with a zero point per tensor; per channel they are QInt8 ones
    moved by 128, since ONNX Runtime's ConvInteger takes one zero point. extra_options: CrayonHead, "auto" (the default) or
    "float" for last convolutions that stay float; others are taken at the value that describes what
    is done anyway (MatMulConstBOnly is True).
    """
    if use_external_data_format:
        raise ValueError("use_external_data_format=True: not supported, a model is one file")
    extra = arguments.Extra(extra_options)
    plan = Plan()
    plan.mode("dynamic")
    plan.set("weights", arguments.weight_name(weight_type))
    plan.set("granularity", "channel" if per_channel else "tensor")
    plan.set("reduce_range", bool(reduce_range))
    plan.set("head", str(extra.take("CrayonHead", "auto")))
    extra.accept_only("WeightSymmetric", per_channel or weight_type is QuantType.QInt8)
    extra.accept_only("MatMulConstBOnly", True)
    for name in ("ActivationSymmetric", "ActivationRestrictedAsymmetric", "EnableSubgraph",
                 "ForceQuantizeNoInputCheck", "extra.Sigmoid.nnapi"):
        extra.accept_only(name, False)
    extra.finish()
    with arguments.model_file(model_input) as path:
        model = Model(path)
        arguments.choose_nodes(plan, model, nodes_to_quantize, nodes_to_exclude,
                               op_types_to_quantize)
        plan_and_export(model, None, plan, model_output)
