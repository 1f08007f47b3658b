# Several processes (MPI): calibration and evaluation end with the bits of one process; one of them
# writes and speaks; a failure of any is everyone's.
need_sample
command -v mpirun >/dev/null || { echo "SKIP no mpirun (Debian: openmpi-bin, libopenmpi-dev to build)"; exit 0; }
[ -e "$(dirname "$CRAYON")/libcrayon_mpi.so" ] || { echo "SKIP built without MPI (Debian: libopenmpi-dev)"; exit 0; }
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM OMPI_MCA_rmaps_base_oversubscribe \
    OMPI_MCA_btl_vader_single_copy_mechanism OMPI_MCA_hwloc_base_binding_policy
ASAN_OPTIONS=detect_leaks=0 # Open MPI leaves memory of modules that it has unloaded: no name to suppress
export ASAN_OPTIONS
run() { # processes, verb, arguments...
    n=$1 verb=$2
    shift 2
    mpirun -n "$n" "$CRAYON" "$verb" "$@" 2>&1
}
build=$(dirname "$CRAYON")
LD_LIBRARY_PATH=$build mpirun -n 4 "$build/tests/test-unit-cluster" 2>/dev/null | grep processes
"$CRAYON" synth scenes -n 21 --seed 4 >/dev/null
set -- "$SAMPLE" --images scenes/images --threads 1 --rounding nearest
"$CRAYON" quantize "$@" -o one.onnx --save-stats one.json >/dev/null 2>&1
for n in 2 3; do
    run $n quantize "$@" -o "$n.onnx" --save-stats "$n.json" >"$n.log"
    cmp one.json "$n.json" && cmp one.onnx "$n.onnx" && echo "$n processes: the statistics and model of one"
    [ "$(grep -c '^size' "$n.log")" = 1 ] && echo "and one of them speaks"
done
# a folder is made whole by one of them, twice: the second takes the place of the first
"$CRAYON" quantize "$@" -o one.mlpackage >/dev/null 2>&1
for try in made replaced; do
    run 3 quantize "$@" -o 3.mlpackage >/dev/null && diff -r one.mlpackage 3.mlpackage &&
        echo "package $try: that of one process"
done
mkfifo pipe
cat pipe >received &
run 2 quantize "$@" -o 2.onnx --save-stats pipe >/dev/null
wait $!
cmp one.json received && echo "a pipe gets what one of them writes"
"$CRAYON" eval one.onnx --images scenes/images --labels scenes/instances.json --json --save-detections one.det >one.eval
run 2 eval one.onnx --images scenes/images --labels scenes/instances.json --json --save-detections two.det >two.eval
cmp one.eval two.eval && cmp one.det two.det && echo "eval: the same"
run 30 eval one.onnx --images scenes/images --labels scenes/instances.json --json --threads 1 >many.eval
cmp one.eval many.eval && echo "eval: the same by more processes than pictures"
# training: two processes add the gradients of one with as many pictures per step, a third has none
set -- "$SAMPLE" --images scenes/images --threads 1 --batch 2 --steps 3 --train-size 128 --judges 3 --weights int4 \
    --rounding nearest
"$CRAYON" qat "$@" -o one.qat.onnx --curve one.curve >/dev/null 2>&1
for n in 2 3; do
    run $n qat "$@" -o $n.qat.onnx --curve $n.curve >$n.log
    cmp one.qat.onnx $n.qat.onnx && echo "qat: the same by $n processes"
done
[ "$(grep -c '^step' 3.log)" = "$(grep '^step' 3.log | sort -u | wc -l)" ] && grep -q '^step' 3.log &&
    echo "one of them tells how it goes"
cut -f1,3- one.curve >a && cut -f1,3- 2.curve | cmp - a && [ "$(wc -l <a)" = 4 ] && echo "and its losses"
set -- --arch pico --imgsz 96 --data scenes/images --labels scenes/instances.json --batch 4 --pass 2 --steps 3 --threads 1
"$CRAYON" train "$@" -o one.train.onnx >/dev/null 2>&1
run 2 train "$@" -o 2.train.onnx >/dev/null
cmp one.train.onnx 2.train.onnx && echo "train: the same by 2 processes"
# a picture that only the second process meets
cp -r scenes damaged
echo nonsense >damaged/images/000020.jpg
run 2 eval one.onnx --images damaged/images --labels damaged/instances.json >log
echo "exit $?"
grep '^crayon:' log | sed 's/process 1: //' | sort -u
run 2 inspect "$SAMPLE" >alone
"$CRAYON" inspect "$SAMPLE" | cmp - alone && echo "other verbs: one process"
run 2 quantize "$SAMPLE" -o x.onnx --images scenes/images --max-drop 1 >log
echo "exit $?"
grep '^crayon:' log | sort
listing | grep -v images
