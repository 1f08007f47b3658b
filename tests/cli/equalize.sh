# Scaled channels: other weights than without, the same from the recipe's file and for any number of
# threads; SiLU networks change only where they are asked to. The float network stays what it was.
need_sample
make_scenes 24
make() { "$CRAYON" quantize "$SAMPLE" --images scenes --samples 16 --no-check --rounding nearest "$@" >/dev/null; }
make -o off.onnx --equalize off
make -o fold.onnx --equalize fold
make -o all.onnx --equalize all --save-recipe r.json --save-stats s.json
cmp -s off.onnx all.onnx && echo "FAULT: all makes no difference"
make -o one.onnx --equalize all --threads 1
cmp all.onnx one.onnx && echo "the same on one thread"
"$CRAYON" quantize "$SAMPLE" -o again.onnx --recipe r.json >/dev/null
cmp all.onnx again.onnx && echo "the same from the recipe"
"$CRAYON" quantize "$SAMPLE" -o stats.onnx --stats s.json --equalize all >/dev/null
cmp all.onnx stats.onnx && echo "the same from statistics"
json r.json 'sorted({(x["kind"], all(f in [2.0 ** k for k in range(-9, 9)] for f in x["factor"])) for x in j["rewrites"]})'
for q in off fold all; do
    "$CRAYON" compare "$SAMPLE" $q.onnx --images scenes/images --json >$q.json
    json $q.json 'j["agreement"] > 0.9'
done
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --images scenes --equalize some
