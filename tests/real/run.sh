#!/bin/sh
# tests/real/run.sh BUILD: what the project promises on real models and pictures.
#
# Needs the data folder (CRAYON_DATA, else ../shared/data) and, for judging by others, a Python with
# bench/peers/requirements.txt (CRAYON_PEERS_PYTHON). What is missing is skipped aloud. Prints PASS,
# FAIL or SKIP lines with the figures, then "N passed, N failed, N skipped"; exit 1 if one failed.
set -u
build=$(cd "${1:?usage: tests/real/run.sh BUILD}" && pwd) || exit 2
cd "$(dirname "$0")/../.." || exit 2
data=${CRAYON_DATA:-../shared/data}
python=${CRAYON_PEERS_PYTHON:-}
crayon=$build/crayon
if [ ! -d "$data/models" ]; then
    echo "SKIP real models: $data is not there"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# crayon eval's mAP50-95 against a figure that ONNX Runtime, OpenCV and pycocotools gave.
float_map() { # model, figure
    "$crayon" eval "$data/models/$1.onnx" --images "$data/coco-dev/images" \
        --labels "$data/coco-dev/instances.json" --json >"$work/eval.json" || {
        echo "FAIL $1: crayon eval failed"
        return
    }
    python3 - "$work/eval.json" "$1" "$2" <<'END'
import json, sys
ap, want = json.load(open(sys.argv[1]))["metrics"]["AP"], float(sys.argv[3])
good = abs(ap - want) <= 0.0005
print(f"{'PASS' if good else 'FAIL'} {sys.argv[2]}: float mAP50-95 {ap:.4f} (expected {want:.4f} +- 0.0005)")
END
}

# The default command; then Crayon judges the file, and others do. Of three draws of 96 pictures agreement was
# at least .981 (yolov8n), .940 (yolox_nano), .909 (nanodet_m_320); the limits leave room for the noise of 80
# pictures.
quantize() { # model, float mAP, least agreement
    python3 tests/real/cost.py 60 300 "$crayon" quantize "$data/models/$1.onnx" \
        -o "$work/$1-int8.onnx" --images "$data/coco-calib/images" --save-recipe "$work/$1.json"
    [ -e "$work/$1-int8.onnx" ] || return
    own_agreement "$1" "$2" "$3"
    as_trained "$1"
    [ -n "$python" ] || { echo "SKIP $1: judged by ONNX Runtime: CRAYON_PEERS_PYTHON is not set"; return; }
    if [ "$1" = yolov8n ]; then
        "$python" tests/peers/quantized_coco.py "$data/models/$1.onnx" "$work/$1-int8.onnx"
        "$python" tests/peers/ir_out.py "$crayon" --quantized "$work/$1-int8.onnx"
        "$python" tests/peers/ncnn_models.py "$crayon"
    fi
    "$python" tests/peers/tensors_ort.py "$build/tests/peers-run_model" "$work/$1-int8.onnx" \
        "$data/seed/bus.jpg" "$data/seed/frame_0000.jpg"
}

# Training with this file's recipe in the loop has seen what a file that it ends in does.
as_trained() { # model
    line=$("$build/tests/peers-train_forward" "$work/$1-int8.onnx" "$data/seed/frame_0000.jpg" \
        "$work/trained.onnx" 2>/dev/null) && echo "PASS $1: a training's forward and its file: $line" ||
        echo "FAIL $1: a training's forward and its file: $line"
}

own_agreement() { # model, float mAP, least agreement
    "$crayon" eval "$work/$1-int8.onnx" --against "$data/models/$1.onnx" \
        --images "$data/coco-dev/images" --labels "$data/coco-dev/instances.json" \
        --json >"$work/eval.json" || {
        echo "FAIL $1: crayon eval of the INT8 file failed"
        return
    }
    python3 - "$work/eval.json" "$1" "$2" "$3" <<'END'
import json, sys
j = json.load(open(sys.argv[1]))
ap, same = j["metrics"]["AP"], j["agreement"]
wanted, least = float(sys.argv[3]), float(sys.argv[4])
good = ap >= wanted - 0.008 and same >= least
print(f"{'PASS' if good else 'FAIL'} {sys.argv[2]}: INT8 in Crayon: mAP {ap:.4f} (float {wanted:.4f}, limit 0.008 below), agreement {same:.4f} (at least {least})")
END
}

outputs() { # model
    [ -n "$python" ] || { echo "SKIP outputs of $1: CRAYON_PEERS_PYTHON is not set"; return; }
    "$python" tests/peers/outputs_ort.py "$build/tests/peers-run_model" "$data/models/$1.onnx" \
        "$data/seed/bus.jpg"
}

# Weights in 16 bits: what Crayon writes, both programs read alike.
halves() { # model
    [ -n "$python" ] || { echo "SKIP 16 bits of $1: CRAYON_PEERS_PYTHON is not set"; return; }
    for mode in fp16 bf16; do
        "$crayon" quantize "$data/models/$1.onnx" -o "$work/$1-$mode.onnx" --mode $mode >/dev/null
        "$python" tests/peers/outputs_ort.py "$build/tests/peers-run_model" "$work/$1-$mode.onnx" \
            "$data/seed/bus.jpg"
    done
    # There ONNX Runtime rounds every tensor to 11 bits, we none: 0.007 was seen.
    "$crayon" quantize "$data/models/$1.onnx" -o "$work/$1-graph.onnx" --mode fp16-graph >/dev/null
    "$python" tests/peers/outputs_ort.py "$build/tests/peers-run_model" "$work/$1-graph.onnx" \
        "$data/seed/bus.jpg" --limit 0.015
}

# Few bits and wide activations: outputs where only weights are quantized, else layer by layer.
low_bits() { # model
    [ -n "$python" ] || { echo "SKIP low bits of $1: CRAYON_PEERS_PYTHON is not set"; return; }
    "$python" tests/peers/low_bits.py "$crayon" "$build/tests/peers-run_model" \
        "$data/models/$1.onnx" "$data/seed/bus.jpg"
    "$crayon" quantize "$data/models/$1.onnx" -o "$work/low.onnx" --images "$data/coco-calib/images" \
        --samples 16 --save-stats "$work/stats.json" >/dev/null
    for plan in '--weights int4' '--weights int2' '--weights int1' '--activations int16' \
        '--activations uint16'; do
        "$crayon" quantize "$data/models/$1.onnx" -o "$work/low.onnx" --stats "$work/stats.json" \
            $plan >/dev/null
        echo "$1 $plan:"
        "$python" tests/peers/tensors_ort.py "$build/tests/peers-run_model" "$work/low.onnx" \
            "$data/seed/bus.jpg" | grep -E '^(PASS|FAIL)'
    done
}

# Files that ONNX Runtime quantized: layer by layer, and by their detections. Dynamic quantization
# has no layers to compare: .9975 was measured on these pictures.
foreign() {
    static=$data/models/foreign/yolov8n_ort_static_qdq.onnx
    dynamic=$data/models/foreign/yolov8n_ort_dynamic.onnx
    [ -n "$python" ] || { echo "SKIP foreign models: CRAYON_PEERS_PYTHON is not set"; return; }
    "$python" tests/peers/tensors_ort.py "$build/tests/peers-run_model" "$static" \
        "$data/seed/bus.jpg"
    for model in "$static" "$dynamic"; do
        "$crayon" eval "$model" --images "$data/coco-dev/images" --limit 10 \
            --labels "$data/coco-dev/instances.json" --save-detections "$work/d.json" >/dev/null ||
            echo "FAIL $model: crayon eval failed"
        "$python" tests/peers/detections_ort.py "$model" "$work/d.json" 10 0.97
    done
}

# TFLite files of Ultralytics: mAP beside LiteRT's, as the file and as the ONNX file made of it, and layer
# by layer. LiteRT's own sets of kernels are .0076 (full integer) and .0144 (dynamic range) apart on these
# 80 pictures; ours must lie within the limit of the published figure (XNNPACK's kernels).
tflite() { # model, published mAP, limit
    file=$data/models/foreign/$1.tflite
    "$crayon" convert "$file" -o "$work/$1.onnx" >/dev/null
    for model in "$file" "$work/$1.onnx"; do
        "$crayon" eval "$model" --images "$data/coco-dev/images" \
            --labels "$data/coco-dev/instances.json" --json >"$work/eval.json" || {
            echo "FAIL $model: crayon eval failed"
            continue
        }
        python3 - "$work/eval.json" "$(basename "$model")" "$2" "$3" <<'END'
import json, sys
ap = json.load(open(sys.argv[1]))["metrics"]["AP"]
want, limit = float(sys.argv[3]), float(sys.argv[4])
good = abs(ap - want) <= limit
print(f"{'PASS' if good else 'FAIL'} {sys.argv[2]}: mAP50-95 {ap:.4f} (LiteRT {want:.4f} +- {limit})")
END
    done
    [ "$1" = yolov8n_full_integer_quant ] || return
    [ -n "$python" ] || { echo "SKIP $1 layer by layer: CRAYON_PEERS_PYTHON is not set"; return; }
    "$python" tests/peers/tflite_layers.py "$build/tests/peers-run_model" "$file" \
        "$data/seed/bus.jpg" 2>/dev/null
}

# TFLite files of ours in LiteRT: full integer loses at most half a point of mAP per channel and two per
# tensor (measured: .3972 and .4062 of .4004; agreement .970 and .958), and int8 weights take 27 % of the room.
tflite_out() { # granularity, largest drop, least agreement
    [ -n "$python" ] || { echo "SKIP TFLite out: CRAYON_PEERS_PYTHON is not set"; return; }
    "$crayon" quantize "$data/models/yolov8n.onnx" -o "$work/yolov8n-$1.tflite" --granularity "$1" \
        --images "$data/coco-calib/images" >/dev/null
    CRAYON_DATA=$data "$python" tests/peers/tflite_coco.py yolov8n "$work/yolov8n-$1.tflite" \
        --drop "$2" --agreement "$3" --size .27 2>/dev/null
    "$python" tests/peers/tflite_layers.py "$build/tests/peers-run_model" "$work/yolov8n-$1.tflite" \
        "$data/seed/bus.jpg" 2>/dev/null
}

bus() {
    "$crayon" detect "$data/models/yolov8n.onnx" "$data/seed/bus.jpg" --json - >"$work/bus.json"
    python3 - "$work/bus.json" <<'END'
import collections, json, sys
found = collections.Counter(d["name"] for d in json.load(open(sys.argv[1]))["detections"])
good = found["person"] == 4 and found["bus"] == 1
print(f"{'PASS' if good else 'FAIL'} bus.jpg: {dict(found)} (4 persons and a bus expected)")
END
}

# The script that people write for ONNX Runtime, with its import changed.
seed_recipe() {
    if [ -z "$python" ]; then
        echo "SKIP seed recipe: CRAYON_PEERS_PYTHON is not set"
        return
    fi
    CRAYON_LIBRARY=$build/libcrayon_python.so "$python" tests/real/seed_recipe.py "$crayon" "$data" >"$work/seed.txt" 2>&1
    status=$?
    if grep -q '^SKIP' "$work/seed.txt"; then
        cat "$work/seed.txt"
    elif [ $status = 0 ]; then
        echo "PASS seed recipe: $(paste -sd ';' "$work/seed.txt")"
    else
        echo "FAIL seed recipe: $(paste -sd ';' "$work/seed.txt")"
    fi
}

everything() {
    bus
    float_map yolov8n 0.4004
    float_map yolox_nano 0.3100
    quantize yolov8n 0.4004 0.965
    quantize yolov8n_opset17 0.4004 0.965
    quantize yolox_nano 0.3100 0.92
    for model in yolov8n yolov8n-pose nanodet_m_320 yolox_nano; do outputs $model; done
    for model in yolov8n yolox_nano; do halves $model; done
    for model in yolov8n yolox_nano; do low_bits $model; done
    foreign
    sh tests/real/foreign.sh "$build"
    tflite yolov8n_full_integer_quant 0.3366 0.003
    tflite yolov8n_int8 0.3880 0.003
    tflite_out channel .005 .95
    tflite_out tensor .02 .93
    seed_recipe
}

everything 2>&1 | tee "$work/log"
passed=$(grep -c '^PASS' "$work/log")
failed=$(grep -c '^FAIL\|^Traceback' "$work/log")
echo "$passed passed, $failed failed, $(grep -c '^SKIP' "$work/log") skipped"
[ "$failed" = 0 ]
