# Clips around what appears: a circle that is there twice, in ten seconds of video at 10 frames a second.
need_sample
python3 - >v.rgb <<'END'
import sys
W, H = 272, 208
empty = bytes((90, 120, 100)) * (W * H)
circle = bytearray(empty)
for y in range(H):
    for x in range(W):
        if (x - 130) ** 2 + (y - 100) ** 2 < 45 ** 2:
            circle[3 * (W * y + x):3 * (W * y + x) + 3] = bytes((220, 40, 50))
for i in range(100):
    sys.stdout.buffer.write(circle if 30 <= i < 35 or 70 <= i < 75 else empty)
END
look() { "$CRAYON" detect "$SAMPLE" - --raw 272x208:rgb24@10 --classes circle "$@" <v.rgb; }
look --clip 1 --json all.json 2>messages | sed 's/ in [0-9.]* s.*//'
cat messages
# from the second before (and up to one more: key frames) to the second after
python3 - <<'END'
import json
clips = {}
for line in open("all.json"):
    frame = json.loads(line)
    if "clip" in frame:
        clips.setdefault(frame["clip"], []).append(frame["frame"])
for name, frames in sorted(clips.items()):
    print(name, "from its appearance:", frames[0], "to", frames[-1])
END
frames() { "$CRAYON" detect "$SAMPLE" "$1" --json - 2>/dev/null | grep -c frame; }
for clip in clips/*; do
    n=$(frames "$clip")
    [ "$n" -ge 20 ] && [ "$n" -le 31 ] && echo "$clip has the frames around it" || echo "$clip: $n frames"
done
look --clip 3 --clips both --save all.mp4 2>/dev/null | sed 's/ in [0-9.]* s.*//; s/(.*)/(codec)/'
frames all.mp4
look --limit 20 --clip 2 --clips none | sed 's/ in [0-9.]* s.*//'
find none -type f
fails "$CRAYON" detect "$SAMPLE" - --raw 272x208:rgb24@10 --clip 0 <v.rgb
fails "$CRAYON" detect "$SAMPLE" - --raw 272x208:rgb24@10 --clips there <v.rgb
echo file >file
fails "$CRAYON" detect "$SAMPLE" - --raw 272x208:rgb24@10 --clip 1 --clips file/there <v.rgb
cp "$SAMPLE" picture.jpg
fails "$CRAYON" detect "$SAMPLE" picture.jpg --clip 1
