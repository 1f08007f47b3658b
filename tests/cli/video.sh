# Video through detect: every frame in order, written again with the same number of frames and times;
# parts of it; from standard input; a camera's mode; what is no video.
need_sample
"$CRAYON" synth same -n 8 --seed 5 --size 272x208 >/dev/null
python3 "$HERE/make_video.py" v.avi 10 same/images/*.jpg
"$CRAYON" detect "$SAMPLE" v.avi --save out.mp4 --json v.json | sed 's/ in .*//; s/(.*)/(codec)/'
json v.json 'len(j), [l["frame"] for l in j] == list(range(len(j))), len({(l["width"], l["height"]) for l in j})'
"$CRAYON" detect "$SAMPLE" same/images --json p.json >/dev/null
# the frames went through another JPEG decoder: nearly the same objects
python3 - <<'END'
import collections, json
a, b = ([collections.Counter(d["class"] for d in json.loads(line)["detections"]) for line in open(name)]
        for name in ("v.json", "p.json"))
same = sum(sum((x & y).values()) for x, y in zip(a, b))
print(same >= 0.9 * max(sum(map(lambda c: sum(c.values()), a)), sum(map(lambda c: sum(c.values()), b)), 1))
END
"$CRAYON" detect "$SAMPLE" out.mp4 --json again.json | sed 's/ in .*//'
"$CRAYON" detect "$SAMPLE" v.avi --threads 1 --json one.json >/dev/null
cmp v.json one.json && echo "same for one thread"
"$CRAYON" detect "$SAMPLE" v.avi --decoder software --json soft.json >/dev/null
cmp v.json soft.json && echo "same by software"
"$CRAYON" detect "$SAMPLE" v.avi --stride 3 --json part.json >/dev/null
json part.json '[l["frame"] for l in j]'
"$CRAYON" detect "$SAMPLE" v.avi --start 0.5 --limit 2 --save part/ | sed 's/ in .*//; s/(.*)/(codec)/'
"$CRAYON" detect "$SAMPLE" part/v.avi | sed 's/ in .*//'
"$CRAYON" detect "$SAMPLE" - --json - <v.avi 2>/dev/null | cut -d, -f1,2 | tail -n 1
size=$(json v.json '"%dx%d" % (j[0]["width"], j[0]["height"])')
pixels=$(json v.json 'j[0]["width"] * j[0]["height"] * 3')
head -c $((pixels * 5)) /dev/zero | "$CRAYON" detect "$SAMPLE" - --raw "$size:rgb24@25" | sed 's/ in .*//; s/ [0-9]*x[0-9]*:/:/'
"$CRAYON" detect "$SAMPLE" v.avi --newest --json - 2>/dev/null | tail -n 1 | cut -d, -f1,2
echo "not a video" >bad.mp4
echo precious >old.mp4
fails "$CRAYON" detect "$SAMPLE" bad.mp4 --save old.mp4
fails "$CRAYON" detect "$SAMPLE" v.avi --start 99 --save old.mp4
fails "$CRAYON" detect "$SAMPLE" missing.mp4
fails "$CRAYON" detect "$SAMPLE" /dev/video99
fails "$CRAYON" detect "$SAMPLE" http://user:secret@127.0.0.1:9/x --losses 0
fails "$CRAYON" detect "$SAMPLE" v.avi --save v.avi
fails "$CRAYON" detect "$SAMPLE" v.avi --decoder videotoolbox
fails "$CRAYON" detect "$SAMPLE" v.avi --decoder magic
fails "$CRAYON" detect "$SAMPLE" v.avi same/images
fails "$CRAYON" detect "$SAMPLE" - --raw 12 </dev/null
cat old.mp4
listing | grep -v same/
first=same/images/000001.jpg
python3 "$HERE/make_video.py" still.avi 10 $first $first $first $first
"$CRAYON" detect "$SAMPLE" still.avi --count 0,0,5000,0,5000,5000,0,5000 --json still.json | sed 's/ in [0-9.]* s.*//'
json still.json 'len({tuple(sorted(d["id"] for d in l["detections"])) for l in j})'
fails "$CRAYON" detect "$SAMPLE" v.avi --count 1,2,3
