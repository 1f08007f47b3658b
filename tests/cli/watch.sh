# The terminal view: on terminals of two sizes, how it ends, what it leaves; lines where there is none.
need_sample
"$CRAYON" synth same -n 8 --seed 5 --size 272x208 >/dev/null
python3 "$HERE/make_video.py" v.avi 6 same/images/*.jpg
python3 "$HERE/watch.py" "$CRAYON" "$SAMPLE" v.avi || exit 1
"$CRAYON" watch "$SAMPLE" v.avi >lines
sed 's/[0-9][0-9]*\.[0-9]/N/g; s/lost 0  .*/lost 0  COUNTS/; s/dropped [0-9]*/dropped N/; s/^[0-9]* frames/N frames/' lines
"$CRAYON" watch "$SAMPLE" v.avi --limit 3 | sed 's/ in .*//'
"$CRAYON" watch "$SAMPLE" - <v.avi | tail -n 1 | sed 's/ in .*//; s/^[0-9]* /N /'
fails "$CRAYON" watch "$SAMPLE"
fails "$CRAYON" watch "$SAMPLE" v.avi v.avi
fails "$CRAYON" watch "$SAMPLE" same/images
fails "$CRAYON" watch "$SAMPLE" missing.mp4
fails "$CRAYON" watch "$SAMPLE" v.avi --labels missing.txt
