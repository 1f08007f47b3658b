"""The models of the race, and the files of each that are not made by the suite. No imports: the
parent of the race stays small, since a child's peak memory starts at its parent's."""
import os

# side: input pixels; div and rgb: how a picture becomes its tensor; fit: where it is put; scores: the
# axis and the first place of the class scores in the output, what a converted model is checked by.
MODELS = {
    "yolov8n": {"side": 640, "div": 255.0, "rgb": True, "fit": "letterbox", "scores": (1, 4)},
    "yolox_nano": {"side": 416, "div": 1.0, "rgb": False, "fit": "topleft", "scores": (2, 4)},
}

# Outputs that are the same picture seen by other arithmetic have at least this cosine; wrong layouts,
# lost layers and mixed-up pictures are far below. INT8 files are judged by their mAP elsewhere.
SAME = 0.9
ABSENT = "there is no such file, and none can be made without TensorFlow"


def cosine(a, b):
    a, b = a.ravel().astype("float64"), b.ravel().astype("float64")
    return float(a @ b / max((a @ a * (b @ b)) ** 0.5, 1e-30))


def onnx_files(data, work, model):
    foreign = os.path.join(data, "models", "foreign")
    return {"onnx": os.path.join(data, "models", model + ".onnx"),
            "onnx-int8": os.path.join(work, model + "-int8.onnx"),
            "onnx-static": os.path.join(foreign, model + "_ort_static_qdq.onnx"),
            "onnx-dynamic": os.path.join(foreign, model + "_ort_dynamic.onnx")}


def other_files(data, model):
    foreign = os.path.join(data, "models", "foreign")
    return {"nncf": os.path.join(foreign, model + "_nncf_int8.xml"),
            "tflite-full": os.path.join(foreign, model + "_full_integer_quant.tflite"),
            "tflite-dynamic": os.path.join(foreign, model + "_int8.tflite")}
