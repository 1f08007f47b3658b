# An INT8 model's detections on every CPU level that this machine has, and on several threads.
#
# The integers are the same everywhere (tests/kernels compares them bit for bit), and so is all that
# threads do. What is behind the last convolutions is float, where a level without fused
# multiply-add rounds more often: scores and pixels may move in their last digits (0.00004 pixels
# were seen), so levels are held to 0.001.
need_sample
make_scenes 6
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes >/dev/null
"$CRAYON" detect q.onnx scenes --cpu c --json c.json >/dev/null
for level in avx2 avxvnni avx512 avx512vnni avx512vbmi avx512bf16 amx neon dotprod i8mm; do
    "$CRAYON" detect q.onnx scenes --cpu $level --json $level.json >/dev/null 2>&1 || continue
    python3 - $level <<'END'
import json, sys
def read(name):
    return [d for line in open(name + ".json") for d in json.loads(line)["detections"]]
a, b = read("c"), read(sys.argv[1])
same = [d["class"] for d in a] == [d["class"] for d in b]
gap = max(abs(x - y) for d, e in zip(a, b)
          for x, y in zip(d["box"] + [d["score"]], e["box"] + [e["score"]]))
if not same or gap > 1e-3:
    print(f"FAULT: {sys.argv[1]}: {len(a)} and {len(b)} detections, {gap} apart")
END
done
"$CRAYON" detect q.onnx scenes --json all.json >/dev/null
for threads in 1 2 3 7; do
    "$CRAYON" detect q.onnx scenes --threads $threads --json - | cmp - all.json || echo "FAULT: $threads threads"
done
json c.json 'sum(len(k["detections"]) for k in j) > 6'
