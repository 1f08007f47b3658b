#!/bin/sh
# Time and memory of calibration over many pictures: bench/many_pictures.sh BUILD DATA [MODEL [COUNT...]]
#
# DATA has models/ and coco-calib/images (128 pictures), which a list repeats as often as COUNT needs (128 and
# 2000). Every picture of the list is decoded and run (--all-samples), weights are rounded to the nearest, so that
# nothing but calibration grows. Prints a line per COUNT: what `crayon quantize` says of calibration,
# and the largest resident memory of the process.
set -u
build=$(cd "${1:?usage: bench/many_pictures.sh BUILD DATA [MODEL [COUNT...]]}" && pwd) || exit 2
data=$(cd "${2:?usage: bench/many_pictures.sh BUILD DATA [MODEL [COUNT...]]}" && pwd) || exit 2
model=${3:-yolov8n}
[ $# -gt 3 ] && shift 3 || set -- 128 2000
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
find "$data/coco-calib/images" -name '*.jpg' | sort >"$work/once"
for count in "$@"; do
    : >"$work/all"
    while [ "$(wc -l <"$work/all")" -lt "$count" ]; do cat "$work/once" >>"$work/all"; done
    head -n "$count" "$work/all" >"$work/list.txt"
    python3 - "$build/crayon" "$data/models/$model.onnx" "$work" "$count" <<'END'
import os, sys
program, model, work, count = sys.argv[1:]
pid = os.fork()
if not pid:
    out = os.open(work + "/out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.execv(program, [program, "quantize", model, "-o", work + "/q.onnx", "--images", work + "/list.txt",
                       "--samples", count, "--all-samples", "--no-check", "--rounding", "nearest"])
status, used = os.wait4(pid, 0)[1:]
if status:
    sys.exit(f"{count} pictures: failed")
line = next(l for l in open(work + "/out") if l.startswith("calibration"))
print(f"{os.path.basename(model)}: {' '.join(line.split()[1:])}; peak {used.ru_maxrss / 1e3:.0f} MB", flush=True)
END
done
