# What quantize warns about: wrong preprocessing, pictures that are few, alike, grey or empty. Nothing
# when all is well.
need_sample
make_scenes 40
quantize() {
    "$CRAYON" quantize "$SAMPLE" -o q.onnx --save-stats s.json "$@" 2>&1 >/dev/null | sed 's/finds [0-9.]* times as much/finds more/; s/finds far more/finds more/'
}
echo "right:"
quantize --images scenes
for wrong in 0..255 imagenet mean=10,std=0.5; do
    echo "$wrong:"
    quantize --images scenes --preprocess $wrong
done
quantize --images scenes --preprocess 0..255 --no-check && echo "not looked at"
python3 - <<'PY'
import os, struct, zlib
def png(path, pixel, w=64, h=48):
    raw = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(w)) for y in range(h))
    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
for kind in ("alike", "grey", "empty"):
    os.mkdir(kind)
for i in range(20):
    png(f"alike/{i}.png", lambda x, y: (x * 4 & 255, (y * 5 + x * 3) & 255, (x * y + i // 8) & 255))
    png(f"grey/{i}.png", lambda x, y: [(x * (i + 1) * 5 + y * (21 - i) * 7) & 255] * 3)
    png(f"empty/{i}.png", lambda x, y: (12 * i, 40, 200))
PY
for set in alike grey empty; do
    echo "$set:"
    quantize --images $set
done
echo "few:"
quantize --images scenes/images/000001.jpg
for wrong in 0..254 mean=1/2 std=0 pad=256 letterbox, rgb,cmyk; do
    fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --images scenes --preprocess $wrong
done
"$CRAYON" inspect "$SAMPLE" --preprocess topleft,bgr,imagenet | grep preprocessing
"$CRAYON" inspect "$SAMPLE" --preprocess mean=1/2/3,std=4/5/6,stretch | grep preprocessing
