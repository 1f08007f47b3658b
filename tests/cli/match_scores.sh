# Scores that are matched on pictures without labels: never further from the float model's counts.
not_sanitized
need_sample
make_scenes 16
"$CRAYON" quantize "$SAMPLE" -o m.onnx --images scenes --symmetric --granularity tensor \
    --match-scores --save-recipe r.json >said.txt
grep -o '^scores  *classes: logits' said.txt
python3 -c 'import re; n = [int(x) for x in re.findall(r"25: (\d+) .*, (\d+) -> (\d+)", open("said.txt").read())[0]]
print("not further away:", abs(n[2] - n[0]) <= abs(n[1] - n[0]), n[0] > 10)'
"$CRAYON" quantize "$SAMPLE" -o again.onnx --recipe r.json >/dev/null
cmp m.onnx again.onnx && echo "the same from the recipe"
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --images scenes --head detach --match-scores
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats stats.json --match-scores
