# What layers cost at the output: each has a line, the sum is about the whole, file and recipe agree.
not_sanitized
need_sample
make_scenes 6
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes --save-recipe r.json >/dev/null
"$CRAYON" compare "$SAMPLE" q.onnx --images scenes --layers --exact --limit 4 --json >file.json
"$CRAYON" compare "$SAMPLE" r.json --images scenes --layers --exact --limit 4 --json >recipe.json
cmp file.json recipe.json && echo "the same for file and recipe"
"$CRAYON" inspect q.onnx --layers --json >q.json
layers=$(json q.json 'sum(l["weight_type"] == "int8" for l in j["layers"])')
[ "$(json file.json 'len(j["costs"]["layers"])')" = "$layers" ] && echo "every quantized layer"
json file.json '[l["alone_error"] for l in j["costs"]["layers"]] == sorted((l["alone_error"] for l in j["costs"]["layers"]), reverse=True)'
json file.json '0.2 < sum(l["alone_error"] for l in j["costs"]["layers"]) / j["costs"]["error"] < 5'
json file.json 'all(0 <= l["alone_error"] and 0 < l["without_error"] and 0.5 < l["alone_agreement"] <= 1 for l in j["costs"]["layers"])'
# of one layer alone: all is the layer, and nothing is left without it
first=$(json file.json 'j["costs"]["layers"][0]["node"]')
"$CRAYON" quantize "$SAMPLE" -o one.onnx --images scenes --only "$first" >/dev/null
"$CRAYON" compare "$SAMPLE" one.onnx --images scenes --layers --limit 4 --json >one.json
json one.json 'len(j["costs"]["layers"]), j["costs"]["error"] == j["costs"]["layers"][0]["alone_error"], j["costs"]["layers"][0]["without_error"]'
"$CRAYON" compare "$SAMPLE" "$SAMPLE" --images scenes --layers --limit 2 --json >same.json
json same.json 'j["costs"]'
"$CRAYON" compare "$SAMPLE" r.json --images scenes --layers --limit 4 | grep -c ' %  '
fails "$CRAYON" compare "$SAMPLE" r.json --images scenes --exact
