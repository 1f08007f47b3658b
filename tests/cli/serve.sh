# The live view: the page and its feeds, settings that change what is found, bad requests refused, slow
# viewers and crowds survived, tokens; what cannot be served.
need_sample
"$CRAYON" synth scenes -n 8 --seed 5 --size 272x208 >/dev/null
python3 "$HERE/serve.py" "$CRAYON" "$SAMPLE" scenes/images/*.jpg
python3 "$HERE/make_video.py" v.avi 10 scenes/images/*.jpg
fails "$CRAYON" detect "$SAMPLE" v.avi --serve 0.0.0.0:0
fails "$CRAYON" detect "$SAMPLE" v.avi --serve 8080
fails "$CRAYON" detect "$SAMPLE" v.avi --serve 127.0.0.1:99999
fails "$CRAYON" detect "$SAMPLE" v.avi --serve 203.0.113.7:80 --token t
fails "$CRAYON" detect "$SAMPLE" v.avi --serve :0 --token ''
fails "$CRAYON" detect "$SAMPLE" scenes/images --serve :0
fails "$CRAYON" detect "$SAMPLE" v.avi --token t
"$CRAYON" detect "$SAMPLE" v.avi --serve :0 --versus "$SAMPLE" --limit 3 2>&1 | sed 's/:[0-9]*\/$/:PORT\//; s/ in .*//'
