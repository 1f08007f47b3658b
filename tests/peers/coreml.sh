#!/bin/sh
# Core ML packages against coremltools and an interpreter of MIL: tests/peers/coreml.sh BUILD, run from
# the repository root. Needs CRAYON_COREML_PYTHON, a Python with tests/peers/requirements-coreml.txt
# (apart from the other peers': its protobuf is older than theirs may be); CRAYON_PEERS_PYTHON makes the
# classifier. The last line is "N passed, N failed, N skipped".
set -u
build=${1:?usage: tests/peers/coreml.sh BUILD}
python=${CRAYON_COREML_PYTHON:-}
if [ -z "$python" ]; then
    echo "SKIP coreml: CRAYON_COREML_PYTHON is not set"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
set -- "$build" --data "${CRAYON_DATA:-../shared/data}"
if [ -n "${CRAYON_PEERS_PYTHON:-}" ] &&
    "$CRAYON_PEERS_PYTHON" tests/peers/coreml_classifier.py "$work/classifier.onnx"; then
    set -- "$@" --classifier "$work/classifier.onnx"
fi
"$python" tests/peers/coreml_check.py "$@" 2>&1 | grep -v '^Failed to load _ML'
