#!/bin/sh
# deb.sh BUILD [OUT]: crayon_VERSION_ARCH.deb in OUT (BUILD): program, library, headers, service.
#
# One package with everything, made by dpkg-deb from what `cmake --install` installs; depends come from
# the libraries that are linked (dpkg-shlibdeps), so the package fits the release that it is built on.
# debhelper is not needed: there is one script, one service, no trigger.
# Rejected: split -dev and lib packages, which serve a distribution's archive.
set -eu
build=$(cd "${1:?usage: deb.sh BUILD [OUT]}" && pwd)
out=$(mkdir -p "${2:-$build}" && cd "${2:-$build}" && pwd)
top=$(cd "$(dirname "$0")/.." && pwd)
for tool in dpkg-deb dpkg-shlibdeps dpkg; do
    command -v $tool >/dev/null || { echo "crayon: make deb needs $tool (Debian: dpkg-dev)" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
version=$(sed -n 's/^project(crayon VERSION \([0-9.]*\).*/\1/p' "$top/CMakeLists.txt")
arch=${DEB_ARCH:-$(dpkg --print-architecture)}

umask 022
DESTDIR=$root cmake --install "$build" --prefix /usr >"$work/log" || { cat "$work/log" >&2; exit 1; }
find "$root/usr/lib" -name libcrayon_mpi.so -delete # the package shall not need MPI
strip=${STRIP:-strip}
"$strip" "$root/usr/bin/crayon"
find "$root/usr/lib" -name 'libcrayon.so.*' ! -type l -exec "$strip" --strip-unneeded {} +
find "$root/usr/lib" -name 'libcrayon.a' -exec "$strip" --strip-debug {} +
# pkg-config's file says where it lies now
find "$root" -name crayon.pc -exec sed -i 's|^prefix=.*|prefix=/usr|' {} +
install -D -m 644 "$top/deploy/crayon@.service" "$root/usr/lib/systemd/system/crayon@.service"
install -D -m 644 "$top/deploy/camera.conf" "$root/usr/share/doc/crayon/examples/camera.conf"
install -m 644 "$top/README.md" "$top/docs/raspberry-pi.md" "$root/usr/share/doc/crayon/"
install -D -m 644 "$top/sample/shapes.onnx" "$root/usr/share/crayon/shapes.onnx"
install -m 644 "$top/LICENSE" "$root/usr/share/doc/crayon/copyright"
date=$(git -C "$top" log -1 --format=%cD 2>/dev/null || date -R)
{
    printf 'crayon (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md of the source.\n\n' "$version"
    printf ' -- The Crayon project <crayon@localhost>  %s\n' "$date"
} | gzip -9n >"$root/usr/share/doc/crayon/changelog.gz"

# Depends: dpkg-shlibdeps asks the installed packages (and wants a debian/control to stand in); for
# another architecture SONAMES says which package each library is in.
library=$(find "$root/usr/lib" -name 'libcrayon.so.*' ! -type l)
if [ -n "${SONAMES:-}" ]; then
    depends=$(objdump -p "$root/usr/bin/crayon" "$library" | sed -n 's/^ *NEEDED *//p' | sort -u |
        while read -r name; do sed -n "s|^$name ||p" "$SONAMES" | head -n 1; done | sort -u | paste -sd, | sed 's/,/, /g')
else
    mkdir "$work/debian"
    printf 'Source: crayon\n\nPackage: crayon\nArchitecture: any\n' >"$work/debian/control"
    depends=$(cd "$work" && dpkg-shlibdeps -O -l"$(dirname "$library")" root/usr/bin/crayon "$library" \
        2>"$work/log" | sed -n 's/^shlibs:Depends=//p')
fi
[ -n "$depends" ] || { cat "$work/log" >&2; exit 1; }

mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: crayon
Version: $version
Architecture: $arch
Maintainer: The Crayon project <crayon@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends, fonts-dejavu-core
Section: science
Priority: optional
Description: quantizes object detectors, runs them, measures what they still see
 Crayon turns a trained detector (YOLO and others) into a smaller, faster one
 without Python, proves that it still sees the same, and runs it on pictures,
 videos and cameras, with a live view in the browser. The package has the
 program, the C library with its headers, and a service for cameras
 (crayon@NAME.service, configured by /etc/crayon/NAME.conf).
CONTROL
cat >"$root/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
ldconfig
[ ! -d /run/systemd/system ] || systemctl daemon-reload || true
SCRIPT
cp "$root/DEBIAN/postinst" "$root/DEBIAN/postrm"
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/postrm"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
deb=$out/crayon_${version}_$arch.deb
dpkg-deb --root-owner-group --build "$root" "$deb.tmp" >/dev/null
mv "$deb.tmp" "$deb"
echo "$deb"
