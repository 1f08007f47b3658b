"""crayon.quantize: what the program's `crayon quantize` does."""

from __future__ import annotations

from typing import Any, Optional

from ._library import Progress, call, path_bytes
from ._model import ImageSize, Model
from ._plan import Plan, Report, Stats, calibrate, plan_and_export


def quantize(model: Any, output: Any, *, images: Any = None, stats: Any = None,
             mode: str = "static", save_stats: Any = None, save_recipe: Any = None, imgsz: Optional[ImageSize] = None,
             threads: int = 0, progress: Optional[Progress] = None, **options: Any) -> Report:
    """Writes an INT8 model made from a float one.

        crayon.quantize("yolov8n.onnx", "yolov8n-int8.onnx", images="pictures/")

    mode: "static" (from pictures); "dynamic" (ranges of each run) and "weights" need no pictures.
    images: a folder, .txt list or pattern of pictures; a list of files; or arrays, one after the
    other: uint8 [H,W,3] RGB pictures, or float32 tensors as the network reads them. stats: a file of
    statistics in their place (save_stats writes one). Weights are rounded by what the pictures show
    if they are files; arrays and statistics leave them rounded to the nearest. Further options are those of
    `crayon quantize --help` with _ for -: weights="uint8", keep_float=["/model.22/*"],
    symmetric=True.
    """
    if mode == "static" and (images is None) == (stats is None):
        raise TypeError("give images or stats, and not both")
    if mode != "static" and not (images is None and stats is None and save_stats is None):
        raise TypeError(f"mode {mode!r} takes neither images nor statistics")
    plan = Plan(threads)
    plan.mode(mode)
    for name, value in options.items():
        plan.set(name, value)
    source = Model(model, imgsz=imgsz)
    seen = None
    if mode == "static":
        seen = Stats.load(stats) if stats is not None else calibrate(source, images, plan, progress)
    report = plan_and_export(source, seen, plan, output, images=images if stats is None else None,
                             progress=progress)
    if seen is not None and save_stats is not None:
        seen.save(save_stats)
    if save_recipe is not None:
        call("cr_model_save_recipe", source.pointer, path_bytes(save_recipe))
    return report
