# The sample models of masks and keypoints from end to end: quantized, measured by their own metric,
# run. INT8 costs half a point of mAP at most (60 scenes; sample/README.md has more).
not_sanitized
sample=$HERE/../../sample
if [ ! -e "$sample/shapes-seg.onnx" ] || [ ! -e "$sample/shapes-pose.onnx" ]; then
    echo "SKIP sample/shapes-seg.onnx or sample/shapes-pose.onnx is not there"
    exit 0
fi
"$CRAYON" synth calib -n 40 --seed 5 --task segment >/dev/null # the scenes of all tasks are the same
check() { # TASK MODEL AP AP50 AGREEMENT
    model=$sample/$2.onnx
    echo "== $2"
    "$CRAYON" inspect "$model" | grep -E '^(family|inputs|outputs|preprocessing|classes)'
    "$CRAYON" synth "$1" -n 60 --seed 6 --task "$1" >/dev/null
    labels=$1/instances.json
    "$CRAYON" quantize "$model" -o int8.onnx --images calib/images >quantize.txt
    grep -Eo '^(masks|keypoints) ' quantize.txt
    "$CRAYON" eval "$model" --images "$1/images" --labels "$labels" --json >float.json
    "$CRAYON" eval int8.onnx --images "$1/images" --labels "$labels" --against "$model" --json >int8.json
    json float.json "j['metric'], j['metrics']['AP'] > $3, j['metrics']['AP50'] > $4"
    json int8.json "j['metric'], j['metrics']['AP'] > $(json float.json 'j["metrics"]["AP"]') - .005"
    json int8.json "j['agreement'] > .95, j['$5'] > .95"
}
check segment shapes-seg .6 .8 mask_agreement
"$CRAYON" detect int8.onnx segment/images/000001.jpg --json - >d.json
json d.json 'len(j["detections"]) > 2, all(d["mask"]["size"] == [j["height"], j["width"]] for d in j["detections"])'
check pose shapes-pose .45 .6 keypoint_agreement
"$CRAYON" detect int8.onnx pose/images/000001.jpg --json - >d.json
json d.json 'len(j["detections"]) > 2, {len(d["keypoints"]) for d in j["detections"]}'
"$CRAYON" detect int8.onnx pose/images/000001.jpg --save out >/dev/null
ls out
