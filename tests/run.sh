#!/bin/sh
# Runs every test that needs nothing but this tree: run.sh BUILD
#
# cmocka programs (tests/unit, tests/kernels), the command line (tests/cli), laws about the source,
# the examples, the installed library, and a smoke run of each fuzzer. FUZZ_RUNS sets how many
# mutations (300). Every test counts once; the last line is "N passed, N failed, N skipped", and the
# exit status is 1 if any failed. Skipped tests are printed with their reason.
set -u
build=$(cd "${1:?usage: tests/run.sh BUILD}" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0
FUZZ_RUNS=${FUZZ_RUNS:-300}
LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
export LSAN_OPTIONS

count() { # passed failed skipped
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
}

# A command that is one test: its output is shown if it fails.
one() { # name, command...
    name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        if grep -q '^SKIP' "$work/log"; then
            count 0 0 1
            echo "SKIP $name: $(grep -m 1 '^SKIP' "$work/log" | sed 's/^SKIP *//')"
        else
            count 1 0 0
            echo "PASS $name"
        fi
    else
        count 0 1 0
        echo "FAIL $name"
        sed 's/^/    /' "$work/log"
    fi
}

# Lines that begin with PASS, FAIL and SKIP are tests; a failing exit status without one is one.
lines() { # name, command...
    name=$1
    shift
    timeout 1500 "$@" >"$work/log" 2>&1
    status=$?
    cat "$work/log"
    f=$(grep -c '^FAIL' "$work/log")
    count "$(grep -c '^PASS' "$work/log")" "$f" "$(grep -c '^SKIP' "$work/log")"
    if [ $status != 0 ] && [ "$f" = 0 ]; then
        count 0 1 0
        echo "FAIL $name (exit status $status)"
    fi
}

# cmocka prints "[  PASSED  ] N test(s)."; a program that ends without it is one failed test.
cmocka() {
    name=$(basename "$1")
    timeout 900 "$1" >"$work/log" 2>"$work/errors"
    status=$?
    cat "$work/errors" >>"$work/log"
    total=$(sed -n 's/^\[=*\].* Running \([0-9]*\) test.*/\1/p' "$work/log" | awk '{ n += $1 } END { print n + 0 }')
    good=$(sed -n 's/^\[ *PASSED *\] \([0-9]*\) test.*/\1/p' "$work/log" | awk '{ n += $1 } END { print n + 0 }')
    idle=$(grep -c '^\[ *SKIPPED *\] [A-Za-z_]*$' "$work/log")
    # in some versions the list of skipped tests repeats them after the summary
    listed=$(sed -n 's/^\[ *SKIPPED *\] \([0-9]*\) test.*/\1/p' "$work/log" | awk '{ n += $1 } END { print n + 0 }')
    [ "$listed" -gt 0 ] && idle=$listed
    bad=$((total - good - idle))
    [ $bad -lt 0 ] && bad=0
    if [ $status != 0 ] && [ $bad = 0 ]; then bad=1; fi
    count "$good" $bad "$idle"
    if [ $bad = 0 ]; then
        [ "$idle" = 0 ] && echo "PASS $name: $good tests" || echo "PASS $name: $good tests, $idle skipped"
        grep -h '^SKIP' "$work/log"
    else
        echo "FAIL $name: $good passed, $bad failed (exit status $status)"
        sed 's/^/    /' "$work/log" | grep -v '\[ *OK *\]\|\[ *RUN *\]'
    fi
}

exported_names() {
    nm -D --defined-only "$build/libcrayon.so" | awk '{ print $3 }' |
        grep -vE '^(cr_|_init$|_fini$|__odr_asan|__asan)' | sed 's/^/exported without cr_: /' | grep . && return 1
    return 0
}

unique_file_names() {
    find src -type f -exec basename {} \; | sort | uniq -d | sed 's/^/two files named /' | grep . && return 1
    return 0
}

# Files of at most 700 lines; no paths of one machine.
size_and_paths() {
    find src include cli examples tests -name '*.[ch]' -exec wc -l {} + |
        awk '$2 != "total" && $1 > 700 { print "longer than 700 lines: " $2; bad = 1 } END { exit bad }' || return 1
    ! grep -rnE '"/(home|work|opt|root)/' src include cli examples tests tools bench \
        --include='*.[ch]' --include='*.sh' --include='*.py'
}

fuzz() { # name, arguments...
    program=$build/tests/fuzz-$1
    [ -x "$program" ] || return
    name=$1
    shift
    one "fuzz-$name" timeout 900 "$program" "$@"
}

fuzz_all() {
    mkdir "$work/seeds"
    "$build/crayon" synth "$work/seeds" -n 1 --size 96x64 >/dev/null 2>&1
    fuzz onnx tests/golden/tiny.onnx "$FUZZ_RUNS"
    fuzz tflite "$FUZZ_RUNS"
    fuzz json "$FUZZ_RUNS"
    fuzz openvino "$((FUZZ_RUNS * 3))" 1
    fuzz train_state "$((FUZZ_RUNS * 10))"
    fuzz branches "$((FUZZ_RUNS * 10))"
    fuzz ops "$((FUZZ_RUNS * 10))"
    fuzz recipes "$((FUZZ_RUNS / 10))"
    fuzz labels "$work/seeds/instances.json" "$FUZZ_RUNS"
    for seed in found.json poses.json voc.xml; do
        cp "tests/fuzz/labels_$seed" "$work/seeds/"
        fuzz labels "$work/seeds/labels_$seed" "$FUZZ_RUNS"
    done
    mkdir "$work/seeds/labels"
    printf 'train: images\nval: images\nnames: [x]\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\n' >"$work/seeds/data.yaml"
    printf '0 .5 .5 .5 .5 .3 .3 2 .7 .7 1\n' >"$work/seeds/labels/000000.txt"
    fuzz labels "$work/seeds/data.yaml" "$FUZZ_RUNS"
    fuzz image "$FUZZ_RUNS" 1 "$work/seeds/images/000000.jpg"
    python3 tests/cli/make_video.py "$work/seeds/v.avi" 5 "$work/seeds/images/000000.jpg" "$work/seeds/images/000000.jpg"
    (cd "$work/seeds" && python3 -m zipfile -c v.zip images)
    fuzz source "$FUZZ_RUNS" 1 "$work/seeds/v.avi" "$work/seeds/v.zip"
    python3 tests/cli/make_checkpoint.py --tiny "$work/seeds"
    fuzz checkpoint "$FUZZ_RUNS" 1 "$work/seeds/tiny.pt" "$work/seeds/tiny_old.pt"
}

examples() {
    sample=sample/shapes.onnx
    if [ ! -e $sample ]; then
        count 0 0 1
        echo "SKIP examples: sample/shapes.onnx is not there"
        return
    fi
    "$build/crayon" synth "$work/scenes" -n 8 --seed 3 >/dev/null
    picture=$work/scenes/images/000000.jpg
    one "example detect_one" timeout 300 "$build/examples/example-detect_one" $sample "$picture"
    one "example quantize_folder" timeout 600 "$build/examples/example-quantize_folder" $sample \
        "$work/scenes/images" "$work/int8.onnx"
    "$build/crayon" quantize $sample -o "$work/detached.onnx" --images "$work/scenes/images" \
        --head detach >/dev/null
    one "example decode_branches" timeout 300 "$build/examples/example-decode_branches" \
        "$work/detached.onnx" "$picture"
    one "example decode_nhwc" python3 tests/peers/decode_nhwc.py "$build/examples/example-decode_nhwc"
    one "example run_raw" timeout 300 "$build/examples/example-run_raw" $sample
    one "example evaluate" timeout 300 "$build/examples/example-evaluate" $sample "$work/scenes/images" \
        "$work/scenes/instances.json"
}

unit_tests() {
    for program in "$build"/tests/test-*; do
        [ -f "$program" ] && [ -x "$program" ] && cmocka "$program"
    done
}

laws() {
    lines headers sh tests/headers.sh
    one "dependency law" sh tests/deps_law.sh
    one "exported names" exported_names
    one "unique file names" unique_file_names
    one "file sizes, no machine paths" size_and_paths
}

programs() {
    examples
    one "install" sh tests/install.sh "$build"
    one "deploy" sh tests/deploy.sh "$build"
    fuzz_all
}

# Runs the parts with a folder and counters of their own: side NAME PART...
side() (
    work=$work/$1
    mkdir "$work" || exit 2
    shift
    for part in "$@"; do $part; done
    echo "$passed $failed $skipped" >"$work/counts"
)

# Every other test of the command line, from the first or the second on.
command_line() {
    names=$(for f in tests/cli/*.sh; do basename "$f" .sh; done | grep -vxE 'run|lib' |
        awk -v k="$1" 'NR % 2 == k % 2')
    # shellcheck disable=SC2086
    lines "cli, part $1" sh tests/cli/run.sh "$build" $names
}
odd_commands() { command_line 1; }
even_commands() { command_line 2; }

# Parts of about the same length beside each other.
side second odd_commands >"$work/second.out" 2>&1 &
side third even_commands >"$work/third.out" 2>&1 &
side first unit_tests laws programs
wait
cat "$work/second.out" "$work/third.out"
for s in first second third; do
    # shellcheck disable=SC2046
    if [ -e "$work/$s/counts" ]; then
        count $(cat "$work/$s/counts")
    else
        count 0 1 0
        echo "FAIL the $s part of the tests did not end"
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
