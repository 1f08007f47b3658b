# The sample classifier from end to end: quantized with pictures and without, measured, run.
not_sanitized
model=$HERE/../../sample/shapes-cls.onnx
if [ ! -e "$model" ]; then
    echo "SKIP sample/shapes-cls.onnx is not there"
    exit 0
fi
"$CRAYON" inspect "$model" | grep -E '^(family|inputs|outputs|preprocessing|classes)'
"$CRAYON" synth calib -n 40 --seed 5 --task classify >/dev/null
"$CRAYON" synth test -n 60 --seed 6 --task classify >/dev/null
find calib -name '*.jpg' | LC_ALL=C sort >calib.txt
"$CRAYON" quantize "$model" -o int8.onnx --images calib.txt 2>/dev/null | grep -o '^size .* MB' >/dev/null
"$CRAYON" quantize "$model" -o int2.onnx --mode weights --weights int2 >/dev/null
for m in "$model" int8.onnx int2.onnx; do
    "$CRAYON" eval $m --images test --against "$model" --json >e.json
    json e.json 'j["images"], j["metrics"]["top1"] > .8, j["agreement"] > .9'
done
"$CRAYON" detect int8.onnx test/star/*3.jpg --json - | head -n 1 >d.json
json d.json 'j["detections"][0]["name"]'
