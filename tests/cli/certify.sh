# Which integers differ: none between session and reference, none between two forms of one file; other scales are named.
need_sample
make_scenes 4
"$CRAYON" quantize "$SAMPLE" -o a.onnx --images scenes/images --save-stats s.json >/dev/null
"$CRAYON" convert a.onnx -o b.onnx --format qoperator >/dev/null
"$CRAYON" compare a.onnx b.onnx --images scenes/images --certify >text
head -n 1 text
"$CRAYON" compare a.onnx b.onnx --images scenes/images --certify --json >c.json
json c.json 'j["images"] == 2 and all(j[k]["tensors"] > 5 and j[k]["tensors"] == j[k]["identical"] and not j[k]["differing"] for k in ("a", "b", "files"))'
"$CRAYON" quantize "$SAMPLE" -o other.onnx --stats s.json --calib percentile:99 >/dev/null
"$CRAYON" compare a.onnx other.onnx --images scenes/images --certify --limit 1 --json >c.json
json c.json 'j["b"]["tensors"] == j["b"]["identical"] and j["files"]["differing"] > 0'
json c.json '{t["why"] for t in j["files"]["list"]} <= {"recipe", "float", "fused"} and any(t["why"] == "recipe" for t in j["files"]["list"])'
fails "$CRAYON" compare "$SAMPLE" "$SAMPLE" --images scenes/images --certify
fails "$CRAYON" compare a.onnx b.onnx --images scenes/images --certify --layers
