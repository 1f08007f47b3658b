# ncnn out: two files or none, every layer of the model, integers and 16-bit floats in half the room or
# less, one reader per blob, and what the format cannot say.
need_sample
make_scenes 4
"$CRAYON" convert "$SAMPLE" -o float.param | cut -d: -f1
head -n 1 float.param
ls
# a line per layer that the second line speaks of; blobs are written once, read once
cat >check.py <<'EOF'
import sys
lines = open(sys.argv[1]).read().split("\n")[1:-1]
layers, blobs = map(int, lines[0].split())
made, read = [], []
for line in lines[1:]:
    words = line.split()
    n, m = int(words[2]), int(words[3])
    read += words[4:4 + n]
    made += words[4 + n:4 + n + m]
    assert all("=" in word for word in words[4 + n + m:]), line
print(len(lines) - 1 == layers, len(made) == blobs == len(set(made)), len(read) == len(set(read)),
      sorted(set(made) - set(read)))
EOF
python3 check.py float.param
"$CRAYON" quantize "$SAMPLE" -o int8.param --images scenes/images --samples 4 --save-recipe r.json \
    --rounding nearest | grep -o 'activations int8[^;]*'
python3 check.py int8.param
grep -c ' 8=2$' int8.param
"$CRAYON" convert "$SAMPLE" --recipe r.json -o again.param | cut -d: -f1
cmp int8.param again.param && cmp int8.bin again.bin
"$CRAYON" quantize "$SAMPLE" -o half.param --mode fp16 >/dev/null
"$CRAYON" quantize "$SAMPLE" -o palette.param --mode weights --weights palette8 >/dev/null
for f in int8:30 half:51 palette:33; do
    [ $(($(wc -c <${f%:*}.bin) * 100 / $(wc -c <float.bin))) -le ${f#*:} ] || echo "FAULT: $f"
done
"$CRAYON" quantize "$SAMPLE" -o plain.onnx --images scenes/images --samples 4 --rounding nearest >/dev/null
fails "$CRAYON" convert plain.onnx -o no.param
fails "$CRAYON" quantize "$SAMPLE" -o no.param --mode dynamic
fails "$CRAYON" quantize "$SAMPLE" -o no.param --mode weights
fails "$CRAYON" convert float.param -o no.onnx
ls
