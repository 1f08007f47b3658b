# The figures and their keys; the peak memory is each model's own.
need_sample
"$CRAYON" bench "$SAMPLE" "$SAMPLE" --runs 3 --warmup 1 --threads 1 --json >b.json
json b.json 'len(j), sorted(j[0])'
json b.json 'all(0 < b["min_ms"] <= b["median_ms"] <= b["p95_ms"] for b in j)'
json b.json 'all(b["runs"] == 3 and b["threads"] == 1 and 5 < b["peak_rss_mb"] < 500 for b in j)'
"$CRAYON" bench "$SAMPLE" --runs 2 --layers --json >l.json
json l.json 'sorted(j[0]["layers"][0]), len(j[0]["layers"]) > 20'
"$CRAYON" bench "$SAMPLE" --runs 2 | tail -n 1 | cut -d' ' -f1
"$CRAYON" synth scenes -n 1 --size 96x64 >/dev/null
"$CRAYON" bench "$SAMPLE" --pipeline scenes/images/000000.jpg --runs 3 --warmup 1 --json >p.json
json p.json 'sorted(j[0])'
json p.json 'all(0 <= j[0][k + "_ms"] <= j[0]["total_ms"] for k in ("decode", "letterbox", "run", "head"))'
json p.json 'j[0]["runs"], j[0]["width"], j[0]["height"], j[0]["boxes"] >= 0'
"$CRAYON" bench "$SAMPLE" --pipeline scenes/images/000000.jpg --runs 2 | tail -n 1 | cut -d' ' -f1
fails "$CRAYON" bench "$SAMPLE" --pipeline nowhere.jpg
json l.json 'all(abs(x["gops"] * x["ms"] * 1e6 - 2 * x["macs"]) <= 1e-6 * x["macs"] for x in j[0]["layers"])'
json l.json 'all(x["ms"] > 0 for x in j[0]["layers"]), 0 < j[0]["convolutions"]["peak_share"] < 2'
json l.json 'sorted(j[0]["peaks"])'
"$CRAYON" bench "$SAMPLE" --runs 2 --layers | grep -c 'the slowest:\|convolutions  \|other steps  \|peaks here  '
"$CRAYON" bench "$SAMPLE" --runs 2 --svg r.svg | tail -n 1 | cut -d' ' -f1
grep -c '</svg>' r.svg
fails "$CRAYON" bench "$SAMPLE" --runs 2 --svg r.jpg
"$CRAYON" bench "$SAMPLE" --runs 2 --svg none/r.svg 2>&1 >/dev/null | grep -c '^crayon: none/r.svg'
fails "$CRAYON" bench "$SAMPLE" "$SAMPLE" --svg r.svg
"$CRAYON" bench "$SAMPLE" --batch 3 --runs 2 --json >n.json
json n.json 'j[0]["batch"]'
fails "$CRAYON" bench "$SAMPLE" --batch 0
