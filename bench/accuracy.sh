#!/bin/sh
# What the default command and its main alternatives keep of a model: bench/accuracy.sh BUILD DATA [SEEDS]
#
# DATA has models/, coco-calib/ (pictures to calibrate on) and coco-dev/ (80 others, with labels). For every
# model and every line of options below: `crayon quantize` on 96 of the 128 calibration pictures, once
# per seed (0 1 2), then `crayon eval --against` the float model. Prints a Markdown table: the mean agreement
# over the seeds and each one, mAP50-95 likewise, the size. Nothing here was used to choose an option.
# ONLY=GLOB keeps to lines whose "model options" match; each line takes a minute per seed.
set -u
build=$(cd "${1:?usage: bench/accuracy.sh BUILD DATA [SEEDS]}" && pwd) || exit 2
data=${2:?usage: bench/accuracy.sh BUILD DATA [SEEDS]}
seeds=${3:-0 1 2}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

plans='yolov8n
yolov8n_opset17
yolox_nano
nanodet_m_320
yolov8n-pose
yolov8n --rounding nearest
yolox_nano --rounding nearest
nanodet_m_320 --rounding nearest
nanodet_m_320 --equalize off
nanodet_m_320 --equalize off --rounding nearest
yolox_nano --equalize all
yolov8n --equalize all
yolov8n --granularity tensor --symmetric
yolov8n --activations int16
yolox_nano --activations int16
yolov8n --weights int4
yolov8n --weights int4 --activations float
yolov8n --int16-layers 8
yolox_nano --int16-layers 12
nanodet_m_320 --int16-layers 12'

judge() { # model, options...
    model=$1
    shift
    rm -f "$work"/*.json
    for seed in $seeds; do
        # shellcheck disable=SC2086
        "$build/crayon" quantize "$data/models/$model.onnx" -o "$work/q.onnx" --no-check --samples 96 \
            --images "$data/coco-calib/images" --seed "$seed" "$@" >"$work/log" 2>&1 &&
            "$build/crayon" eval "$work/q.onnx" --against "$data/models/$model.onnx" \
                --images "$data/coco-dev/images" --labels "$data/coco-dev/instances.json" \
                --json >"$work/$seed.json" 2>>"$work/log" || {
            echo "| $model | $* | failed: $(tail -n 1 "$work/log") | | |"
            return
        }
    done
    python3 - "$model" "$*" "$work" "$data/models/$model.onnx" <<'END'
import glob, json, os, sys
model, options, work, source = sys.argv[1:]
runs = [json.load(open(p)) for p in sorted(glob.glob(work + "/*.json"))]
def cell(values):
    text = f"{sum(values) / len(values):.4f}"
    return text + (" (" + ", ".join(f"{v:.4f}" for v in values) + ")" if len(values) > 1 else "")
agreement = cell([r["agreement"] for r in runs])
if "keypoint_agreement" in runs[0]:
    agreement += "; keypoints " + cell([r["keypoint_agreement"] for r in runs])
size = os.path.getsize(work + "/q.onnx") / os.path.getsize(source)
print(f"| {model} | {options or 'defaults'} | {agreement} | {cell([r['metrics']['AP'] for r in runs])} | {100 * size:.1f} % |")
END
}

echo "| model | options | agreement | mAP50-95 | size |"
echo "|---|---|---|---|---|"
echo "$plans" | while read -r plan; do
    # shellcheck disable=SC2254
    case $plan in ${ONLY:-*}) ;; *) continue ;; esac
    # shellcheck disable=SC2086
    judge $plan </dev/null
done
