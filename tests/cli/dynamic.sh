# quantize --mode dynamic: no pictures; what it writes, how it runs, and what does not go with it.
need_sample
make_scenes 4
"$CRAYON" quantize "$SAMPLE" -o dynamic.onnx --mode dynamic
"$CRAYON" quantize "$SAMPLE" -o tensor.onnx --mode dynamic --weights uint8 --granularity tensor \
    --save-recipe recipe.json >/dev/null
echo "$(grep -c '"dynamic": true' recipe.json) dynamic entries"
"$CRAYON" quantize "$SAMPLE" -o again.onnx --recipe recipe.json >/dev/null
cmp tensor.onnx again.onnx
for model in dynamic tensor; do "$CRAYON" inspect $model.onnx | grep precision; done
"$CRAYON" quantize "$SAMPLE" -o x.onnx --mode dynamic --images scenes | grep -Eq '^agreement *(0\.9|1\.0)' && echo "agreement .9 or more"
fails "$CRAYON" quantize "$SAMPLE" -o bad.onnx --mode dynamic --weights int4
fails "$CRAYON" quantize "$SAMPLE" -o bad.onnx --mode dynamic --activations int8
fails "$CRAYON" quantize "$SAMPLE" -o bad.onnx --mode dynamic --head quantize
fails "$CRAYON" quantize "$SAMPLE" -o bad.onnx --mode dynamic --save-stats s.json
ls bad.onnx s.json 2>/dev/null
true
