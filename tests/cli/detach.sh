# A model that ends at its branches: described in the file, decoded by us, the same from a recipe.
need_sample
make_scenes 12
"$CRAYON" quantize "$SAMPLE" -o auto.onnx --images scenes --rounding nearest --save-stats stats.json >/dev/null
"$CRAYON" quantize "$SAMPLE" -o detached.onnx --stats stats.json --head detach \
    --save-recipe recipe.json | grep -o 'ends at.*'
"$CRAYON" quantize "$SAMPLE" -o again.onnx --recipe recipe.json >/dev/null
cmp detached.onnx again.onnx && echo "the same from the recipe"
"$CRAYON" inspect detached.onnx --json >d.json
json d.json 'len(j["outputs"]), all(len(o["shape"]) == 4 for o in j["outputs"]), len(j["names"])'
json d.json 'j["preprocess"]["fit"], j["preprocess"]["why"], "Softmax" in j["operators"]'
for model in auto detached; do
    "$CRAYON" eval $model.onnx --images scenes/images --labels scenes/instances.json \
        --against "$SAMPLE" --json >$model.json
done
python3 -c 'import json; a, b = (json.load(open(n + ".json")) for n in ("auto", "detached"))
print("as good as decoded inside:", abs(a["agreement"] - b["agreement"]) < 1e-3)'
fails "$CRAYON" quantize detached.onnx -o x.onnx --images scenes --head detach
