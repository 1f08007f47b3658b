# The metrics and their JSON; a model agrees with itself entirely.
need_sample
make_scenes 12
"$CRAYON" eval "$SAMPLE" --images scenes/images --labels scenes/instances.json --json >e.json
json e.json 'sorted(j), j["images"], list(j["metrics"]), j["agreement"]'
json e.json '0.5 < j["metrics"]["AP"] < j["metrics"]["AP50"] <= 1'
"$CRAYON" eval "$SAMPLE" --images scenes --labels scenes/instances.json --against "$SAMPLE" \
    --limit 5 --per-class --save-detections d.json --json >l.json
json l.json 'j["images"], [c["name"] for c in j["classes"]], round(j["agreement"], 6)'
json d.json 'sorted(j[0]), len(set(d["image_id"] for d in j))'
"$CRAYON" eval "$SAMPLE" --images scenes --labels scenes/instances.json --limit 5 | cut -c1-8
