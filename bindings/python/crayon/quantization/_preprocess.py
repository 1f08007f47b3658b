"""quant_pre_process."""

from __future__ import annotations

from typing import Any

from .._library import call, path_bytes
from .._model import Model
from . import _arguments as arguments


def quant_pre_process(
    input_model: Any = None,
    output_model_path: Any = None,
    skip_optimization: bool = False,
    skip_onnx_shape: bool = False,
    skip_symbolic_shape: bool = False,
    auto_merge: bool = False,
    int_max: int = 2**31 - 1,
    guess_output_rank: bool = False,
    verbose: int = 0,
    save_as_external_data: bool = False,
    all_tensors_to_one_file: bool = False,
    external_data_location: Any = None,
    external_data_size_threshold: int = 1024,
    **deprecated: Any,
) -> None:
    """Writes the model as Crayon prepares it: constants folded, batch normalization in the
    convolutions, shapes inferred. quantize_static and quantize_dynamic do the same by themselves:
    calling this first is allowed and changes nothing in their results. What concerns the way in
    which ONNX Runtime infers shapes has no meaning here and is accepted."""
    if input_model is None:
        input_model = deprecated.pop("input_model_path", None)
    if deprecated:
        raise TypeError("quant_pre_process: no such arguments: " + ", ".join(sorted(deprecated)))
    if input_model is None or output_model_path is None:
        raise TypeError("quant_pre_process: input_model and output_model_path are needed")
    if save_as_external_data:
        raise ValueError("save_as_external_data=True: not supported, a model is one file")
    if skip_optimization:
        raise ValueError("skip_optimization=True: not supported, preparing a model is optimizing it")
    with arguments.model_file(input_model) as path:
        model = Model(path)
        call("cr_model_export", model.pointer, path_bytes(output_model_path), None)
