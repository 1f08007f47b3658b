#!/bin/sh
# ONNX in and out against the ONNX package and ONNX Runtime:
#
#   tests/peers/onnx.sh BUILD       run from the repository root; needs CRAYON_PEERS_PYTHON
#
# 1. ONNX's own node tests (all whose operators we list) and its PyTorch exports, as they are;
# 2. small models of opsets 7 to 18, one per operator form that has changed since;
# 3. all of these once more, written at several opsets and read back;
# 4. real models written at eight opsets: onnx.checker, and ONNX Runtime's outputs bit for bit.
set -u
build=${1:?usage: tests/peers/onnx.sh BUILD}
python=${CRAYON_PEERS_PYTHON:-}
data=${CRAYON_DATA:-../shared/data}
if [ -z "$python" ]; then
    echo "SKIP onnx: CRAYON_PEERS_PYTHON is not set"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
bin=$build/tests
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

# What a file at an old opset cannot say is skipped by design there, so only failures are shown.
report() {
    echo "== $1"
    grep -E "$2" "$work/log"
    grep -E '^[0-9]+ passed, ' "$work/log"
}

run() { # title, pattern of lines to show, command...
    title=$1 show=$2
    shift 2
    "$@" >"$work/log" 2>&1 || failed=1
    report "$title" "$show"
}

"$python" tests/peers/node_tests.py "$work/onnx" || exit 1
"$python" tests/peers/old_opsets.py "$work/old" || exit 1
all="$work/onnx/node $work/onnx/simple $work/onnx/pytorch-operator $work/onnx/pytorch-converted"
run "ONNX's tests" '^(FAIL|SKIP|not listed)' "$bin/peers-node_tests" $all
run "old operator forms" '^(FAIL|SKIP)' "$bin/peers-node_tests" "$work/old"
for opset in 13 15 17 18 19 21 22; do
    run "the same, written at opset $opset" '^FAIL' "$bin/peers-node_tests" -w $opset $all "$work/old"
done
if [ -d "$data/models" ]; then
    run "real models written" '^FAIL' "$python" tests/peers/onnx_write.py "$bin/peers-onnx_copy" "$data"
else
    echo "SKIP real models: $data/models is not there"
fi
exit $failed
