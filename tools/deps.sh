#!/bin/sh
# Makes sure that what the build needs is there: asks pkg-config and the PATH, installs what is
# missing with apt (as root or through sudo), else names it and stops with exit 1. Not asked for:
# libsdl2-dev, which only `detect --view` needs; libopenmpi-dev, for runs by mpirun.
set -u
missing=""
need_cmd() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need_lib() { pkg-config --exists "$1" 2>/dev/null || missing="$missing $2"; }
need_cmd cc gcc
need_cmd cmake cmake
need_cmd ninja ninja-build
need_cmd pkg-config pkg-config
need_cmd protoc-c protobuf-c-compiler
need_cmd python3 python3
need_lib libprotobuf-c libprotobuf-c-dev
need_lib libjpeg libjpeg62-turbo-dev
need_lib libpng libpng-dev
need_lib cairo libcairo2-dev
need_lib jansson libjansson-dev
need_lib yaml-0.1 libyaml-dev
need_lib libzip libzip-dev
need_lib expat libexpat1-dev
need_lib libavformat libavformat-dev
need_lib libavcodec libavcodec-dev
need_lib libavdevice libavdevice-dev
need_lib libavutil libavutil-dev
need_lib libswscale libswscale-dev
need_lib libmicrohttpd libmicrohttpd-dev
need_lib cmocka libcmocka-dev
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
# Labels need one TrueType font: a bare Debian has none.
[ -n "$(find /usr/share/fonts -name 'DejaVuSans*.ttf' 2>/dev/null | head -n 1)" ] || missing="$missing fonts-dejavu-core"
[ -z "$missing" ] && exit 0

give_up() {
    echo "crayon: $1; install these packages (Debian names) and try again:$missing" >&2
    exit 1
}
command -v apt-get >/dev/null 2>&1 || give_up "packages are missing and there is no apt-get"
if [ "$(id -u)" = 0 ]; then run=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then run="sudo"
elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then run="sudo"
else give_up "packages are missing and neither root nor sudo is at hand"
fi
echo "crayon: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$run apt-get update -qq >&2 || give_up "apt-get update failed"
# shellcheck disable=SC2086
$run apt-get install -y -qq --no-install-recommends $missing >&2 || give_up "apt-get failed"
