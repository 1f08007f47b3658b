# The live view: the page and its feeds, settings that change what is found, bad requests refused, slow
# viewers and crowds survived, tokens; what cannot be served.
need_sample
make_scenes 60
frames=$(json scenes/instances.json '" ".join("scenes/images/" + i["file_name"] for i in j["images"] if (i["width"], i["height"]) == (j["images"][0]["width"], j["images"][0]["height"]))')
python3 "$HERE/serve.py" "$CRAYON" "$SAMPLE" $frames
python3 "$HERE/make_video.py" v.avi 10 $frames
fails "$CRAYON" detect "$SAMPLE" v.avi --serve 0.0.0.0:0
fails "$CRAYON" detect "$SAMPLE" v.avi --serve 8080
fails "$CRAYON" detect "$SAMPLE" v.avi --serve 127.0.0.1:99999
fails "$CRAYON" detect "$SAMPLE" v.avi --serve 203.0.113.7:80 --token t
fails "$CRAYON" detect "$SAMPLE" v.avi --serve :0 --token ''
fails "$CRAYON" detect "$SAMPLE" scenes/images --serve :0
fails "$CRAYON" detect "$SAMPLE" v.avi --token t
"$CRAYON" detect "$SAMPLE" v.avi --serve :0 --versus "$SAMPLE" --limit 3 2>&1 | sed 's/:[0-9]*\/$/:PORT\//; s/ in .*//'
