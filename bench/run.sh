#!/bin/sh
# bench/run.sh BUILD: make bench. Times the sample model (float and INT8), and, where the real models
# are, YOLOv8n and YOLOX-nano; then the peers in the same run, if CRAYON_PEERS_PYTHON has them.
set -eu
build=$(cd "${1:?usage: bench/run.sh BUILD}" && pwd)
cd "$(dirname "$0")/.."
data=${CRAYON_DATA:-../shared/data}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
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
    "$crayon" bench "$data/models/$m.onnx" "$work/$m-int8.onnx"
done
if [ -n "${CRAYON_PEERS_PYTHON:-}" ]; then
    "$CRAYON_PEERS_PYTHON" bench/peers/bench.py "$crayon" "$data" "$work"
else
    echo "SKIP peers: CRAYON_PEERS_PYTHON is not set (bench/peers/requirements.txt)"
fi
