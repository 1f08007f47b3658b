#!/bin/sh
# Pictures, heads and the whole detection pipeline against OpenCV, PyTorch and pycocotools:
#
#   tests/peers/vision.sh BUILD       run from the repository root; needs CRAYON_PEERS_PYTHON
#
# 1. resizing, decoding and fitting, byte for byte (vision_opencv.py);
# 2. suppression and every head on random tensors and two real models (vision_heads.py);
# 3. mAP of yolov8n and yolox_nano on coco-dev with ONNX Runtime in the middle (vision_coco.py);
# 4. damaged pictures (fuzz-image), a few thousand.
set -u
build=${1:?usage: tests/peers/vision.sh BUILD}
python=${CRAYON_PEERS_PYTHON:-}
data=${CRAYON_DATA:-../shared/data}
passed=0 failed=0 skipped=0

check() {
    echo "== $1"
    shift
    if out=$("$@" 2>&1); then
        if echo "$out" | grep -q '^SKIP'; then skipped=$((skipped + 1)); else passed=$((passed + 1)); fi
    else
        failed=$((failed + 1))
    fi
    echo "$out"
}

driver=$build/tests/peers-vision_detect
if [ -n "$python" ]; then
    check "pictures against OpenCV" \
        "$python" tests/peers/vision_opencv.py "$build/libcrayon.so" --driver "$driver"
    check "videos against OpenCV" "$python" tests/peers/vision_video.py "$build/tests/peers-vision_video" \
        $(ls "$data"/seed/street.webm 2>/dev/null)
    check "heads against PyTorch" "$python" tests/peers/vision_heads.py --driver "$driver"
    check "mAP against pycocotools" "$python" tests/peers/vision_coco.py --driver "$driver"
else
    echo "SKIP comparisons: CRAYON_PEERS_PYTHON is not set"
    skipped=$((skipped + 4))
fi
smallest=$(ls -Sr "$data"/coco-dev/images/*.jpg 2>/dev/null | head -n 1)
if [ -n "$smallest" ]; then
    check "damaged pictures" "$build/tests/fuzz-image" 1000 1 "$smallest"
else
    echo "SKIP damaged pictures: no $data"
    skipped=$((skipped + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
