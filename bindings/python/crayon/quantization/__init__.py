"""The interface of onnxruntime.quantization over Crayon: an existing script changes its import.

    from crayon.quantization import CalibrationDataReader, QuantType, quantize_static

Names, arguments, defaults and what they mean are ONNX Runtime's (1.31): the nodes that are named are
excluded, the types that are given are used, weights have one scale per tensor unless per_channel.
Two things are Crayon's. *Placement*: quantization stands where integer kernels read (inputs of
convolutions, gemms and matrix products with constant weights) and nowhere else; arithmetic between
them, such as the decoding of boxes, stays float whether it is named in nodes_to_exclude or not.
That is more accurate, and faster in Crayon. *Refusal*: what has no effect here is an error that
names it, never ignored; above all a node name that the model does not have.
"""

from ._dynamic import quantize_dynamic
from ._preprocess import quant_pre_process
from ._static import quantize_static
from ._types import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType

__all__ = ["CalibrationDataReader", "CalibrationMethod", "QuantFormat", "QuantType",
           "quant_pre_process", "quantize_dynamic", "quantize_static"]
