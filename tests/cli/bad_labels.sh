# Labels that cannot be right: one line that names what is wrong, exit 1.
need_sample
make_scenes 2
python3 - <<'END'
import json
good = json.load(open("scenes/instances.json"))
def write(name, change):
    j = json.loads(json.dumps(good))
    change(j)
    json.dump(j, open(name, "w"))
write("image.json", lambda j: j["annotations"][0].update(image_id=777))
write("category.json", lambda j: j["annotations"][0].update(category_id=99))
write("picture.json", lambda j: j["images"][1].update(file_name="elsewhere.jpg"))
write("box.json", lambda j: j["annotations"][0].update(bbox=[1, 2, 3]))
write("names.json", lambda j: j.update(categories=[{"id": 1, "name": "tree"}], annotations=[]))
write("nothing.json", lambda j: j.update(images=[], annotations=[]))
END
head -c 300 scenes/instances.json >cut.json
echo "labels" >text.json
for labels in image category picture box names nothing cut text missing; do
    fails "$CRAYON" eval "$SAMPLE" --images scenes/images --labels $labels.json
done
listing | grep -v scenes/
