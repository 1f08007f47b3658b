# A model against itself is equal everywhere; against its INT8 form the noise is listed, worst first.
need_sample
make_scenes 6
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes --save-recipe r.json >/dev/null
"$CRAYON" compare "$SAMPLE" "$SAMPLE" --images scenes --layers --limit 2 --json >same.json
json same.json 'j["images"], round(j["agreement"], 6), set(l["sqnr_db"] for l in j["layers"])'
"$CRAYON" compare "$SAMPLE" q.onnx --images scenes --layers --limit 2 --json >file.json
"$CRAYON" compare "$SAMPLE" r.json --images scenes --layers --limit 2 --json >recipe.json
cmp file.json recipe.json && echo "the same for file and recipe"
json file.json '[l["sqnr_db"] for l in j["layers"] if l["sqnr_db"] is not None] == sorted(l["sqnr_db"] for l in j["layers"] if l["sqnr_db"] is not None)'
json file.json 'j["agreement"] > 0.7, sum(l["cosine"] > 0.99 for l in j["layers"]) > len(j["layers"]) * 0.8'
"$CRAYON" compare "$SAMPLE" q.onnx --images scenes --limit 2
