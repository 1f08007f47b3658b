# crayon train: every task from scratch and a model further on, the same bits for any number of
# threads, after kill -9 at twenty random moments too; bad data sets named and survived.
train() { "$CRAYON" train --threads 1 "$@" 2>messages; }
tiny="--imgsz 64 --batch 4"

"$CRAYON" synth classes -n 40 --seed 1 --task classify >/dev/null
for task in detect segment pose; do "$CRAYON" synth $task -n 12 --seed 1 --task $task >/dev/null; done

echo "- tasks"
train --arch pico-cls $tiny --data classes --augment symmetry --steps 20 --validate-every 20 \
    -o classes.onnx --json >classes.json || cat messages
json classes.json 'j["metric"], j["steps"], j["pictures"], j["judged"], j["objects"], 0 <= j["best"] <= 1'
"$CRAYON" inspect classes.onnx | grep -E '^(family|outputs|classes)'
for task in detect segment pose; do
    case $task in detect) arch=pico ;; segment) arch=pico-seg ;; pose) arch=pico-pose ;; esac
    train --arch $arch $tiny --data $task/images --labels $task/instances.json --steps 2 \
        -o $task.onnx --json --report $task.html >$task.json || cat messages
    json $task.json 'j["metric"], j["steps"], j["pictures"], j["judged"], len(j["validations"])'
    "$CRAYON" inspect $task.onnx | grep -E '^(family|inputs|outputs|classes)'
    "$CRAYON" detect $task.onnx $task/images/000000.jpg >/dev/null || echo "FAULT: cannot run"
    grep -q 'id="training"' $task.html || echo "FAULT: no curves"
done

echo "- a model further on"
train classes.onnx --data classes --augment symmetry --steps 10 --batch 4 --rate .01 --seed 3 \
    -o more.onnx --json >more.json || cat messages
json more.json 'j["metric"], j["steps"], j["best"] >= 0'
if [ -e "$SAMPLE" ]; then
    train "$SAMPLE" --data detect/images --labels detect/instances.json --steps 2 --batch 2 \
        --val detect/images --val-labels detect/instances.json -o finer.onnx --json >finer.json
    json finer.json 'j["metric"], j["judged"], j["best"] > .6'
else
    echo "('mAP50-95', 12, True)"
fi

echo "- options"
small="--arch pico-cls --imgsz 32 --data classes --batch 4"
train $small --steps 3 --pass 2 --augment none --optimiser adamw -o p.onnx --json >p.json || cat messages
train $small --minutes .02 --augment flip --optimiser sgd --rate .02 -o p.onnx >p.txt || cat messages
grep -c '^trained' p.txt
train $small --epochs 1 --augment yolo --cpu avx2 -o p.onnx --json >p.json || cat messages
json p.json 'j["steps"]'
train $small --steps 200 --validate-every 1 --patience 2 --val classes -o p.onnx --json >p.json || cat messages
json p.json 'j["steps"] == j["best_step"] + 2 or j["steps"] == 200, j["judged"]'
train $small --steps 3 -o a.onnx >a.txt && train $small --steps 3 --seed 5 -o b.onnx >b.txt
cmp -s a.onnx b.onnx && echo "FAULT: the seed changes nothing"
train p.onnx --data classes --batch 4 --pass 2 --steps 2 --val classes --rate 1e-9 -o q.onnx --json >q.json
json q.json 'j["validations"][0]["step"], j["best"] >= j["validations"][0]["score"]'

echo "- threads, kill -9"
job="--arch pico-cls $tiny --data classes --augment symmetry --steps 30 --validate-every 10"
going_on="--threads 1 --checkpoint state --checkpoint-every 1 --resume"
"$CRAYON" train $job -o one.onnx --threads 1 >/dev/null 2>messages
"$CRAYON" train $job -o two.onnx --threads 2 >/dev/null 2>messages
cmp one.onnx two.onnx && echo "two threads: the same file"
kills=0
while [ $kills -lt 20 ] && [ ! -e killed.onnx ]; do
    "$CRAYON" train $job $going_on -o killed.onnx >/dev/null 2>messages &
    pid=$!
    sleep "$(awk -v n=$kills 'BEGIN { srand(n + 1); print .02 + .2 * rand() }')"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    kills=$((kills + 1))
done
"$CRAYON" train $job $going_on -o killed.onnx >/dev/null 2>messages
cmp one.onnx killed.onnx && echo "after kills: the same file"

echo "- survived"
cp -r detect broken
printf 'no picture' >broken/images/000003.jpg
train --arch pico $tiny --data broken/images --labels broken/instances.json --epochs 1 -o b.onnx \
    --json >b.json || cat messages
json b.json 'j["broken"], j["missing"]'
grep -c '000003.jpg' messages
rm broken/images/000003.jpg
train --arch pico $tiny --data broken/images --labels broken/instances.json --steps 2 -o b.onnx \
    --json >b.json || cat messages
json b.json 'j["broken"], j["missing"]'
python3 - <<'PY'
import json
j = json.load(open("detect/instances.json"))
one = dict(j, images=j["images"][:1],
           annotations=[a for a in j["annotations"] if a["image_id"] == j["images"][0]["id"]])
json.dump(one, open("one.json", "w"))
json.dump(dict(j, annotations=[]), open("empty.json", "w"))
for c in j["categories"]:
    c["name"] = {"star": "sun"}.get(c["name"], c["name"])
j["categories"].append({"id": 99, "name": "moon"})
json.dump(j, open("other.json", "w"))
PY
train --arch pico $tiny --data detect/images --labels one.json --steps 2 -o o.onnx --json >o.json
json o.json 'j["pictures"], j["judged"]'
grep -o 'one picture alone.*' messages
train --arch pico $tiny --data detect/images --labels empty.json --steps 2 -o e.onnx --json >e.json
json e.json 'j["objects"], j["best"]'
grep -o 'no picture holds any object' messages
train detect.onnx --data detect/images --labels other.json --steps 1 --batch 2 -o u.onnx --json >u.json
json u.json 'j["unknown"] > 0'
grep -o "class 'sun' is unknown to the model" messages

echo "- refused"
train detect.onnx --batch 4 --data detect/images --labels detect/instances.json --steps 50 --rate 1e3 \
    -o nan.onnx
echo "exit $?: $(tail -n 1 messages | grep -o 'steps in a row were left out.*')"
echo "$(grep -c 'warning: step' messages) warnings"
ls nan.onnx 2>/dev/null
fails "$CRAYON" train --arch yolov9 --data classes -o x.onnx
fails "$CRAYON" train --arch pico --imgsz 100 --data classes -o x.onnx
fails "$CRAYON" train --arch pico-pose $tiny --data detect/images --labels empty.json -o x.onnx
fails "$CRAYON" train --arch pico --data nowhere -o x.onnx
fails "$CRAYON" train --data classes -o x.onnx
fails "$CRAYON" train --arch pico -o x.onnx
fails "$CRAYON" train --arch pico --data classes
fails "$CRAYON" train --arch pico --data classes --resume -o x.onnx
fails "$CRAYON" train --arch pico --data classes --batch 6 --pass 4 -o x.onnx
fails "$CRAYON" train --arch pico --data classes --optimiser adam -o x.onnx
fails "$CRAYON" train --arch pico --data classes --augment much -o x.onnx
fails "$CRAYON" train --arch pico-cls $tiny --data classes --steps 31 --checkpoint state --resume \
    --seed 9 -o x.onnx
ls x.onnx 2>/dev/null
true
