#!/bin/sh
# Long fuzzing: run.sh BUILD_ASAN N [SEED]
#
# N mutations of each seed model (tests/golden/tiny.onnx, sample/shapes.onnx if it is there) and of
# TFLite models made here go the way of a real model, and N of each JSON file are read, under the
# sanitizers that BUILD_ASAN was configured with (-DCRAYON_SANITIZE=ON). Any finding stops the program
# that made it; exit status 1.
set -u
build=$(cd "${1:?usage: tests/fuzz/run.sh BUILD_ASAN N [SEED]}" && pwd) || exit 2
n=${2:?usage: tests/fuzz/run.sh BUILD_ASAN N [SEED]}
seed=${3:-1}
cd "$(dirname "$0")/../.." || exit 2
ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1:detect_leaks=1}
UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export ASAN_OPTIONS UBSAN_OPTIONS
failed=0

run() { # program, arguments...
    echo "$*"
    program=$build/tests/$1
    shift
    "$program" "$@" || failed=1
}

for model in tests/golden/tiny.onnx sample/shapes.onnx; do
    [ -e $model ] && run fuzz-onnx $model "$n" "$seed"
done
run fuzz-tflite "$n" "$seed"
run fuzz-json "$n" "$seed"
run fuzz-openvino "$n" "$seed"
run fuzz-train_state "$n" "$seed"
seeds=$(mktemp -d) || exit 2
trap 'rm -rf "$seeds"' EXIT
python3 tests/cli/make_checkpoint.py --tiny "$seeds"
run fuzz-checkpoint "$n" "$seed" "$seeds/tiny.pt" "$seeds/tiny_old.pt"
exit $failed
