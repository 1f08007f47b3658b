# What inspect says of the sample, as text and as JSON.
need_sample
"$CRAYON" inspect "$SAMPLE" | cut -c1-14
"$CRAYON" inspect "$SAMPLE" --layers >layers.txt
"$CRAYON" inspect "$SAMPLE" --layers --json >model.json
json model.json 'j["task"], j["names"], j["preprocess"]["fit"], j["preprocess"]["order"]'
json model.json 'j["precision"], j["quantized"], j["parameters"] > 50000, j["macs"] > 10**7'
json model.json 'j["inputs"][0]["shape"][:2], j["outputs"][0]["shape"][1]'
json model.json 'len(j["layers"]) == j["nodes"] == sum(j["operators"].values())'
json model.json 'sorted({(p["role"], p["count"]) for p in j["head"]})'
[ "$(json model.json 'j["nodes"]')" = "$(($(wc -l <layers.txt) - $("$CRAYON" inspect "$SAMPLE" | wc -l) - 2))" ] &&
    echo "one line per node"
