# OpenVINO IR out: two files or none, the same detections from them as from the model, sizes that count
# both, and what the format cannot say.
need_sample
make_scenes 4
"$CRAYON" convert "$SAMPLE" -o float.xml | cut -d: -f1
[ -s float.bin ] && ls
"$CRAYON" compare "$SAMPLE" float.xml --images scenes/images --json >c.json && json c.json 'j["agreement"] == 1'
"$CRAYON" inspect float.xml --json >i.json && json i.json 'j["bytes"] > 900000'
"$CRAYON" quantize "$SAMPLE" -o int8.onnx --images scenes/images --save-recipe r.json >/dev/null
"$CRAYON" convert "$SAMPLE" --recipe r.json -o int8.xml | cut -d: -f1
"$CRAYON" compare int8.onnx int8.xml --images scenes/images --json >c.json && json c.json 'j["agreement"] > 0.98'
# The same numbers by way of ONNX, where biases are integers.
"$CRAYON" convert int8.onnx -o by-onnx.xml >/dev/null
python3 - <<'END'
import re
def constants(name):
    text, blob = open(name + ".xml").read(), open(name + ".bin", "rb").read()
    return {m[1]: blob[int(m[2]):int(m[2]) + int(m[3])] for m in re.finditer(
        r'name="([^"]*)" type="Const"[^>]*>\s*<data [^>]*offset="(\d+)" size="(\d+)"', text)}
a, b = constants("int8"), constants("by-onnx")
print(len(a) > 200, "constants,", sum(a[k] != b.get(k) for k in a), "differ")
END
rm by-onnx.*
"$CRAYON" quantize "$SAMPLE" -o half.xml --mode fp16 >/dev/null
"$CRAYON" quantize "$SAMPLE" -o four.xml --mode weights --weights int4 >/dev/null
for f in int8:29 half:51 four:20; do
    [ $(($(wc -c <${f%:*}.bin) * 100 / $(wc -c <float.bin))) -le ${f#*:} ] || echo "FAULT: $f"
done
for f in half four; do
    "$CRAYON" inspect $f.xml | grep precision
done
grep -c '<labels value="' int8.xml
fails "$CRAYON" quantize "$SAMPLE" -o dynamic.xml --mode dynamic
fails "$CRAYON" convert float.xml -o no/such/folder/x.xml
cp float.xml alone.xml
fails "$CRAYON" inspect alone.xml
ls
