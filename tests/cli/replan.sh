# Saved statistics: other bits, exclusions, methods and granularity in well under two seconds each, the
# same as from pictures; memory and result do not depend on how often the pictures come.
not_sanitized
need_sample
make_scenes 24
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes --all-samples --no-check --threads 1 \
    --save-stats one.json >/dev/null
"$CRAYON" quantize "$SAMPLE" -o q2.onnx --images scenes --all-samples --no-check --threads 2 \
    --save-stats two.json >/dev/null
cmp one.json two.json && cmp q.onnx q2.onnx && echo "the same for any number of threads"
for plan in '--calib minmax' '--calib entropy' '--calib lp:3' '--keep-float *stem*' \
    '--activations int8' '--activations int16' '--weights int4' '--granularity tensor'; do
    start=$(date +%s%N)
    "$CRAYON" quantize "$SAMPLE" -o other.onnx --stats one.json $plan >/dev/null || echo "$plan failed"
    [ $((($(date +%s%N) - start) / 1000000)) -lt 2000 ] || echo "$plan took two seconds"
    cmp -s q.onnx other.onnx && echo "$plan makes no difference"
done
"$CRAYON" quantize "$SAMPLE" -o a.onnx --stats one.json --calib lp:3 >/dev/null
"$CRAYON" quantize "$SAMPLE" -o b.onnx --images scenes --all-samples --no-check --calib lp:3 \
    --rounding nearest >/dev/null
cmp a.onnx b.onnx && echo "the same as from pictures"
# 120 and 480 pictures: the list again and again
ls "$PWD"/scenes/images/*.jpg >all.txt
for i in $(seq 20); do cat all.txt; done >many.txt
head -n 120 many.txt >few.txt
python3 - <<'PY'
import os, resource, subprocess
def peak(pictures):
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        program = os.environ["CRAYON"]
        os.execv(program, [program, "quantize", "shapes.onnx", "-o", "m.onnx", "--images", pictures,
                           "--samples", "5000", "--all-samples", "--no-check", "--threads", "1"])
    status, used = os.wait4(pid, 0)[1:]
    assert status == 0, pictures
    return used.ru_maxrss
few, many = peak("few.txt"), peak("many.txt")
# 1.05 measured; the allowance is for what the allocator keeps
print("memory is flat" if many < 1.15 * few else f"{few} KB with 120 pictures, {many} with 480")
PY
"$CRAYON" quantize "$SAMPLE" -o m.onnx --images many.txt --samples 480 --no-check | sed -n 's/, [0-9.]* s$//; s/[0-9]* pictures/N pictures/; /^calibration/p'
