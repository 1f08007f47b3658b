# Segmentation models by masks, classifiers by top1 and top5, and the forms that labels come in.
make() { python3 "$HERE/make_shapes.py" "$@" || exit 1; }

# --- masks: a model whose mask is the left half of its box
make segment seg.onnx
make picture a.png 90 90 90
cat >half.json <<'END'
{"images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
 "categories": [{"id": 4, "name": "thing"}],
 "annotations": [{"id": 1, "image_id": 1, "category_id": 4, "bbox": [16, 16, 16, 32], "area": 512,
   "segmentation": [[16, 16, 32, 16, 32, 48, 16, 48]]}]}
END
"$CRAYON" eval seg.onnx --images . --labels half.json --json --against seg.onnx \
    --save-detections d.json >s.json
json s.json 'j["metric"], round(j["metrics"]["AP"], 6), j["agreement"] > .999, j["mask_agreement"] > .999'
json d.json '[sorted(d) for d in j], j[0]["segmentation"]["size"]'
"$CRAYON" eval seg.onnx --images . --labels half.json --json --metric boxes --save-detections b.json >b.out
json b.out 'j["metric"], round(j["metrics"]["AP"], 6), round(j["metrics"]["AP50"], 6)'
json b.json 'j[0]["bbox"]'
"$CRAYON" eval seg.onnx --images . --labels half.json --per-class | tail -n 1
fails "$CRAYON" eval seg.onnx --images . --labels half.json --metric keypoints
sed 's/"segmentation"/"outline"/' half.json >bare.json
fails "$CRAYON" eval seg.onnx --images . --labels bare.json --metric segm
"$CRAYON" eval seg.onnx --images . --labels bare.json --json 2>warning >w.json
cat warning
json w.json 'j["metric"]'
sed 's/"width": 64/"width": 63/' half.json >narrow.json
fails "$CRAYON" eval seg.onnx --images . --labels narrow.json
sed 's/16, 48\]\]/16]]/' half.json >odd.json
fails "$CRAYON" eval seg.onnx --images . --labels odd.json
for i in 1 2 3; do make picture $i.png ${i}0 90 9$i; done
"$CRAYON" quantize seg.onnx -o q.onnx --images . 2>/dev/null | grep -E '^(agreement|masks)' |
    sed 's/, on .*//'
"$CRAYON" compare seg.onnx q.onnx --images . | grep agreement
"$CRAYON" eval q.onnx --images . --labels half.json --against seg.onnx | tail -n 2
"$CRAYON" eval q.onnx --images . --labels half.json --against seg.onnx --report r.html >/dev/null
[ -s r.html ] || echo "no report"

# --- oriented boxes: 30x10 at 45 degrees; labels of both forms, one object turned by 90 degrees more
make oriented obb.onnx
mkdir -p obb/images obb/labels
for i in 1 2; do make picture obb/images/$i.png 90 9$i 90; done
python3 - <<'END'
import json
s = 2 ** .5
flat = [32 + s * 10, 32 + s * 5, 32 + s * 5, 32 + s * 10, 32 - s * 10, 32 - s * 5, 32 - s * 5, 32 - s * 10]
steep = [v if i % 2 else 64 - v for i, v in enumerate(flat)]
truth = {"images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in (1, 2)],
         "categories": [{"id": 1, "name": "thing"}], "annotations": []}
for i, corners in ((1, flat), (2, steep)):
    open(f"obb/labels/{i}.txt", "w").write("0 " + " ".join(repr(v / 64) for v in corners) + "\n")
    truth["annotations"].append({"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 64, 64],
                                 "segmentation": [corners]})
json.dump(truth, open("obb/truth.json", "w"))
open("obb/data.yaml", "w").write("val: images\nnames: [thing]\n")
END
"$CRAYON" eval obb.onnx --labels obb/data.yaml --against obb.onnx --save-detections o.json >o.txt
sed -n '2,3p; 14,15p' o.txt
json o.json '[sorted(d) for d in j], len(j[0]["poly"])'
"$CRAYON" eval obb.onnx --images obb/images --labels obb/truth.json --json --against obb.onnx >o.json
json o.json 'j["metric"], round(j["metrics"]["AP"], 3), j["oriented_agreement"] > .999'
"$CRAYON" eval obb.onnx --labels obb/data.yaml --metric boxes --json >o.json
json o.json 'j["metric"], round(j["metrics"]["AP"], 3)' # the boxes around are the same
fails "$CRAYON" eval seg.onnx --images . --labels half.json --metric obb
fails "$CRAYON" eval obb.onnx --images . --labels bare.json --metric obb
"$CRAYON" quantize obb.onnx -o q.onnx --images obb/images 2>/dev/null | grep -E '^(agreement|oriented)' |
    sed 's/, on .*//'

# --- classes: five pictures, one in the wrong folder
make classify cls.onnx
mkdir -p val/red val/green val/blue
make picture val/red/1.png 250 0 0
make picture val/red/2.png 200 30 30
make picture val/red/3.png 0 250 0
make picture val/green/1.png 0 99 0
make picture val/blue/1.png 0 0 250
"$CRAYON" eval cls.onnx --labels val --json --against cls.onnx >c.json
json c.json 'j'
"$CRAYON" eval cls.onnx --images val
fails "$CRAYON" eval cls.onnx --images . --labels half.json
fails "$CRAYON" eval cls.onnx --labels val --save-detections x.json
fails "$CRAYON" eval seg.onnx --images val
[ ! -e x.json ] || echo "x.json was written"

# --- one truth in three forms
if [ ! -e "$SAMPLE" ]; then
    exit 0
fi
make_scenes 6
mkdir -p voc scenes/labels
python3 - <<'END'
import json
j = json.load(open("scenes/instances.json"))
names = {c["id"]: c["name"] for c in j["categories"]}
for i in j["images"]:
    mine = [a for a in j["annotations"] if a["image_id"] == i["id"]]
    stem, w, h = i["file_name"].rsplit("/")[-1][:-4], i["width"], i["height"]
    with open(f"voc/{stem}.xml", "w") as f:
        f.write(f"<annotation><filename>{stem}.jpg</filename><size><width>{w}</width><height>{h}</height></size>")
        for a in mine:
            x, y, bw, bh = a["bbox"]
            f.write(f"<object><name>{names[a['category_id']]}</name><bndbox><xmin>{x + 1!r}</xmin><ymin>{y + 1!r}"
                    f"</ymin><xmax>{x + bw!r}</xmax><ymax>{y + bh!r}</ymax></bndbox></object>")
        f.write("</annotation>")
    with open(f"scenes/labels/{stem}.txt", "w") as f:
        for a in mine:
            p = a["segmentation"][0]
            f.write(f"{a['category_id'] - 1} " + " ".join(repr(v / (h if k % 2 else w)) for k, v in enumerate(p)) + "\n")
with open("scenes/data.yaml", "w") as f:
    f.write("val: images\nnames: " + str([c["name"] for c in j["categories"]]) + "\n")
END
"$CRAYON" eval "$SAMPLE" --images scenes/images --labels scenes/instances.json --json >1.json
"$CRAYON" eval "$SAMPLE" --images scenes/images --labels voc --json >2.json
"$CRAYON" eval "$SAMPLE" --labels scenes/data.yaml --json >3.json
python3 - <<'END'
import json
ap = [json.load(open(f"{k}.json"))["metrics"]["AP"] for k in (1, 2, 3)]
# the polygons of the labels have two decimals: boxes of .01 px less
print(ap[0] > .5, abs(ap[1] - ap[0]) < 1e-9, abs(ap[2] - ap[0]) < .01)
END
