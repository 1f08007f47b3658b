# Training without labels: another activation repaired, 4-bit weights, the same bits with any number of
# threads and after a kill.
need_sample
make_scenes 10
small="--images scenes/images --batch 2 --train-size 160 --judges 5"
qat() {
    # shellcheck disable=SC2086
    "$CRAYON" qat "$SAMPLE" $small "$@" 2>messages
}
float() {
    qat --activation "$@" --float
}
float relu6 --steps 6 -o a.onnx --threads 1 --curve a.tsv >a.txt
cut -d' ' -f1 a.txt
python3 - <<'PY'
import re
line = [l for l in open("a.txt") if l.startswith("refitted")][0]
before, after = map(float, re.search("outputs ([0-9.]+) -> ([0-9.]+)", line).groups())
print("better by far:", after < before * .6)
PY
sed 's/:.*//' messages
wc -l <a.tsv
float relu6 --steps 6 -o b.onnx --threads 3 >/dev/null && cmp a.onnx b.onnx && echo "the same with three threads"
"$CRAYON" inspect a.onnx --json >a.json
json a.json '{k: v for k, v in j["operators"].items() if k in ("Clip", "Swish", "Conv")}'
for activation in relu leaky-relu hard-swish; do
    float $activation --steps 1 -o $activation.onnx >/dev/null
    "$CRAYON" inspect $activation.onnx --json >x.json
    json x.json '{k: v for k, v in j["operators"].items() if k in ("Relu", "LeakyRelu", "HardSwish", "Swish")}'
done
# the bare swap, its agreement told against the model as it was
"$CRAYON" quantize "$SAMPLE" -o bare.onnx --images scenes/images --activation relu6 --rounding nearest --no-check \
    >bare.txt && grep '^activation' bare.txt
# killed while it trains, then gone on with
(qat --steps 20 --weights int4 -o c.onnx --checkpoint state >/dev/null) &
tries=0
until [ -e state ] || [ $tries -gt 1500 ]; do sleep .04; tries=$((tries + 1)); done
pkill -KILL -P $! 2>/dev/null
wait
[ -e c.onnx ] && echo "FAULT: it was done before it was killed"
qat --steps 20 --weights int4 -o c.onnx --checkpoint state --resume --threads 2 >c.txt
qat --steps 20 --weights int4 -o d.onnx --save-recipe d.json --threads 1 >d.txt
cmp c.onnx d.onnx && echo "the same as undisturbed"
cut -d' ' -f1 d.txt
python3 - <<'PY'
import re
line = [l for l in open("d.txt") if l.startswith("trained")][0]
before, after = map(float, re.search("error ([0-9.]+) -> ([0-9.]+)", line).groups())
print("better:", after < before)
PY
"$CRAYON" convert "$SAMPLE" --recipe d.json -o again.onnx && cmp d.onnx again.onnx && echo "the recipe says all"
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes/images --weights int4 --steps 19 --checkpoint state --resume \
    --train-size 160 --judges 5 --seed 5
# judges of their own: all ten pictures train
mkdir judges && cp scenes/images/000001.jpg scenes/images/000004.jpg judges
qat --weights int4 --steps 1 -o f.onnx --judge-images judges >f.txt && grep -o '10 pictures' f.txt && grep -o 'on the 2 pictures' f.txt
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes/images --judge-images nowhere
# bad pictures among good ones
echo nothing >scenes/images/000003.jpg
qat --weights int4 --steps 3 --no-vary -o e.onnx >e.txt; echo "exit $?"
grep -c 'left out' messages
grep pictures e.txt | head -n 1
mkdir none && echo nothing >none/a.jpg
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images none --steps 1
fails "$CRAYON" qat d.onnx -o x.onnx --images scenes/images --steps 1
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes/images --float
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes/images --float --activation relu --weights int4
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes/images --activation gelu
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes/images --train-size 100
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes/images --rate 0
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes/images --resume
fails "$CRAYON" qat "$SAMPLE" -o x.onnx
fails "$CRAYON" qat "$SAMPLE" --images scenes/images
ls x.onnx 2>/dev/null
true
