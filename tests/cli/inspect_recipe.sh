# inspect RECIPE.json and inspect MODEL --placement: what is quantized how, and why the rest is not.
need_sample
"$CRAYON" synth scenes -n 4 --seed 1 >/dev/null 2>&1
"$CRAYON" quantize "$SAMPLE" -o out.onnx --images scenes/images --keep-float '*stem*' --save-recipe recipe.json >log 2>&1 ||
    cat log

echo "== a recipe"
"$CRAYON" inspect recipe.json >table
sed -n 's/pictures [0-9]*/pictures N/; s/, crayon .*//; 1,4p' table
"$CRAYON" inspect recipe.json --json >recipe.out
json recipe.out 'j["recipe"], j["facts"]["keep_float"], j["changes"]'
json recipe.out 'len(j["placement"])'
[ "$(json recipe.out 'len(j["placement"])')" = "$(($(wc -l <table) - 6))" ] && echo "one line per tensor"
json recipe.out '[(p["tensor"], p["type"], p["why"]) for p in j["placement"]][:4]'
json recipe.out 'sorted({p["why"] for p in j["placement"] if not p["quantized"]})'
json recipe.out 'sorted({p["role"] for p in j["placement"]})'
json recipe.out '{(p["op"], p["quantized"]) for p in j["placement"] if p["role"] == "score" and p["weight"]}'
json recipe.out 'all(p["scale_min"] <= p["scale_max"] and p["lo"] <= 0 <= p["hi"] for p in j["placement"] if p["quantized"])'

echo "== its entries are those of the recipe"
json recipe.json 'len(j["activations"]) + len(j["weights"])'
json recipe.out 'sum(p["quantized"] for p in j["placement"])'

echo "== the same, read from the quantized file"
"$CRAYON" inspect out.onnx --placement --json >model.out
json model.out 'len([p for p in j["placement"] if p["quantized"]])'
json model.out 'sorted({p["why"] for p in j["placement"] if p["weight"] and not p["quantized"]})'
"$CRAYON" inspect out.onnx --placement | grep -c 'rounded once, behind it$'

echo "== a recipe without explanations"
python3 - <<'P'
import json
r = json.load(open("recipe.json"))
del r["placement"]
json.dump(r, open("plain.json", "w"))
P
"$CRAYON" inspect plain.json --json >plain.out
json plain.out 'len(j["placement"]), all(p["quantized"] for p in j["placement"])'

echo "== wrong files and options"
echo '{"format": "crayon-recipe", "version": 1, "activations": 3}' >bad.json
echo '{"format": "crayon-recipe", "version": 1, "activations": {}, "weights": {}, "placement": [{}]}' >nameless.json
fails "$CRAYON" inspect bad.json
fails "$CRAYON" inspect nameless.json
fails "$CRAYON" inspect missing.json
fails "$CRAYON" inspect "$SAMPLE" --placement
fails "$CRAYON" inspect recipe.json --layers
