# Float models in bfloat16: close to float32, the same on any number of threads, at every level; a
# quantized model is what its file says whatever the option.
need_sample
make_scenes 6
"$CRAYON" compare "$SAMPLE" "$SAMPLE" --precision bf16 --images scenes/images --json >close.json
json close.json '0.9 < j["agreement"]'
"$CRAYON" detect "$SAMPLE" scenes --json float.json >/dev/null
"$CRAYON" detect "$SAMPLE" scenes --precision float32 --json - | cmp - float.json
"$CRAYON" detect "$SAMPLE" scenes --precision bf16 --json half.json >/dev/null
cmp -s half.json float.json && echo "FAULT: no difference"
"$CRAYON" detect "$SAMPLE" scenes --precision bf16 --threads 1 --json - | cmp - half.json && echo "the same on one thread"
"$CRAYON" detect "$SAMPLE" scenes --precision auto --json auto.json >/dev/null
cmp -s auto.json half.json || cmp -s auto.json float.json && echo "auto is one of them"
for level in c avx2 avx512 avx512bf16 amx neon; do
    "$CRAYON" compare "$SAMPLE" "$SAMPLE" --cpu $level --precision bf16 --images scenes/images --json >level.json 2>/dev/null || continue
    [ "$(json level.json '0.9 < j["agreement"]')" = True ] || echo "FAULT: $level"
done
"$CRAYON" bench "$SAMPLE" --precision bf16 --runs 1 --json >bench.json
json bench.json '[k["precision"] for k in j]'
"$CRAYON" bench "$SAMPLE" --cpu c --precision auto --runs 1 --json >bench.json
json bench.json '[k["precision"] for k in j]'
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes >/dev/null
"$CRAYON" detect q.onnx scenes --json q.json >/dev/null
"$CRAYON" detect q.onnx scenes --precision bf16 --json - | cmp - q.json && echo "int8 stays int8"
"$CRAYON" bench q.onnx --precision bf16 --runs 1 --json >bench.json
json bench.json '[k["precision"] for k in j]'
fails "$CRAYON" detect "$SAMPLE" scenes --precision half
