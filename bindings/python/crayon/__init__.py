"""Crayon quantizes object detectors and runs them.

    crayon.quantize("yolov8n.onnx", "int8.onnx", images="pictures/")
    found = crayon.detect("int8.onnx", "bus.jpg")
    y = crayon.Session("int8.onnx").run(x)

crayon.quantization has the names of onnxruntime.quantization, for scripts that exist already.
"""

from ._library import CrayonError, lib as _lib
from ._plan import Report
from ._quantize import quantize
from ._session import Detections, Detector, Session, detect, read_picture

__version__: str = _lib.cr_version().decode()

__all__ = ["CrayonError", "Detections", "Detector", "Report", "Session", "detect", "quantize",
           "read_picture", "__version__"]
