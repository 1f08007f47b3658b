#!/bin/sh
# arm64_build.sh BUILD: cross-builds the program and the library for arm64 (Raspberry Pi OS and Debian
# of this machine's release, 64 bits), tries them under qemu-user, and packs
# BUILD/crayon_VERSION_arm64.deb. No root needed but for the tools that are asked for below.
#
# Linked in, so that the target need not have them: protobuf-c, libjpeg-turbo, libpng, zlib, jansson,
# libyaml, expat, libgcc. Dynamic, because their archives drag in half a distribution or load parts at run
# time: libc, FFmpeg (libav*, libswscale), cairo, libzip, libmicrohttpd. The package depends on those.
# No window (--view): a camera service has none.
set -eu
build=${1:?usage: arm64_build.sh BUILD}
cd "$(dirname "$0")/.."
missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
need protoc-c protobuf-c-compiler
need cmake cmake
need ninja ninja-build
need pkg-config pkg-config
need dpkg-deb dpkg
[ -z "$missing" ] || { echo "crayon: make arm64 needs these packages:$missing" >&2; exit 1; }
mkdir -p "$build"
build=$(cd "$build" && pwd)
CRAYON_SYSROOT=${CRAYON_SYSROOT:-$build/sysroot}
sh tools/arm64_sysroot.sh "$CRAYON_SYSROOT"
CRAYON_SYSROOT=$(cd "$CRAYON_SYSROOT" && pwd)
lib=$CRAYON_SYSROOT/usr/lib/aarch64-linux-gnu
PKG_CONFIG_SYSROOT_DIR=$CRAYON_SYSROOT
PKG_CONFIG_LIBDIR=$lib/pkgconfig:$CRAYON_SYSROOT/usr/share/pkgconfig
export CRAYON_SYSROOT PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_LIBDIR
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
    -DCMAKE_TOOLCHAIN_FILE="$PWD/deploy/arm64-toolchain.cmake" -DCRAYON_STATIC_DEPS=ON \
    -DCRAYON_WITH_SDL=OFF -DCRAYON_WITH_MPI=OFF -DCRAYON_TESTS=OFF ${CMAKE_FLAGS:-} >"$build/configure.log" ||
    { cat "$build/configure.log" >&2; exit 1; }
ninja -C "$build"
echo "dynamic: $(aarch64-linux-gnu-readelf -d "$build/crayon" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | xargs)"

qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if [ -n "$qemu" ]; then
    run() {
        # pulseaudio and libblas lie in folders of their own, which ld.so.conf names on a real system
        "$qemu" -L "$CRAYON_SYSROOT" -E LD_LIBRARY_PATH="$lib/pulseaudio:$lib/blas:$lib/lapack" "$build/crayon" "$@"
    }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    run --version
    run synth "$work/scenes" -n 4 --seed 5 --size 160x128 >/dev/null
    run quantize sample/shapes.onnx -o "$work/q.onnx" --images "$work/scenes/images" --rounding nearest >/dev/null
    python3 tests/cli/make_video.py "$work/v.avi" 10 "$work"/scenes/images/*.jpg
    run detect "$work/q.onnx" "$work/v.avi" --save "$work/out.mp4"
    # pictures, since FFmpeg decodes video with code of its own for each CPU
    run detect "$work/q.onnx" "$work/scenes/images" --json "$work/arm.json" >/dev/null
    echo "under qemu: synth, quantize, detect in pictures and in a video that is written again"
    native=${CRAYON_NATIVE:-build/crayon}
    if [ -x "$native" ]; then
        "$native" detect "$work/q.onnx" "$work/scenes/images" --json "$work/here.json" >/dev/null
        cmp "$work/arm.json" "$work/here.json" || exit 1
        echo "the quantized model finds the same in pictures as $native, bit for bit"
    fi
else
    echo "SKIP no qemu-aarch64 (Debian: qemu-user): built, not tried"
fi
DEB_ARCH=arm64 STRIP=aarch64-linux-gnu-strip SONAMES=$CRAYON_SYSROOT/.sonames sh tools/deb.sh "$build" "$build"
