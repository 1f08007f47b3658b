#!/usr/bin/env python3
"""Pictures and preprocessing against OpenCV, byte for byte.

    vision_opencv.py BUILD/libcrayon.so [--driver BUILD/tests/peers-vision_detect] [--cases N]
    vision_opencv.py --golden                  prints the table of tests/unit/resize.c

Resizes random pictures, decodes JPEG and PNG files of every kind that can be made here, and fits
pictures into network inputs. Exit 0: everything equal.
"""
import argparse
import ctypes as C
import glob
import os
import struct
import subprocess
import sys
import tempfile
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("CRAYON_DATA", os.path.join(ROOT, "..", "shared", "data"))

try:
    import cv2
    import numpy as np
except ImportError as e:
    print(f"SKIP {e}")
    sys.exit(0)

F = np.float32
FITS = ["letterbox", "stretch", "topleft", "centercrop"]


class Image(C.Structure):
    _fields_ = [("width", C.c_int), ("height", C.c_int), ("rgb", C.POINTER(C.c_uint8))]


class Preprocess(C.Structure):
    _fields_ = [("fit", C.c_int), ("width", C.c_int), ("height", C.c_int), ("bgr", C.c_bool),
                ("mean", C.c_float * 3), ("div", C.c_float * 3), ("pad", C.c_uint8)]


class Placement(C.Structure):
    _fields_ = [("src_width", C.c_int), ("src_height", C.c_int), ("gain_x", C.c_float),
                ("gain_y", C.c_float), ("pad_x", C.c_float), ("pad_y", C.c_float)]


class Error(C.Structure):
    _fields_ = [("status", C.c_int), ("message", C.c_char * 480)]


def pointer(a):
    return a.ctypes.data_as(C.c_void_p)


class Crayon:
    def __init__(self, path):
        self.lib = C.CDLL(path)

    def resize(self, img, dw, dh):
        out = np.empty((dh, dw, img.shape[2]), np.uint8)
        st = self.lib.cr_resize_linear_u8(pointer(img), img.shape[1], img.shape[0], img.shape[2],
                                          pointer(out), dw, dh, None)
        assert st == 0, st
        return out

    def decode(self, data):
        img, err = Image(), Error()
        st = self.lib.cr_image_decode(data, C.c_size_t(len(data)), b"picture", C.byref(img),
                                      C.byref(err))
        if st:
            return err.message.decode()
        a = np.ctypeslib.as_array(img.rgb, (img.height, img.width, 3)).copy()
        self.lib.cr_image_free(C.byref(img))
        return a

    def preprocess(self, rgb, fit, width, height, bgr, mean, div):
        rgb = np.ascontiguousarray(rgb)
        img = Image(rgb.shape[1], rgb.shape[0], rgb.ctypes.data_as(C.POINTER(C.c_uint8)))
        pre = Preprocess(FITS.index(fit), width, height, bgr, (C.c_float * 3)(*mean),
                         (C.c_float * 3)(*div), 114)
        out, place = np.empty((3, height, width), F), Placement()
        st = self.lib.cr_preprocess_run(C.byref(pre), C.byref(img), pointer(out), C.byref(place), None)
        assert st == 0, st
        pixels = np.empty((height, width, 3), np.uint8)
        st = self.lib.cr_preprocess_pixels(C.byref(pre), C.byref(img), pointer(pixels), None, None)
        assert st == 0, st
        return out, place, pixels


# --- resize ---------------------------------------------------------------------------------------

def resize_sizes(rng, cases):
    yield from [(640, 480, 640, 640), (1280, 720, 640, 360), (4000, 3000, 640, 480), (1, 1, 640, 640),
                (8000, 3, 416, 640), (2, 2, 1, 1), (2, 2, 4096, 1), (1, 5000, 1, 7), (3, 1, 1, 1)]
    for t in range(cases):
        sw, sh, dw, dh = (int(v) for v in rng.integers(1, (40, 200, 900)[t % 3], 4))
        if t % 7 == 0:
            sw, sh = 2 * dw, 2 * dh
        if t % 11 == 0:
            sw = dw
        if t % 13 == 0:
            sh = 2 * dh
        if t % 17 == 0:
            sw, sh = 4 * dw, 4 * dh
        if t % 23 == 0:
            dw, dh = 2 * sw, 2 * sh
        yield sw, sh, dw, dh


def test_resize(cr, rng, cases):
    bad = count = 0
    for i, (sw, sh, dw, dh) in enumerate(resize_sizes(rng, cases)):
        for c in {(i % 4) + 1, 3}:
            if i % 2:
                img = rng.integers(0, 256, (sh, sw, c), dtype=np.uint8)
            else:  # only black and white: the largest sums
                img = (rng.integers(0, 2, (sh, sw, c)) * 255).astype(np.uint8)
            ref = cv2.resize(img, (dw, dh), interpolation=cv2.INTER_LINEAR).reshape(dh, dw, c)
            count += 1
            if not np.array_equal(ref, cr.resize(img, dw, dh)):
                bad += 1
                print(f"FAIL resize {sw}x{sh}x{c} -> {dw}x{dh}")
    print(f"resize: {count} pictures, {bad} differ from cv2.resize")
    return bad


def golden():
    """FNV-1a hashes of cv2's results on pictures that a C test can make by the same formula."""
    sizes = [(640, 480, 640, 640), (500, 333, 97, 211), (7, 5, 64, 48), (64, 48, 32, 24), (1, 1, 9, 4),
             (300, 2, 5, 2), (33, 70, 33, 35), (480, 360, 120, 90), (3, 9, 1, 1), (90, 1, 31, 50)]
    for sw, sh, dw, dh in sizes:
        for c in (1, 2, 3, 4):
            i = np.arange(sw * sh * c, dtype=np.uint32)
            img = ((i * np.uint32(2654435761)) >> np.uint32(24)).astype(np.uint8).reshape(sh, sw, c)
            out = cv2.resize(img, (dw, dh), interpolation=cv2.INTER_LINEAR)
            h = 0xcbf29ce484222325
            for b in out.tobytes():
                h = (h ^ b) * 0x100000001b3 % (1 << 64)
            print(f"    {{{sw}, {sh}, {dw}, {dh}, {c}, 0x{h:016x}}},")
    return 0


# --- files ----------------------------------------------------------------------------------------

def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def pack_rows(px, depth):
    """Unfiltered scan lines of [h, w, samples]."""
    out = b""
    for row in px:
        flat = row.reshape(-1)
        if depth == 16:
            line = flat.astype(">u2").tobytes()
        elif depth == 8:
            line = flat.astype(np.uint8).tobytes()
        else:
            bits = ((flat[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
            line = np.packbits(bits.reshape(-1)).tobytes()
        out += b"\0" + line
    return out


def make_png(rng, color, depth, interlace, trns=False, exif=None, w=37, h=29):
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    px = rng.integers(0, 1 << depth, (h, w, samples))
    raw = b""
    if interlace:
        for x0, y0, dx, dy in ADAM7:
            part = px[y0::dy, x0::dx]
            if part.size:
                raw += pack_rows(part, depth)
    else:
        raw = pack_rows(px, depth)
    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, interlace))
    if color == 3:
        out += chunk(b"PLTE", rng.integers(0, 256, 3 << depth, dtype=np.uint8).tobytes())
    if trns:
        n = {0: 2, 2: 6, 3: 1 << depth}[color]
        body = bytes([0, 1] * (n // 2)) if color != 3 else rng.integers(0, 256, n, dtype=np.uint8).tobytes()
        out += chunk(b"tRNS", body)
    if exif:
        out += chunk(b"eXIf", exif)
    return out + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def exif_block(orientation, big):
    e = ">" if big else "<"
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(e + "IH", 8, 2)
    other = struct.pack(e + "HHIHH", 0x0103, 3, 1, 6, 0)
    return head + other + struct.pack(e + "HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack(e + "I", 0)


def with_exif(jpeg, orientation, big):
    body = b"Exif\0\0" + exif_block(orientation, big)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def png_files(rng):
    for color, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            for interlace in (0, 1):
                for trns in (False, True) if color in (0, 2, 3) else (False,):
                    yield (f"png color {color} depth {depth} interlace {interlace} trns {trns}",
                           make_png(rng, color, depth, interlace, trns))
    for o in range(0, 10):
        yield f"png orientation {o}", make_png(rng, 2, 8, 0, exif=exif_block(o, o % 2 == 0))


def jpeg_files(rng):
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (123, 201, 3), dtype=np.uint8), (0, 0), 2)
    factors = {n: getattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR_" + n) for n in ("411", "420", "422", "440", "444")}
    for q in (1, 30, 75, 95, 100):
        for name, factor in factors.items():
            for progressive in (0, 1):
                p = [cv2.IMWRITE_JPEG_QUALITY, q, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor,
                     cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, q % 4]
                yield f"jpeg q{q} {name} progressive {progressive}", cv2.imencode(".jpg", smooth, p)[1].tobytes()
    yield "jpeg grey", cv2.imencode(".jpg", smooth[..., 0])[1].tobytes()
    base = cv2.imencode(".jpg", smooth)[1].tobytes()
    for o in range(0, 10):
        yield f"jpeg orientation {o}", with_exif(base, o, o % 2 == 1)
    for w, h in ((1, 1), (1, 40), (40, 1), (7, 9), (8, 8), (17, 16)):
        yield f"jpeg {w}x{h}", cv2.imencode(".jpg", smooth[:h, :w])[1].tobytes()


def real_files():
    pats = ("coco-dev/images/*.jpg", "coco-calib/images/*.jpg", "seed/*.jpg")
    for path in sorted(sum((glob.glob(os.path.join(DATA, p)) for p in pats), [])):
        with open(path, "rb") as f:
            yield path, f.read()


def ink_files(driver):
    if not driver:
        print("SKIP CMYK and YCCK pictures: no --driver")
        return
    with tempfile.TemporaryDirectory() as tmp:
        for kind in ("cmyk", "ycck"):
            path = os.path.join(tmp, kind + ".jpg")
            subprocess.run([driver, "inks", kind, path], check=True)
            with open(path, "rb") as f:
                yield kind, f.read()


def test_files(cr, label, files):
    bad = count = 0
    for name, data in files:
        count += 1
        ref = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        own = cr.decode(data)
        if isinstance(own, str) or ref is None or not np.array_equal(ref[..., ::-1], own):
            bad += 1
            what = own if isinstance(own, str) else "no reference" if ref is None else "pixels"
            print(f"FAIL decode {name}: {what}")
    print(f"{label}: {count} files, {bad} differ from cv2.imdecode")
    return bad


# --- preprocessing --------------------------------------------------------------------------------

def fitted(img, fit, w, h):
    """Restatement of the four fits on [H,W,3]; returns pixels and (gain_x, gain_y, pad_x, pad_y)."""
    sh, sw = img.shape[:2]
    out = np.full((h, w, 3), 114, np.uint8)
    resize = lambda a, s: cv2.resize(a, s, interpolation=cv2.INTER_LINEAR)
    if fit == "stretch":
        return resize(img, (w, h)), (w / sw, h / sh, 0, 0)
    if fit == "centercrop":
        m = min(sh, sw)
        top, left = (sh - m) // 2, (sw - m) // 2
        return (resize(img[top:top + m, left:left + m], (w, h)),
                (w / m, h / m, -left * (w / m), -top * (h / m)))
    r = min(h / sh, w / sw)
    if fit == "topleft":
        nw, nh = max(1, int(sw * r)), max(1, int(sh * r))
        out[:nh, :nw] = resize(img, (nw, nh))
        return out, (r, r, 0, 0)
    nw, nh = max(1, round(sw * r)), max(1, round(sh * r))
    top, left = round((h - nh) / 2 - 0.1), round((w - nw) / 2 - 0.1)
    out[top:top + nh, left:left + nw] = resize(img, (nw, nh))
    return out, (r, r, left, top)


def test_preprocess(cr, rng, cases):
    bad = 0
    for i in range(cases):
        w, h = ((640, 640), (320, 416), (224, 224), (97, 33))[i % 4]
        img = rng.integers(0, 256, (*rng.integers(1, 700, 2), 3), dtype=np.uint8)
        fit, bgr = FITS[i // 4 % 4], bool(i & 1)
        mean, div = (((0, 0, 0), (255, 255, 255)), ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
                     ((0, 0, 0), (1, 1, 1)))[i % 3]
        own, place, pixels = cr.preprocess(img, fit, w, h, bgr, mean, div)
        px, where = fitted(img, fit, w, h)
        px = px[..., ::-1] if bgr else px
        ref = ((px.astype(F) - np.array(mean, F)) / np.array(div, F)).transpose(2, 0, 1)
        got = (place.gain_x, place.gain_y, place.pad_x, place.pad_y)
        close = np.allclose(got, where, rtol=1e-6)  # float32 holds 6e-8 of a double; the crop's pad is a product
        if not np.array_equal(own.view(np.uint32), ref.view(np.uint32)) or not close or not np.array_equal(pixels, px):
            bad += 1
            print(f"FAIL preprocess {img.shape} {fit} {w}x{h} {got} {where}")
    print(f"preprocess: {cases} pictures, {bad} differ")
    return bad


def main():
    p = argparse.ArgumentParser()
    p.add_argument("library", nargs="?")
    p.add_argument("--golden", action="store_true")
    p.add_argument("--driver")
    p.add_argument("--cases", type=int, default=400)
    args = p.parse_args()
    if args.golden:
        return golden()
    cr, rng = Crayon(os.path.abspath(args.library)), np.random.default_rng(7)
    print("opencv", cv2.__version__)
    bad = test_resize(cr, rng, args.cases)
    bad += test_files(cr, "png", png_files(rng))
    bad += test_files(cr, "jpeg", jpeg_files(rng))
    bad += test_files(cr, "inks", ink_files(args.driver))
    bad += test_files(cr, "real pictures", real_files())
    bad += test_preprocess(cr, rng, args.cases // 2)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
