#!/bin/sh
# The arm64 kernels, from any machine: cross-builds src/base, src/kernels, the vector loops of
# src/vision and tests/kernels with the small check.h instead of cmocka and runs the tests under
# qemu-user. Says SKIP when the tools are missing. Emulation checks results, not speed.
#   sh tests/arm64.sh [build directory]
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/build/arm64}
cc=${CROSS_CC:-aarch64-linux-gnu-gcc}
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static)
command -v "$cc" >/dev/null || { echo "SKIP arm64: no $cc (Debian: gcc-aarch64-linux-gnu)"; exit 0; }
[ -n "$qemu" ] || { echo "SKIP arm64: no qemu-aarch64 (Debian: qemu-user)"; exit 0; }
mkdir -p "$out" || exit 1
cd "$root" || exit 1
flags="-std=c11 -O2 -Wall -Wextra -Wno-unused-parameter -Werror -ffp-contract=off -fno-math-errno
       -fno-trapping-math -Iinclude -Isrc -Itests/kernels -DCR_CHECK_SHIM"
objects=
for f in src/base/*.c src/kernels/*.c src/kernels/arm/*.c src/vision/pixels.c src/vision/boxes.c \
    src/vision/image_resize.c src/vision/arm/*.c; do
    isa=
    case $f in
    *_dotprod.c) isa=-march=armv8.2-a+dotprod ;;
    *_i8mm.c) isa=-march=armv8.2-a+dotprod+i8mm ;;
    esac
    o=$out/$(basename "$f" .c).o
    # shellcheck disable=SC2086
    "$cc" $flags $isa -c "$f" -o "$o" || exit 1
    objects="$objects $o"
done
failed=0
for f in tests/kernels/*.c; do
    name=$(basename "$f" .c)
    # shellcheck disable=SC2086
    "$cc" $flags "$f" $objects -static -lm -lpthread -o "$out/test-$name" || exit 1
    if "$qemu" "$out/test-$name" >"$out/$name.log" 2>&1; then
        echo "PASS arm64 kernels/$name"
        grep '^SKIP' "$out/$name.log"
    else
        echo "FAIL arm64 kernels/$name"
        tail -n 5 "$out/$name.log"
        failed=1
    fi
done

# Older cores are told apart: LEVELS that the kernel tests ran on CPU.
levels_are() {
    got=$("$qemu" -cpu "$1" "$out/test-conv_s8" | sed -n 's/^level \(.*\): run$/\1/p' | xargs)
    if [ "$got" = "$2" ]; then
        echo "PASS arm64 $1 has $2"
    else
        echo "FAIL arm64 $1 has $2, not $got"
        failed=1
    fi
}
levels_are cortex-a53 "c neon"
levels_are cortex-a76 "c neon dotprod"
levels_are max "c neon dotprod i8mm"
exit $failed
