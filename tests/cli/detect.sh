# Text, JSON and drawn pictures; folders, globs and lists mean the same pictures.
need_sample
make_scenes 3
"$CRAYON" detect "$SAMPLE" scenes --json found.json --save drawn
echo "json:"
json found.json 'len(j), sorted(j[0]), [k["frame"] for k in j]'
json found.json 'all(sorted(d) == ["box", "class", "name", "score"] for k in j for d in k["detections"])'
json found.json 'all(k["detections"] == sorted(k["detections"], key=lambda d: -d["score"]) for k in j)'
json found.json 'all(0 <= d["box"][0] <= d["box"][2] <= k["width"] and 0 <= d["box"][1] <= d["box"][3] <= k["height"] for k in j for d in k["detections"])'
json found.json 'sum(len(k["detections"]) for k in j) > 3'
listing drawn
find scenes/images -name '*.jpg' | sort >list.txt
"$CRAYON" detect "$SAMPLE" 'scenes/images/*.jpg' --json - >glob.json
"$CRAYON" detect "$SAMPLE" list.txt --json - >list.json
cmp glob.json list.json && cmp glob.json found.json && echo "the same from folder, glob and list"
"$CRAYON" detect "$SAMPLE" scenes --threads 1 --json - | cmp - found.json && echo "the same on one thread"
"$CRAYON" detect "$SAMPLE" scenes --classes star,0 --conf 0.05 --json - >some.json
json some.json 'set(d["name"] for k in j for d in k["detections"]) <= {"star", "circle"}'
printf 'a\nb\nc\nd\ne\n' >names.txt
"$CRAYON" detect "$SAMPLE" scenes --labels names.txt --json - >named.json
json named.json 'set(d["name"] for k in j for d in k["detections"]) <= set("abcde")'
fails "$CRAYON" detect "$SAMPLE" scenes --classes cow
fails "$CRAYON" detect "$SAMPLE" scenes --save scenes/images
fails "$CRAYON" detect "$SAMPLE" scenes scenes/images --save drawn
# Pictures are read ahead, but a broken one is met at its turn, on any number of threads.
echo broken >broken.jpg
{ cat list.txt; echo broken.jpg; cat list.txt; } >broken.txt
for threads in 1 2; do
    "$CRAYON" detect "$SAMPLE" broken.txt --threads $threads --json - >before$threads.json 2>message$threads
    echo "exit $?, $(wc -l <before$threads.json) lines, $(cat message$threads)"
done
cmp before1.json before2.json && echo "the same up to there"
