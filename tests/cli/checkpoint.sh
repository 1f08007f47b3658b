# Checkpoints (.pt): the sample model out of one is the sample model, whatever container, type and age.
need_sample
python3 "$HERE/make_checkpoint.py" "$SAMPLE" .
make_scenes 6
"$CRAYON" inspect shapes.pt | head -n 8
for f in shapes half old older protocol4; do
    "$CRAYON" compare "$SAMPLE" $f.pt --images scenes/images --json >c.json
    echo "$f: agreement $(json c.json 'j["agreement"]')"
done
# the same outputs, not only the same boxes: within rounding of a norm that is divided out and fused again
python3 -c 'import array, random; random.seed(3); array.array("f", [random.random() for _ in range(3 * 256 * 256)]).tofile(open("x.bin", "wb"))'
tool=${CRAYON%/*}/tests/peers-run_model
mkdir out-sample out-shapes out-older
"$tool" "$SAMPLE" out-sample x.bin && "$tool" shapes.pt out-shapes x.bin && "$tool" older.pt out-older x.bin
python3 - <<'END'
import array
def load(path):
    a = array.array("f")
    a.frombytes(open(path, "rb").read())
    return a
want = load("out-sample/out0.bin")
for name in "shapes", "older":
    own = load(f"out-{name}/out0.bin")
    # measured 6e-6 and 0: coordinates up to 256, scores up to 1
    print(name, len(own) == len(want) and max(abs(a - b) / max(1, abs(b)) for a, b in zip(own, want)) < 2e-5)
END
# what a model is for
"$CRAYON" quantize shapes.pt -o q.onnx --images scenes/images >/dev/null
"$CRAYON" inspect q.onnx | sed -n 's/^precision *//p'
"$CRAYON" eval q.onnx --images scenes/images --labels scenes/instances.json --against shapes.pt --json >e.json
json e.json 'j["agreement"] > 0.9'
"$CRAYON" eval shapes.pt --images scenes/images --labels scenes/instances.json --json >a.json
"$CRAYON" eval "$SAMPLE" --images scenes/images --labels scenes/instances.json --json >b.json
echo "mAP: $(json a.json 'round(j["metrics"]["AP"], 3)') $(json b.json 'round(j["metrics"]["AP"], 3)')"
"$CRAYON" detect shapes.pt scenes/images --json d.json >/dev/null && json d.json 'len(j) == 6 and sum(len(i["detections"]) for i in j) > 6'
"$CRAYON" convert shapes.pt -o float.onnx | cut -d: -f1
"$CRAYON" inspect shapes.pt --imgsz 320 | grep -E '^(inputs|preprocessing)'
fails "$CRAYON" inspect shapes.pt --imgsz 250
fails "$CRAYON" convert shapes.pt -o other.pt
