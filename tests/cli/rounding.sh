# Weights rounded by what their layers' inputs look like: the same on any number of threads and from the
# recipe's file, another model than nearest rounding gives; without pictures it is nearest rounding, unless
# that is asked to let sums of errors vanish, as modes do that take no pictures.
need_sample
make_scenes 24
make() { "$CRAYON" quantize "$SAMPLE" --images scenes --samples 16 "$@"; }
make -o q.onnx --save-recipe r.json --save-stats s.json | sed -n 's/.*; rounding/rounding/p'
make -o one.onnx --threads 1 >/dev/null
cmp q.onnx one.onnx && echo "the same on one thread"
"$CRAYON" quantize "$SAMPLE" -o planned.onnx --recipe r.json >/dev/null
cmp q.onnx planned.onnx && echo "the same from the recipe"
make -o nearest.onnx --rounding nearest >/dev/null
make -o gptq.onnx --rounding gptq | sed -n 's/.*; rounding/rounding/p'
make -o bias.onnx --bias-correction >/dev/null
for other in nearest gptq bias; do
    cmp -s q.onnx $other.onnx && echo "FAULT: $other makes no difference"
    "$CRAYON" compare "$SAMPLE" $other.onnx --images scenes/images --json >$other.json
    json $other.json 'j["agreement"] > 0.8'
done
"$CRAYON" quantize "$SAMPLE" -o s.onnx --stats s.json | sed -n 's/.*; rounding/FAULT: rounding/p'
cmp s.onnx nearest.onnx && echo "nearest without pictures"
"$CRAYON" quantize "$SAMPLE" -o sums.onnx --stats s.json --rounding sums | sed -n 's/.*; rounding/rounding/p'
cmp -s sums.onnx nearest.onnx && echo "FAULT: sums makes no difference"
agreement() { # NAME ROUNDING
    "$CRAYON" quantize "$SAMPLE" -o "$1.onnx" --mode weights --weights int4 --small-layers 0 --block 0 \
        --rounding "$2" >/dev/null
    "$CRAYON" compare "$SAMPLE" "$1.onnx" --images scenes/images --json >"$1.json"
    json "$1.json" 'j["agreement"]'
}
near=$(agreement w-near nearest) sums=$(agreement w-sums learned)
python3 -c "print('int4 without pictures: sums better than nearest:', $sums > $near + .02)"
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --images scenes --rounding up
