#!/bin/sh
# tools/demo.sh BUILD: the whole path on what the tree ships, into demo/, then masks, keypoints and
# classes.
#
# Renders fresh scenes, quantizes sample/shapes.onnx with nothing but a folder of pictures, measures
# float against INT8 (mAP with labels, agreement without), times both, draws what each sees, and
# leaves both models, the recipe, the table and the pictures.
set -eu
build=$(cd "${1:?usage: tools/demo.sh BUILD}" && pwd)
cd "$(dirname "$0")/.."
crayon=$build/crayon
rm -rf demo
mkdir -p demo
cp sample/shapes.onnx demo/shapes.onnx

echo "== scenes: 64 to calibrate with, 100 others to judge by"
"$crayon" synth demo/calibration -n 64 --seed 11
"$crayon" synth demo/test -n 100 --seed 12

echo "== crayon quantize demo/shapes.onnx -o demo/shapes-int8.onnx --images demo/calibration/images"
"$crayon" quantize demo/shapes.onnx -o demo/shapes-int8.onnx --images demo/calibration/images \
    --save-recipe demo/recipe.json

echo "== eval, bench, detect"
"$crayon" eval demo/shapes.onnx --images demo/test/images --labels demo/test/instances.json \
    --json >demo/eval-float.json
"$crayon" eval demo/shapes-int8.onnx --images demo/test/images --labels demo/test/instances.json \
    --against demo/shapes.onnx --json >demo/eval-int8.json
"$crayon" bench demo/shapes.onnx demo/shapes-int8.onnx --json >demo/bench.json
for i in 000000 000001 000002 000003 000004 000005; do
    "$crayon" detect demo/shapes.onnx "demo/test/images/$i.jpg" --save demo/pictures/float >/dev/null
    "$crayon" detect demo/shapes-int8.onnx "demo/test/images/$i.jpg" --save demo/pictures/int8 >/dev/null
done

for task in segment pose; do
    case $task in segment) model=shapes-seg ;; *) model=shapes-pose ;; esac
    echo "== $task: sample/$model.onnx, by the metric of its own"
    "$crayon" synth "demo/$task" -n 100 --seed 12 --task $task
    "$crayon" quantize sample/$model.onnx -o demo/$model-int8.onnx --images demo/calibration/images
    "$crayon" eval sample/$model.onnx --images "demo/$task/images" --labels "demo/$task/instances.json" \
        --json >"demo/eval-$task-float.json"
    "$crayon" eval demo/$model-int8.onnx --images "demo/$task/images" --labels "demo/$task/instances.json" \
        --against sample/$model.onnx --json >"demo/eval-$task-int8.json"
    for i in 000000 000001 000002; do
        "$crayon" detect demo/$model-int8.onnx "demo/$task/images/$i.jpg" --save "demo/pictures/$task" >/dev/null
    done
done

echo "== classes: sample/shapes-cls.onnx"
"$crayon" synth demo/classes-calibration -n 64 --seed 11 --task classify
"$crayon" synth demo/classes -n 200 --seed 12 --task classify
find demo/classes-calibration -name '*.jpg' | LC_ALL=C sort | sed 's|^demo/||' >demo/classes-calibration.txt
"$crayon" quantize sample/shapes-cls.onnx -o demo/shapes-cls-int8.onnx \
    --images demo/classes-calibration.txt
"$crayon" eval demo/shapes-cls-int8.onnx --images demo/classes --against sample/shapes-cls.onnx

python3 - <<'END' | tee demo/table.md
import json, os
bench = json.load(open("demo/bench.json"))
agreement = json.load(open("demo/eval-int8.json"))["agreement"]
print(f"Fresh scenes: 64 to calibrate, 100 to judge. {bench[0]['cpu']}, {bench[0]['threads']} threads.\n")
print("| model | size | mAP50-95 | mAP50 | agreement with float | median of a run |")
print("|---|---|---|---|---|---|")
for (name, path, metrics), b, same in zip(
        (("float32", "demo/shapes.onnx", "demo/eval-float.json"),
         ("int8", "demo/shapes-int8.onnx", "demo/eval-int8.json")), bench, ("", f"{agreement:.4f}")):
    m = json.load(open(metrics))["metrics"]
    print(f"| {name} | {os.path.getsize(path) / 1e6:.3f} MB | {m['AP']:.4f} | {m['AP50']:.4f} | {same} "
          f"| {b['median_ms']:.2f} ms |")
print("\n| model | what is compared | mAP50-95 float32 | int8 | agreement |\n|---|---|---|---|---|")
for task, name, key in (("segment", "shapes-seg", "mask_agreement"), ("pose", "shapes-pose", "keypoint_agreement")):
    a, b = (json.load(open(f"demo/eval-{task}-{kind}.json")) for kind in ("float", "int8"))
    print(f"| {name} | {a['metric']} | {a['metrics']['AP']:.4f} | {b['metrics']['AP']:.4f} | {b[key]:.4f} |")
END
echo "demo/: shapes.onnx, shapes*-int8.onnx, recipe.json, table.md, pictures/"
