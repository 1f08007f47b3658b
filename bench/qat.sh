#!/bin/sh
# What training with the rounding in the loop wins back: bench/qat.sh BUILD DATA [OPTIONS...]
#
# DATA has models/, coco-calib/ (128 pictures; their labels are not used) and coco-dev/ (80 others, with
# labels). Per line of plans: `crayon quantize`, then `crayon qat` from the same plan (OPTIONS go to it;
# `--minutes 30` by default), both judged on coco-dev: agreement with the float model and mAP50-95.
# ONLY=GLOB keeps to lines whose "model options" match, KEEP=DIR keeps the models.
set -u
build=$(cd "${1:?usage: bench/qat.sh BUILD DATA [OPTIONS...]}" && pwd) || exit 2
data=${2:?usage: bench/qat.sh BUILD DATA [OPTIONS...]}
shift 2
[ $# -gt 0 ] || set -- --minutes 30
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
[ -z "${KEEP:-}" ] || mkdir -p "$KEEP" || exit 2

plans='yolov8n --weights int4
yolov8n --granularity tensor --symmetric
yolov8n --weights int4 --activations float'

judge() { # FILE FLOAT: "agreement | mAP"
    "$build/crayon" eval "$1" --images "$data/coco-dev/images" --labels "$data/coco-dev/instances.json" \
        --against "$2" --json >"$work/j.json" || exit 1
    python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
print("%.4f | %.4f" % (j["agreement"], j["metrics"]["AP"]))' "$work/j.json"
}

row() { # OPTIONS-OF-QAT -- MODEL PLAN...
    training=""
    while [ "$1" != -- ]; do training="$training $1" && shift; done
    shift
    name=$1 float=$data/models/$1.onnx
    shift
    out=${KEEP:-$work}/$name-$(echo "$*" | tr -d ' -')
    "$build/crayon" quantize "$float" -o "$work/q.onnx" --images "$data/coco-calib/images" \
        --save-recipe "$work/q.json" --no-check "$@" >/dev/null || exit 1
    # shellcheck disable=SC2086
    "$build/crayon" qat "$float" -o "$out.onnx" --images "$data/coco-calib/images" --recipe "$work/q.json" $training \
        >"$work/said" || exit 1
    start=$(judge "$work/q.onnx" "$float") && end=$(judge "$out.onnx" "$float") || exit 1
    how=$(sed -n 's/^trained *\(.*\), [0-9]* pictures.*/\1/p' "$work/said")
    echo "| $name | \`$*\` | $start | $end | $how |"
}

echo "| model | plan | quantized: agreement | mAP50-95 | trained: agreement | mAP50-95 | training |"
echo "|---|---|---|---|---|---|---|"
echo "$plans" | while read -r line; do
    # shellcheck disable=SC2254
    case $line in ${ONLY:-*}) ;; *) continue ;; esac
    # shellcheck disable=SC2086
    row "$@" -- $line </dev/null || exit 1
done
