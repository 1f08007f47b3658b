#!/bin/sh
# Gradients of whole models against PyTorch's: tests/peers/autograd.sh BUILD, run from the repository
# root. Needs CRAYON_TORCH_PYTHON, a Python with torch, numpy and onnx. The last line is
# "N passed, N failed, N skipped".
set -u
build=${1:?usage: tests/peers/autograd.sh BUILD}
python=${CRAYON_TORCH_PYTHON:-}
data=${CRAYON_DATA:-../shared/data}
if [ -z "$python" ]; then
    echo "SKIP autograd: CRAYON_TORCH_PYTHON is not set"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
set -- sample/shapes.onnx arch:pico:96:3
for model in yolov8n yolox_nano nanodet_m_320; do
    [ -f "$data/models/$model.onnx" ] && set -- "$@" "$data/models/$model.onnx"
done
"$python" tests/peers/autograd_torch.py "$build/tests/peers-autograd_dump" "$@"
