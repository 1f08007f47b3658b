# Every type of weight and activation on the sample: smaller files, the same recipe from the file, weight-only
# models without pictures.
need_sample
make_scenes 4
"$CRAYON" quantize "$SAMPLE" -o static.onnx --images scenes --save-stats stats.json >/dev/null
for type in int16 int8 uint8 int4 uint4 int2 uint2 int1; do
    "$CRAYON" quantize "$SAMPLE" -o "w-$type.onnx" --mode weights --weights $type --first-last same \
        --save-recipe "w-$type.json" >"w-$type.txt"
    "$CRAYON" quantize "$SAMPLE" -o again.onnx --recipe "w-$type.json" >/dev/null
    cmp "w-$type.onnx" again.onnx
    "$CRAYON" inspect "w-$type.onnx" --json >w.json
    echo "$type: $(json w.json 'j["precision"]'), opset $(json w.json 'j["opset"]')"
done
sed -n '2,3p;5p' w-int4.txt
size() { wc -c <"$1"; }
for pair in 'int8 int16' 'int4 int8' 'int2 int4'; do
    set -- $pair
    [ $(size "w-$1.onnx") -lt $(size "w-$2.onnx") ] && echo "$1 is smaller than $2"
done
for plan in '--weights int4' '--weights int4 --first-last same' '--weights int4 --weight-scales max' \
    '--weight-scales mse' '--weights int4 --block 16' '--weights int2' '--weights int1' '--activations int16' \
    '--activations uint16' '--activations float'; do
    "$CRAYON" quantize "$SAMPLE" -o other.onnx --stats stats.json $plan >/dev/null
    cmp -s static.onnx other.onnx && echo "$plan makes no difference"
    "$CRAYON" detect other.onnx scenes --json found.json >/dev/null || echo "$plan does not run"
    "$CRAYON" inspect other.onnx --json >w.json
    echo "$plan: $(json w.json 'j["precision"]')"
done
plain='--mode weights --weights int4 --first-last same'
for plan in '--small-layers 0 --block 0' '--small-layers 0' '--small-layers 50'; do
    "$CRAYON" quantize "$SAMPLE" -o bits.onnx $plain $plan >bits.txt
    [ $(size bits.onnx) -gt ${before:-0} ] && echo "$plan: more bytes"
    before=$(size bits.onnx)
done
sed -n 's/.*\(weights int4.*int8\).*/\1/p' bits.txt
fails "$CRAYON" quantize "$SAMPLE" -o w.onnx --mode weights --small-layers 101
fails "$CRAYON" quantize "$SAMPLE" -o w.onnx --mode weights --stats stats.json
fails "$CRAYON" quantize "$SAMPLE" -o w.onnx --mode weights --weights int3
fails "$CRAYON" quantize "$SAMPLE" -o w.onnx --mode weights --block -1
