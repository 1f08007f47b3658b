#!/bin/sh
# tests/peers.sh BUILD: Crayon against other software, where no model of a size is needed: ONNX's own
# tests and ONNX Runtime, OpenCV, PyTorch, pycocotools. Needs CRAYON_PEERS_PYTHON (a Python with
# bench/peers/requirements.txt); what is missing is skipped aloud. The last line is
# "N passed, N failed, N skipped"; exit 1 if one failed.
set -u
build=$(cd "${1:?usage: tests/peers.sh BUILD}" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
python=${CRAYON_PEERS_PYTHON:-}
if [ -z "$python" ]; then
    echo "SKIP peers: CRAYON_PEERS_PYTHON is not set"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0

count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
}

# One script is one test.
one() { # name, command...
    name=$1
    shift
    if ! "$@" >"$work/log" 2>&1; then
        count 0 1 0
        echo "FAIL $name"
        cat "$work/log"
    elif grep -q '^SKIP' "$work/log"; then
        count 0 0 1
        echo "SKIP $name: $(grep -m 1 '^SKIP' "$work/log" | sed 's/^SKIP *//')"
    else
        count 1 0 0
        echo "PASS $name: $(tail -n 1 "$work/log")"
    fi
}

# PASS, FAIL and SKIP lines are tests.
lines_of() { # name, command...
    name=$1
    shift
    "$@" >"$work/log" 2>&1
    status=$?
    cat "$work/log"
    set -- "$(grep -c '^PASS' "$work/log")" "$(grep -c '^FAIL' "$work/log")" "$(grep -c '^SKIP' "$work/log")"
    if [ $status != 0 ] && [ "$2" = 0 ]; then
        echo "FAIL $name (exit status $status)"
        set -- "$1" 1 "$3"
    fi
    count "$@"
}

# A script that ends its sections with "N passed, N failed, N skipped". Sections titled "the same,"
# repeat tests in another form, where what that form cannot say is left out by design: their skips
# are not counted.
sections() { # name, command...
    name=$1
    shift
    "$@" >"$work/log" 2>&1
    status=$?
    sed 's/^[0-9]* passed, /    &/' "$work/log" # indented: only the last line is the sum
    set -- $(awk '/^== the same,/ { again = 1 } /^== / && !/^== the same,/ { again = 0 }
        /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped/ { p += $1; f += $3; if (!again) s += $5 }
        END { print p + 0, f + 0, s + 0 }' "$work/log")
    if [ $status != 0 ] && [ "$2" = 0 ]; then
        echo "FAIL $name (exit status $status)"
        set -- "$1" 1 "$3"
    fi
    count "$@"
}

random_operators() {
    "$python" tests/peers/ops_random.py "$work/random" 1 &&
        "$build/tests/peers-node_tests" "$work/random"
}

# pytest where there is one; the tests need no more than unittest.
python_package() {
    CRAYON_LIBRARY=$build/libcrayon_python.so
    export CRAYON_LIBRARY
    if "$python" -c 'import pytest' 2>/dev/null; then
        "$python" -m pytest -q bindings/python
    else
        "$python" -m unittest discover -s bindings/python/tests
    fi
}

# A page is driven in Chromium, where there is one.
live_page() {
    "$build/crayon" synth "$work/frames" -n 8 --seed 5 --size 640x480 >/dev/null &&
        python3 tests/peers/live_page.py "$build/crayon" sample/shapes.onnx "$work/frames/images"
}

# A detached TFLite file in LiteRT, its bytes decoded as a host without Crayon would.
detached_tflite() {
    "$build/crayon" synth "$work/shapes" -n 8 --seed 3 >/dev/null &&
        "$build/crayon" quantize sample/shapes.onnx -o "$work/detached.tflite" --images "$work/shapes/images" \
            --head detach --io int8 --rounding nearest >/dev/null &&
        "$python" tests/peers/decode_nhwc.py "$build/examples/example-decode_nhwc" \
            "$build/examples/example-decode_branches" "$work/detached.tflite" "$work/shapes/images/000000.jpg"
}

one "Python package" python_package
one "COCO metrics of random cases" "$python" tests/peers/coco_random.py "$build/tests/peers-coco_eval" 200
one "keypoint agreement of random cases" "$python" tests/peers/keypoints_random.py "$build/tests/peers-coco_eval" 100
one "COCO masks, keypoints and oriented boxes of random cases" "$python" tests/peers/coco_shapes_random.py "$build/tests/peers-coco_eval" 100
one "data.yaml" "$python" tests/peers/coco_yolo.py "$build/tests/peers-coco_eval"
sections "ONNX" sh tests/peers/onnx.sh "$build"
sections "random operators" random_operators
sections "TFLite operators" "$python" tests/peers/tflite_ops.py "$build/tests/peers-run_model"
one "detached TFLite" detached_tflite
one "weights of few bits" "$python" tests/peers/low_bits.py "$build/crayon" "$build/tests/peers-run_model"
lines_of ncnn "$python" tests/peers/ncnn_models.py "$build/crayon" --small
sections "Core ML" sh tests/peers/coreml.sh "$build"
one autograd sh tests/peers/autograd.sh "$build"
one "training pictures" "$python" tests/peers/augment_opencv.py "$build/tests/peers-augment_dump" "$build/crayon"
if [ -n "${CRAYON_TORCH_PYTHON:-}" ]; then
    lines_of losses "$CRAYON_TORCH_PYTHON" tests/peers/loss_torch.py "$build/tests/peers-loss_dump"
else
    echo "SKIP losses: CRAYON_TORCH_PYTHON is not set"
    count 0 0 1
fi
lines_of "live page" live_page
lines_of "reports" python3 tests/peers/report_page.py "$build/crayon" sample/shapes.onnx
sections "vision" sh tests/peers/vision.sh "$build"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
