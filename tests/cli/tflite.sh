# TFLite files out: float, 16-bit weights; read again they are the same model.
need_sample
make_scenes 6
same() {
    "$CRAYON" compare "$SAMPLE" "$1" --images scenes/images --json >c.json
    json c.json "'$1 %s' % (j['agreement'] > $2)"
}
size() {
    [ $(($(wc -c <"$1") * 1000 / $(wc -c <float.tflite))) -le "$2" ] || echo "FAULT: $1 is $(wc -c <"$1") bytes"
}
"$CRAYON" convert "$SAMPLE" -o float.tflite | cut -d: -f1
same float.tflite .999
head -c 8 float.tflite | tail -c 4 && echo
python3 -c '
import json, zipfile
z = zipfile.ZipFile("float.tflite")
meta = json.loads(z.read("metadata.json"))
print(z.namelist(), z.testzip(), meta["task"], meta["imgsz"], meta["names"]["0"])'
"$CRAYON" convert float.tflite -o again.onnx | cut -d: -f1
same again.onnx .999
"$CRAYON" quantize "$SAMPLE" -o half.tflite --mode fp16 | sed -n 2p
same half.tflite .99
size half.tflite 540 # names, tables and the grid of cells stay as they are
"$CRAYON" convert "$SAMPLE" -o twice.tflite >/dev/null && cmp float.tflite twice.tflite
"$CRAYON" quantize "$SAMPLE" -o int8.tflite --images scenes/images --rounding nearest --no-check --save-stats s.json | sed -n 3p
same int8.tflite .9
size int8.tflite 320 # names, tables and scales are a larger share of a small model
for io in int8 uint8; do
    "$CRAYON" quantize "$SAMPLE" -o $io.tflite --stats s.json --target tflite --io $io >/dev/null
    same $io.tflite .6 # boxes of 8 bits: steps of one pixel
done
"$CRAYON" quantize "$SAMPLE" -o wide.tflite --stats s.json --activations int16 >/dev/null
same wide.tflite .95
"$CRAYON" quantize "$SAMPLE" -o tensor.tflite --stats s.json --granularity tensor >/dev/null
same tensor.tflite .85
"$CRAYON" quantize "$SAMPLE" -o float-head.tflite --stats s.json --head float >/dev/null
same float-head.tflite .9
"$CRAYON" quantize "$SAMPLE" -o dynamic.tflite --mode dynamic >/dev/null
same dynamic.tflite .9
"$CRAYON" quantize "$SAMPLE" -o weights.tflite --mode weights >/dev/null
same weights.tflite .9
"$CRAYON" quantize "$SAMPLE" -o four.tflite --mode weights --weights int4 >/dev/null
same four.tflite .6
size four.tflite 260 # two weights to a byte; small layers keep 8 bits
"$CRAYON" inspect four.tflite | grep '^precision'
for target in edgetpu npu-nxp; do
    "$CRAYON" quantize "$SAMPLE" -o $target.tflite --images scenes/images --rounding nearest --no-check \
        --target $target | grep -E '^target|stay'
done
"$CRAYON" eval edgetpu.tflite --images scenes/images --labels scenes/instances.json --against "$SAMPLE" --json >d.json
json d.json '"decoded by the host:", j["agreement"] > .85'
"$CRAYON" quantize "$SAMPLE" -o whole.tflite --images scenes/images --rounding nearest --no-check \
    --target edgetpu --head quantize | grep -E '^target|stay'
"$CRAYON" quantize "$SAMPLE" -o hard.tflite --images scenes/images --rounding nearest --no-check \
    --activation hard-swish >/dev/null
"$CRAYON" inspect hard.tflite --json >h.json && json h.json '"HardSwish" in j["operators"], "Sigmoid" in j["operators"]'
fails "$CRAYON" quantize "$SAMPLE" -o x.tflite --stats s.json --equalize all
fails "$CRAYON" quantize "$SAMPLE" -o x.tflite --stats s.json --target tpu
fails "$CRAYON" quantize "$SAMPLE" -o x.tflite --mode bf16
[ ! -e x.tflite ] && echo "nothing written"
