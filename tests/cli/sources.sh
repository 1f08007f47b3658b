# Pictures from a folder, a zip archive and a video. A JPEG in an archive is the same picture; as a
# frame of a video it goes through another decoder, which rounds otherwise.
need_sample
make_scenes 24
python3 - <<'PY'
import os, zipfile
names = sorted(os.listdir("scenes/images"))
with zipfile.ZipFile("all.zip", "w", zipfile.ZIP_DEFLATED) as z:
    for n in reversed(names):
        z.write("scenes/images/" + n, "deep/er/" + n)
    z.writestr("__MACOSX/deep/._a.jpg", "x")
    z.writestr("deep/readme.txt", "x")
    z.writestr("deep/.hidden.jpg", "x")
with zipfile.ZipFile("none.zip", "w") as z:
    z.writestr("a.txt", "x")
with zipfile.ZipFile("bad.zip", "w") as z:
    z.writestr("../../etc/a.jpg", "no picture")
with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as z:
    with z.open(zipfile.ZipInfo("a.jpg"), "w", force_zip64=True) as f:
        for _ in range(1100):
            f.write(bytes(1 << 20))
blob = bytearray(open("all.zip", "rb").read())
open("cut.zip", "wb").write(blob[:len(blob) // 2])
open("text.zip", "w").write("not an archive")
open("text.webm", "w").write("not a video")
open("list.m3u8", "w").write("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
os.rename("list.m3u8", "list.webm")
PY
python3 "$HERE/make_video.py" all.avi 10 scenes/images/*.jpg
for from in scenes all.zip all.avi; do
    "$CRAYON" quantize "$SAMPLE" -o q.onnx --images $from --save-stats $from.json | sed -n 's/, [0-9.]* s$//; /calibration/p'
done
cmp scenes.json all.zip.json && echo "the same statistics"
"$CRAYON" detect "$SAMPLE" 'all.zip#deep/er/000003.jpg' 'all.avi#0.35' --json - |
    python3 -c 'import json, sys; a, b = [sorted(d["name"] for d in json.loads(x)["detections"] if d["score"] > .5) for x in sys.stdin]; print(a == b, a)'
for from in none.zip bad.zip bomb.zip cut.zip text.zip text.webm list.webm none.mp4; do
    fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --images $from
done
fails "$CRAYON" detect "$SAMPLE" 'all.avi#soon'
fails "$CRAYON" detect "$SAMPLE" 'all.zip#nothing.jpg'
listing | grep x.onnx || echo "nothing written"
