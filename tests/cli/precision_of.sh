# The precision of single layers: their entries follow, the file holds them, names must exist.
need_sample
make_scenes 8
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes --rounding nearest --save-stats s.json >/dev/null
"$CRAYON" inspect q.onnx --layers --json >q.json
names=$(json q.json '" ".join(l["node"] for l in j["layers"] if l["weight_type"] == "int8")')
set -- $names
first=$2 second=$3 third=$4
"$CRAYON" quantize "$SAMPLE" -o mixed.onnx --stats s.json --precision-of "$first=int4" \
    --precision-of "$second=int16" --precision-of "$third=int16" --precision-of "$third=float" >/dev/null
"$CRAYON" inspect mixed.onnx --layers --json >m.json
for name in "$first" "$second" "$third"; do
    json m.json '[(l["input_type"] == "int16", l["weight_type"]) for l in j["layers"] if l["node"] == "'"$name"'"][0]'
done
"$CRAYON" quantize "$SAMPLE" -o plain.onnx --stats s.json --precision-of '*=int16' \
    --precision-of '*=int8' >/dev/null
cmp q.onnx plain.onnx && echo "the last one counts"
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats s.json --precision-of "$first$second=float"
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats s.json --only "${first}x"
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats s.json --precision-of "$first"
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats s.json --precision-of "$first=int3"
listing | grep -v scenes/
