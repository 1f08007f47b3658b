#!/bin/sh
# bench/run.sh BUILD [OPTIONS]: make bench. Times the sample model (float and INT8), and, where the real
# models are, YOLOv8n and YOLOX-nano: against the peers in one run if CRAYON_PEERS_PYTHON has them (OPTIONS
# go to bench/peers/bench.py: --save, --readme, --rounds N, --minutes M), else alone.
#
# The peers' Python:
#   python3 -m venv VENV && VENV/bin/pip install -r bench/peers/requirements.txt
#   VENV/bin/pip install --no-deps -r bench/peers/requirements-convert.txt     # ncnn's converter
set -eu
build=$(cd "${1:?usage: bench/run.sh BUILD [OPTIONS]}" && pwd)
shift
cd "$(dirname "$0")/.."
data=${CRAYON_DATA:-../shared/data}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
crayon=$build/crayon
"$crayon" synth "$work/scenes" -n 32 --seed 11 >/dev/null
"$crayon" quantize sample/shapes.onnx -o "$work/shapes-int8.onnx" --images "$work/scenes/images" >/dev/null
"$crayon" bench sample/shapes.onnx "$work/shapes-int8.onnx"
if [ ! -d "$data/models" ]; then
    echo "SKIP real models: $data is not there"
    exit 0
fi
for m in yolov8n yolox_nano; do
    "$crayon" quantize "$data/models/$m.onnx" -o "$work/$m-int8.onnx" \
        --images "$data/coco-calib/images" --samples 32 >/dev/null
done
if [ -n "${CRAYON_PEERS_PYTHON:-}" ]; then
    "$CRAYON_PEERS_PYTHON" bench/peers/bench.py "$build" "$data" "$work" "$@"
else
    echo "SKIP peers: CRAYON_PEERS_PYTHON is not set (bench/peers/requirements.txt)"
    for m in yolov8n yolox_nano; do
        "$crayon" bench "$data/models/$m.onnx" "$work/$m-int8.onnx"
    done
fi
