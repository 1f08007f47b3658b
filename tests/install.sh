#!/bin/sh
# install.sh BUILD: installs into an empty folder, compiles an example against what lies there with
# nothing but pkg-config's answer, and runs it on the shared library.
set -eu
build=$(cd "${1:?usage: install.sh BUILD}" && pwd)
cd "$(dirname "$0")/.."
if nm "$build/libcrayon.so" | grep -q __asan_init; then
    echo "SKIP a library with sanitizers needs their runtime in front of everything"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR=$work cmake --install "$build" --prefix /usr >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
pc=$(find "$work" -name crayon.pc)
lib=$(dirname "$(find "$work" -name libcrayon.so)")
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
options="--define-variable=prefix=$work/usr --define-variable=libdir=$lib"
# shellcheck disable=SC2046,SC2086
${CC:-cc} -std=c11 examples/run_raw.c -o "$work/run_raw" \
    $(pkg-config $options --cflags --libs crayon) ${EXTRA_LDFLAGS:-}
"$work/usr/bin/crayon" --version
[ ! -e sample/shapes.onnx ] || LD_LIBRARY_PATH=$lib "$work/run_raw" sample/shapes.onnx
