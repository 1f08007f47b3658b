# inspect names what is wrong with a quantized file; quantize --fix plans it anew.
need_sample
make_scenes 24
found() { "$CRAYON" inspect "$1" --json >.json && json .json 'sorted((f["finding"], f["fixable"]) for f in j["findings"])[:1], len(j["findings"])'; }
"$CRAYON" quantize "$SAMPLE" -o good.onnx --images scenes/images --rounding nearest >/dev/null
found good.onnx
"$CRAYON" inspect good.onnx | grep -c findings
"$CRAYON" quantize "$SAMPLE" -o signed.onnx --images scenes/images --activations int8 --rounding nearest >/dev/null
found signed.onnx
"$CRAYON" inspect signed.onnx | sed -n '/^findings/,$p'
# without pictures: the codes are the same, less their signs
"$CRAYON" quantize signed.onnx --fix -o unsigned.onnx
found unsigned.onnx
"$CRAYON" compare signed.onnx unsigned.onnx --images scenes/images | grep '^agreement'
# dynamic ranges: pictures are needed
"$CRAYON" quantize "$SAMPLE" -o dynamic.onnx --mode dynamic >/dev/null
found dynamic.onnx
fails "$CRAYON" quantize dynamic.onnx --fix -o no.onnx
"$CRAYON" quantize dynamic.onnx --fix -o static.onnx --images scenes/images --rounding nearest |
    grep -E '^(mended|left)'
found static.onnx
# one scale for all channels: lost
"$CRAYON" quantize "$SAMPLE" -o tensor.onnx --images scenes/images --granularity tensor --rounding nearest >/dev/null
"$CRAYON" quantize tensor.onnx --fix -o tensor-fixed.onnx --images scenes/images |
    sed -n 's/^\(mended.*\|left *coarse-weights\).*/\1/p; s/.*\(weights 39 of 39 as in the file\).*/\1/p'
fails "$CRAYON" quantize "$SAMPLE" --fix -o no.onnx
fails "$CRAYON" quantize good.onnx -o no.onnx --images scenes/images
fails "$CRAYON" quantize good.onnx --fix -o no.onnx --mode weights
fails "$CRAYON" quantize good.onnx --fix -o no.onnx --head quantize
fails "$CRAYON" quantize good.onnx --fix -o no.onnx --recipe r.json
fails "$CRAYON" quantize good.onnx --fix -o no.onnx --images scenes/images --max-drop 1
ls no.onnx 2>/dev/null
true
