#!/bin/sh
# arm64_sysroot.sh DIR: Debian's arm64 packages that Crayon is built and run with, unpacked into DIR.
#
# apt runs with a state and a cache of its own, so neither root nor `dpkg --add-architecture` is
# needed and the machine's packages stay as they are. Release and mirror are the machine's. Some 300
# packages, about 200 MB to download, 700 MB unpacked; a second call does nothing.
# Rejected: multiarch packages on the machine itself (libavdevice-dev:arm64 pulls in libraries that
# conflict with installed ones of other versions), debootstrap (needs root).
set -eu
root=${1:?usage: arm64_sysroot.sh DIR}
packages="libc6-dev libprotobuf-c-dev libjpeg62-turbo-dev libpng-dev libcairo2-dev libjansson-dev
 libyaml-dev libzip-dev libexpat1-dev libavformat-dev libavcodec-dev libavdevice-dev libavutil-dev
 libswscale-dev libmicrohttpd-dev zlib1g-dev libblas3 liblapack3"
[ -e "$root/.complete" ] && exit 0
for tool in apt-get dpkg-deb; do
    command -v $tool >/dev/null || { echo "crayon: no $tool: needs Debian or Ubuntu" >&2; exit 1; }
done
rm -rf "$root"
mkdir -p "$root/.apt/state/lists/partial" "$root/.apt/cache/archives/partial"
root=$(cd "$root" && pwd)
: >"$root/.apt/status"
apt() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$root/.apt/state" \
        -o Dir::State::status="$root/.apt/status" -o Dir::Cache="$root/.apt/cache" \
        -o APT::Sandbox::User= -o Debug::NoLocking=1 -o APT::Install-Recommends=0 "$@"
}
apt update 2>"$root/.apt/log" || { cat "$root/.apt/log" >&2; exit 1; }
# shellcheck disable=SC2086
apt install -y --download-only $packages >"$root/.apt/log" 2>&1 || { cat "$root/.apt/log" >&2; exit 1; }
# .sonames: which package a shared library is in, for the dependencies of a package built with it
for package in "$root"/.apt/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$root"
    name=$(dpkg-deb -f "$package" Package)
    dpkg-deb -c "$package" | sed 's/ -> .*//' | sed -n "s|.*/\(lib[^/ ]*\.so\.[0-9.]*\)\$|\1 $name|p"
done >"$root/.sonames"
# what update-alternatives would do
for name in blas lapack; do
    ln -sf $name/lib$name.so.3 "$root/usr/lib/aarch64-linux-gnu/lib$name.so.3"
done
# absolute links would leave the sysroot
find "$root" -type l -lname '/*' | while read -r link; do ln -sfn "$root$(readlink "$link")" "$link"; done
rm -rf "$root/.apt"
: >"$root/.complete"
