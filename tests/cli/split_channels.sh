# Tensors in parts by range: where there is one scale per tensor, and nowhere else; the same from the
# recipe's file; nearer to the float model.
python3 "$HERE/make_depthwise.py" dw.onnx
make_scenes 12
"$CRAYON" quantize dw.onnx -o off.tflite --images scenes --no-check --rounding nearest --split-channels off \
    --save-stats s.json --save-recipe off.json | grep -c "parts by range"
make() { "$CRAYON" quantize dw.onnx --stats s.json "$@"; }
said() { grep -o "[0-9]* tensors in [0-9]* parts by range" || echo "nothing divided"; }
make -o auto.tflite --save-recipe r.json | said
make -o three.tflite --split-channels 3 | said
make -o ort.onnx --format qoperator --save-recipe o.json | said
make -o tensor.onnx --granularity tensor | said
make -o default.onnx | said
make -o asked.onnx --split-channels 4 | said
echo "layers by name: the whole stays whole, a part alone, bits that do not matter, a budget"
make -o x.onnx --granularity tensor --keep-float c | said
make -o x.onnx --granularity tensor --precision-of c_part0=float --save-recipe x.json | said
json x.json 'sorted(t for t in j["weights"] if t.startswith("w1"))'
make -o x.onnx --granularity tensor --precision-of c=int8 | said
"$CRAYON" quantize dw.onnx -o x.onnx --granularity tensor --images scenes --no-check --rounding nearest --int16-layers 2 | grep -o "^layers       [0-9]*"
fails "$CRAYON" quantize dw.onnx -o x.onnx --stats s.json --keep-float z_part0
"$CRAYON" quantize dw.onnx -o again.tflite --recipe r.json --target tflite >/dev/null
cmp auto.tflite again.tflite && echo "the same from the recipe"
json r.json '[(x["kind"], x["tensor"], x["channel"][0], sorted(x["channel"][-8:])) for x in j["rewrites"]]'
for q in off auto; do
    "$CRAYON" compare dw.onnx $q.tflite --images scenes/images --layers --json >$q.json
done
python3 - <<'END'
import json
def db(name):
    l = json.load(open(name))["layers"]
    return min(x["sqnr_db"] for x in l if x["tensor"] == "e")
print("nearer by 6 dB" if db("auto.json") > db("off.json") + 6 else f"FAULT: {db('off.json')} {db('auto.json')}")
END
fails "$CRAYON" quantize dw.onnx -o x.onnx --images scenes --split-channels 1
fails "$CRAYON" quantize dw.onnx -o x.onnx --images scenes --split-channels some
