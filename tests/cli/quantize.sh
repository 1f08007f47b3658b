# The main job on the sample: five lines, a smaller file, recipe and statistics that can be reused.
need_sample
make_scenes 24
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes --samples 16 --rounding nearest --save-stats stats.json \
    --save-recipe recipe.json
[ $(($(wc -c <q.onnx) * 100 / $(wc -c <"$SAMPLE"))) -le 40 ] && echo "under 40 % of the size"
"$CRAYON" quantize "$SAMPLE" -o again.onnx --stats stats.json >/dev/null
"$CRAYON" quantize "$SAMPLE" -o planned.onnx --recipe recipe.json >/dev/null
cmp q.onnx again.onnx && cmp q.onnx planned.onnx && echo "the same from statistics and from recipe"
"$CRAYON" inspect q.onnx --json >q.json
json q.json 'j["quantized"], j["precision"]'
"$CRAYON" inspect "$SAMPLE" --json >f.json
[ "$(json f.json 'j["operators"]')" = "$(json q.json 'j["operators"]')" ] && echo "the same graph"
for plan in '--weights uint8' '--activations int8' '--granularity tensor' --symmetric \
    --reduce-range '--calib minmax' '--calib moving-average' '--calib percentile' \
    '--calib percentile:99.9' '--calib entropy' '--calib lp' '--calib lp:8' '--head quantize' \
    '--head float'; do
    "$CRAYON" quantize "$SAMPLE" -o other.onnx --stats stats.json $plan >/dev/null
    cmp -s q.onnx other.onnx && echo "$plan makes no difference"
done
fails "$CRAYON" quantize q.onnx -o qq.onnx --images scenes
fails "$CRAYON" quantize "$SAMPLE" -o qq.onnx --stats stats.json --keep-float 'no-such-*'
listing | grep -v scenes/
