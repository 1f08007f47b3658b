#!/bin/sh
# deploy.sh BUILD: the Debian package is made, holds what it should, and works from where it was unpacked;
# the service's command line is one that the program takes; the Dockerfile installs what the build asks for.
set -eu
build=$(cd "${1:?usage: deploy.sh BUILD}" && pwd)
cd "$(dirname "$0")/.."
for tool in dpkg-deb dpkg-shlibdeps python3; do
    command -v $tool >/dev/null || { echo "SKIP no $tool"; exit 0; }
done
if nm "$build/crayon" | grep -q __asan_init; then
    echo "SKIP a program with sanitizers is not for packing"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deb=$(sh tools/deb.sh "$build" "$work")
dpkg-deb -x "$deb" "$work/root"
(cd "$work/root" && dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./md5sums | md5sum --quiet -c)
[ "$(dpkg-deb -f "$deb" Package)" = crayon ]
for library in libavcodec libcairo2 libmicrohttpd libc6; do
    dpkg-deb -f "$deb" Depends | grep -q "$library" || { echo "does not depend on $library"; exit 1; }
done
[ -z "$(dpkg-deb -c "$deb" | grep -v ' root/root ')" ] || { echo "files of a user's"; exit 1; }
[ "$("$work/root/usr/bin/crayon" --version)" = "$("$build/crayon" --version)" ]

# what systemd would run, with the example's values, for three frames
unit=$work/root/usr/lib/systemd/system/crayon@.service
. "$work/root/usr/share/doc/crayon/examples/camera.conf"
"$work/root/usr/bin/crayon" synth "$work/s" -n 3 --size 160x128 >/dev/null
python3 tests/cli/make_video.py "$work/v.avi" 10 "$work"/s/images/*.jpg
MODEL=$work/root/usr/share/crayon/shapes.onnx
SOURCE=$work/v.avi
SERVE=127.0.0.1:0
command=$(sed -n 's/^ExecStart=\/usr//p' "$unit")
eval "$work/root/usr$command" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
grep -q 'tracks' "$work/log"
if command -v systemd-analyze >/dev/null; then
    sed "s|/usr/bin/crayon|$work/root/usr/bin/crayon|" "$unit" >"$work/crayon@.service"
    systemd-analyze verify "$work/crayon@.service" 2>&1 | grep -i 'crayon@' && exit 1
fi

# every package of tools/deps.sh that a build needs is in the Dockerfile, too
sed -n 's/^need_\(lib\|cmd\) [^ ]* //p' tools/deps.sh | grep -v libcmocka-dev |
    while read -r package; do
        grep -qw -- "$package" deploy/Dockerfile || { echo "Dockerfile: no $package"; exit 1; }
    done
echo "package, service and Dockerfile"
