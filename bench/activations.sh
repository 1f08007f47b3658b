#!/bin/sh
# What another activation in place of SiLU costs, bare and repaired: bench/activations.sh BUILD DATA [OPTIONS...]
#
# DATA has models/, coco-calib/ (128 pictures to train on, their labels not used) and coco-dev/ (80 others, with
# labels). Per activation: the float model with it and nothing else done (weights stored as float16), then
# `crayon qat --float` (OPTIONS go to it; `--minutes 60` by default), then both judged on coco-dev: mAP50-95
# and agreement with the original. ONLY=NAME keeps to one activation, MODEL=NAME takes another model (yolov8n),
# KEEP=DIR keeps the models.
set -u
build=$(cd "${1:?usage: bench/activations.sh BUILD DATA [OPTIONS...]}" && pwd) || exit 2
data=${2:?usage: bench/activations.sh BUILD DATA [OPTIONS...]}
shift 2
[ $# -gt 0 ] || set -- --minutes 60
model=$data/models/${MODEL:-yolov8n}.onnx
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
[ -z "${KEEP:-}" ] || mkdir -p "$KEEP" || exit 2

judge() { # FILE: "mAP | agreement"
    "$build/crayon" eval "$1" --images "$data/coco-dev/images" --labels "$data/coco-dev/instances.json" \
        --against "$model" --json >"$work/j.json" || exit 1
    python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
print("%.4f | %.4f" % (j["metrics"]["AP"], j["agreement"]))' "$work/j.json"
}

echo "| activation | bare: mAP50-95 | agreement | repaired: mAP50-95 | agreement | training |"
echo "|---|---|---|---|---|---|"
for activation in relu6 relu leaky-relu hard-swish; do
    [ "${ONLY:-$activation}" = $activation ] || continue
    keep=${KEEP:-$work}
    "$build/crayon" quantize "$model" -o "$work/bare.onnx" --mode fp16 --activation $activation >/dev/null || exit 1
    "$build/crayon" qat "$model" -o "$keep/$activation.onnx" --images "$data/coco-calib/images" --float \
        --activation $activation "$@" >"$work/said" || exit 1
    bare=$(judge "$work/bare.onnx") && repaired=$(judge "$keep/$activation.onnx") || exit 1
    how=$(sed -n 's/^repaired *\(.*\), [0-9]* pictures.*/\1/p' "$work/said")
    echo "| $activation | $bare | $repaired | $how |"
done
