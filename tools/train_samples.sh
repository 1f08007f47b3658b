#!/bin/sh
# tools/train_samples.sh BUILD DIR TASK: trains a sample model of TASK (detect, segment, pose, classify)
# from scratch into DIR, on scenes that `crayon synth` draws, and measures it on others that it never
# saw. Stopped, it goes on where it was. Some 10 minutes of one core, detect 15, classify one.
#
# Choices were made by the scenes of seed 2, which also pick the best moment; seed 3 is for the
# figures.
set -eu
build=$(cd "${1:?usage: tools/train_samples.sh BUILD DIR TASK}" && pwd)
dir=${2:?DIR is missing}
task=${3:?TASK is missing}
crayon=$build/crayon
mkdir -p "$dir"

draw() { # SET COUNT SEED
    [ -e "$dir/$task-$1.done" ] || "$crayon" synth "$dir/$task-$1" -n "$2" --seed "$3" --task "$task"
    touch "$dir/$task-$1.done"
}

case $task in
detect) name=shapes arch=pico ;;
segment) name=shapes-seg arch=pico-seg ;;
pose) name=shapes-pose arch=pico-pose ;;
classify) name=shapes-cls arch=pico-cls ;;
*) echo "no task '$task'" >&2 && exit 2 ;;
esac
case $task in classify) train=3000 val=500 ;; *) train=4000 val=200 ;; esac
case $task in detect) epochs=12 ;; *) epochs=7 ;; esac
draw train $train 1
draw val $val 2
draw test 500 3
# corners are numbered from the topmost one, which a turned picture would belie
case $task in pose) augment=none ;; *) augment=symmetry ;; esac
set -- --arch $arch --augment $augment --threads 1 --checkpoint "$dir/$name.state" --resume \
    --report "$dir/$name.html" -o "$dir/$name.onnx"
if [ "$task" = classify ]; then
    "$crayon" train "$@" --imgsz 64 --data "$dir/$task-train" --val "$dir/$task-val" --epochs 8 --validate-every 300
    "$crayon" eval "$dir/$name.onnx" --images "$dir/$task-test" --labels "$dir/$task-test"
else
    "$crayon" train "$@" --imgsz 256 --batch 8 --rate .014 --epochs $epochs --validate-every 500 \
        --data "$dir/$task-train/images" --labels "$dir/$task-train/instances.json" \
        --val "$dir/$task-val/images" --val-labels "$dir/$task-val/instances.json"
    "$crayon" eval "$dir/$name.onnx" --images "$dir/$task-test/images" \
        --labels "$dir/$task-test/instances.json"
fi
