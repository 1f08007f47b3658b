# The same model in another file: float, and quantized with the same integers; what cannot be written.
need_sample
make_scenes 4
"$CRAYON" convert "$SAMPLE" -o float.onnx | cut -d: -f1
"$CRAYON" compare "$SAMPLE" float.onnx --images scenes/images --json >c.json && json c.json 'j["agreement"] == 1'
"$CRAYON" quantize "$SAMPLE" -o int8.onnx --images scenes/images --save-recipe r.json >/dev/null
"$CRAYON" convert int8.onnx -o again.onnx --format qdq | cut -d: -f1
"$CRAYON" compare int8.onnx again.onnx --images scenes/images --json >c.json && json c.json 'j["agreement"] == 1'
"$CRAYON" convert "$SAMPLE" --recipe r.json -o planned.onnx | cut -d: -f1
cmp int8.onnx planned.onnx && echo "same bytes"
fails "$CRAYON" convert int8.onnx
fails "$CRAYON" convert int8.onnx -o int8.onnx
formats() { sed 's/there are: qdq (.onnx), .*; see/there are: FORMATS; see/'; }
fails "$CRAYON" convert int8.onnx -o other.onnx --format flat | formats
fails "$CRAYON" convert int8.onnx -o other | formats
fails "$CRAYON" convert missing.onnx -o other.onnx
"$CRAYON" convert int8.onnx -o qop.onnx --format qoperator | cut -d: -f1
"$CRAYON" compare int8.onnx qop.onnx --images scenes/images --json >c.json && json c.json 'j["agreement"] == 1'
