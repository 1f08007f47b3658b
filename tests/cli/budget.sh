# The cheapest precision per layer within a budget: with times from a file a plan is reproducible.
not_sanitized
need_sample
make_scenes 6
"$CRAYON" inspect "$SAMPLE" --layers --json >layers.json
# write_times KIND: int8 takes half of float's time, or all layers but the last in execution, or twice it
write_times() {
    python3 - "$1" >"$1.json" <<'PY'
import json, sys
layers = [l["node"] for l in json.load(open("layers.json"))["layers"] if l["weight_type"]]
share = {"fast": 0.5, "mixed": 0.5, "slow": 2}[sys.argv[1]]
t = {n: {"float32": 1, "int16": 1.5 * share, "int8": share, "int4": share} for n in layers}
if sys.argv[1] == "mixed": t[layers[3]] = {"float32": 1, "int16": 9, "int8": 9, "int4": 9}
whole = {k: sum(v[k] for v in t.values()) + 1 for k in ("float32", "int16", "int8", "int4")}
print(json.dumps({"format": "crayon-times", "version": 1, "whole": whole, "layers": t}))
PY
}
types() {
    "$CRAYON" inspect "$1" --layers --json >types.json
    json types.json 'sorted((t, sum(l["weight_type"] == t for l in j["layers"])) for t in {l["weight_type"] for l in j["layers"] if l["weight_type"]})'
}
budget() {
    "$CRAYON" quantize "$SAMPLE" --images scenes/images --seed 3 "$@"
}
write_times fast
write_times mixed
write_times slow
budget -o a.onnx --max-drop 4 --times fast.json --save-recipe a.json >a.txt
budget -o b.onnx --max-drop 4 --times fast.json >b.txt
sed -i '/^calibration/d' a.txt b.txt
cmp a.onnx b.onnx && cmp a.txt b.txt && echo "the same again"
grep -c '^\*' a.txt
json a.json '4 >= [float(v.split()[1].strip(",")) for k, v in j["facts"].items() if v.endswith("(chosen)")][0]'
json a.json 'j["facts"]["budget"]'
budget -o mixed.onnx --max-drop 100 --no-int4 --times mixed.json >/dev/null && types mixed.onnx
budget -o slow.onnx --max-drop 100 --times slow.json | grep '^kept\|^\*' | cut -c1-30
types slow.onnx
budget -o two.onnx --int16-layers 2 --save-recipe two.json >/dev/null
json two.json 'len({tuple(e["scale"]) for e in j["activations"].values() if e["type"] == "int16"})'
# measured here: whatever the times are, a file of them is left and the budget kept
budget -o here.onnx --max-drop 30 --times here.json --labels scenes/instances.json >here.txt
json here.json 'len(j["layers"])'
grep -c '^\*\|mAP50-95' here.txt
echo '{"format": "crayon-times", "version": 1, "whole": {"float32": 1, "int8": 1, "int16": 1, "int4": 1}, "layers": {}}' >empty.json
sed 's/"int8": 0.5/"int8": -1/' fast.json >negative.json
echo '{"format": "crayon-times"' >cut.json
fails budget -o x.onnx --max-drop 1 --times empty.json
fails budget -o x.onnx --max-drop 1 --times negative.json
fails budget -o x.onnx --max-drop 1 --times cut.json
fails budget -o x.onnx --max-drop none
fails budget -o x.onnx --times fast.json
fails budget -o x.onnx --max-drop 1 --recipe a.json
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats a.json --max-drop 1
ls x.onnx 2>/dev/null
true
