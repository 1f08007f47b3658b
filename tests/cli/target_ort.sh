# For ONNX Runtime: SiLU in two operators, an entry around each; QOperator files are planned so by themselves.
need_sample
make_scenes 4
"$CRAYON" quantize "$SAMPLE" -o a.onnx --images scenes/images --target ort --save-recipe r.json >/dev/null
tr -d ' \n' <r.json | grep -o '"target":"ort"'
"$CRAYON" quantize "$SAMPLE" -o b.onnx --images scenes/images --format qoperator >/dev/null
"$CRAYON" compare a.onnx b.onnx --images scenes/images --certify --limit 1 --json >c.json
json c.json 'all(j[k]["tensors"] > 20 and j[k]["tensors"] == j[k]["identical"] for k in ("a", "b", "files"))'
grep -c QLinearConv b.onnx
fails "$CRAYON" quantize "$SAMPLE" -o c.onnx --images scenes/images --target magic
