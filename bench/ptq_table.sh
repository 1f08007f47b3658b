#!/bin/sh
# What each setting of the quantizer costs: one calibration, then one plan and one evaluation per
# line, as a Markdown table. Settings differ from the defaults only by the option that is named.
#
#     bench/ptq_table.sh BUILD MODEL CALIBRATION_IMAGES IMAGES LABELS [LIMIT]
#
# BUILD is a build folder, LABELS an instances.json for IMAGES, LIMIT a number of pictures.
set -eu
[ $# -ge 5 ] || { sed -n 's/^#  *\(bench\/ptq_table.*\)/usage: \1/p' "$0" >&2; exit 2; }
crayon=$1/crayon model=$2 calibration=$3 images=$4 labels=$5 limit=${6:-1000000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

measure() { # MODEL [--against FLOAT]: mAP50-95 | mAP50 | agreement
    "$crayon" eval "$@" --images "$images" --labels "$labels" --limit "$limit" --json |
        python3 -c '
import json, sys
j = json.load(sys.stdin)
a = j.get("agreement")
print("%.4f | %.4f | %s" % (j["metrics"]["AP"], j["metrics"]["AP50"], "%.4f" % a if a else "-"))'
}

row() { # option...
    if ! "$crayon" quantize "$model" -o "$work/q.onnx" --stats "$work/stats.json" "$@" \
        >"$work/log" 2>&1; then
        printf '| %s | not possible: %s | | | |\n' "\`$*\`" "$(cat "$work/log")"
        return
    fi
    printf '| %s | %s | %s |\n' "\`$*\`" "$(measure "$work/q.onnx" --against "$model")" \
        "$(awk -v a="$(wc -c <"$work/q.onnx")" -v b="$(wc -c <"$model")" \
            'BEGIN { printf "%.1f %%", 100 * a / b }')"
}

"$crayon" quantize "$model" -o "$work/q.onnx" --images "$calibration" --save-stats "$work/stats.json" \
    >"$work/log"
echo "| options | mAP50-95 | mAP50 | agreement | size |"
echo "|---|---|---|---|---|"
echo "| float model | $(measure "$model") | 100 % |"
row --calib entropy
row --calib lp
row --calib mse
row --calib minmax
row --calib moving-average
row --calib percentile
row --calib percentile:99.99
row --granularity tensor
row --granularity tensor --calib minmax
row --weights uint8
row --activations int8
row --symmetric
row --reduce-range
row --head quantize
