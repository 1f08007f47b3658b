# Reports: whole pages without addresses, whatever names hold; a failed run leaves the old file.
need_sample
make_scenes 6
eval_report() {
    "$CRAYON" eval "$@" --images scenes/images --labels labels.json >/dev/null && python3 "$HERE/check_page.py" "$page"
}
python3 - <<'END'
import json
labels = json.load(open("scenes/instances.json"))
labels["categories"][0]["name"] = "<b onclick='x()'>&\"\u202e\x01"
json.dump(labels, open("labels.json", "w"))
END
page=e.html
eval_report "$SAMPLE" --report e.html
grep -acF "&lt;b onclick=&#39;x()&#39;&gt;&amp;&quot;" e.html
cp "$SAMPLE" '<img src=x onerror=x()>&".onnx'
eval_report "$SAMPLE" --report e.html --against '<img src=x onerror=x()>&".onnx'
eval_report '<img src=x onerror=x()>&".onnx' --report e.html

"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes/images --report q.html >q.txt && python3 "$HERE/check_page.py" q.html
"$CRAYON" quantize "$SAMPLE" -o h.onnx --mode fp16 --report h.html >h.txt && python3 "$HERE/check_page.py" h.html
"$CRAYON" bench q.onnx --runs 3 --report b.html >b.txt && python3 "$HERE/check_page.py" b.html
grep -c "crayon bench --runs 3 --report b.html q.onnx" b.html

# a classifier; one class has another name than the model's, so nothing is found as such
classifier=$HERE/../../sample/shapes-cls.onnx
"$CRAYON" synth classes -n 25 --seed 5 --task classify >/dev/null
mv classes/star 'classes/<i>&'
"$CRAYON" eval "$classifier" --images classes --report c.html >/dev/null && python3 "$HERE/check_page.py" c.html
grep -acF '<th scope="row">&lt;i&gt;&amp;</th>' c.html
mv 'classes/<i>&' classes/star
find classes -name '*.jpg' | LC_ALL=C sort >classes.txt
"$CRAYON" quantize "$classifier" -o c.onnx --mode weights --weights int2 --images classes.txt --report c.html >c.txt &&
    python3 "$HERE/check_page.py" c.html
"$CRAYON" eval c.onnx --images classes --against "$classifier" --report c.html >c.txt && python3 "$HERE/check_page.py" c.html
grep -c '<figure class="answer"><img' c.html

echo old >old.html
fails "$CRAYON" bench q.onnx h.onnx --report old.html
fails "$CRAYON" quantize "$SAMPLE" -o q.onnx --images nowhere --report old.html
fails "$CRAYON" eval "$SAMPLE" --images scenes/images --labels nothing.json --report old.html
fails "$CRAYON" eval "$SAMPLE" --images scenes/images --labels labels.json --report no/where.html
cat old.html
find . -name '*.html*' | sort
