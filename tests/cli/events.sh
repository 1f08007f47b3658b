# Commands when something appears: what they get, one at a time, what they cannot do; the window on a
# screen that is none; class names from a data.yaml, whatever a shell would make of them.
need_sample
"$CRAYON" synth same -n 8 --seed 5 --size 272x208 >/dev/null
python3 "$HERE/make_video.py" v.avi 10 same/images/*.jpg
printf 'names: ["$(touch hacked)", "a; touch hacked", "\\"; touch hacked; \\""]\n' >data.yaml
"$CRAYON" detect "$SAMPLE" v.avi --labels data.yaml --realtime --every-frame --json all.json \
    --on-detect 'cat >>piped; printf "%s\n" {json} >>bare; printf "%s\n" "{json}" >>quoted' >log
grep -c . piped >n && [ "$(cat n)" -ge 2 ] && echo "commands were run"
sed -n 's/^on-detect    \([0-9]*\) commands.*/\1/p' log | cmp - n && echo "as many as it says"
cmp piped bare && cmp piped quoted && echo "the same line three ways"
python3 - <<'END2'
lines = [l for l in open("piped")]
every = [l for l in open("all.json")]
print("lines of --json:", all(l in every for l in lines), "first frame first:", lines[0] == every[0])
END2
[ -e hacked ] && echo "FAULT: a label was run"
grep -c 'touch hacked' piped | grep -q '^0' && echo "FAULT: labels of data.yaml not used"
"$CRAYON" detect "$SAMPLE" v.avi --track --on-detect 'exit 3' --every 1000 >log
echo "--track: exit $?"; sed 's/ in [0-9.]* s.*//' log
fails "$CRAYON" detect "$SAMPLE" v.avi --on-detect "echo '{json}'"
fails "$CRAYON" detect "$SAMPLE" v.avi --every 2
fails "$CRAYON" detect "$SAMPLE" v.avi --every -1 --on-detect true
fails "$CRAYON" detect "$SAMPLE" same/images --on-detect true
fails "$CRAYON" detect "$SAMPLE" same/images --view
printf 'names: 3\n' >bad.yaml
fails "$CRAYON" detect "$SAMPLE" v.avi --labels bad.yaml
# a command that does not end: told to, then the rest of the run is not kept waiting
start=$(date +%s)
"$CRAYON" detect "$SAMPLE" v.avi --on-detect 'echo $$ >pid; sleep 600' >/dev/null 2>&1
[ $(($(date +%s) - start)) -lt 30 ] && ! kill -0 "$(cat pid)" 2>/dev/null && echo "ended"
# with or without SDL
SDL_VIDEODRIVER=dummy "$CRAYON" detect "$SAMPLE" v.avi --view --save out.mp4 >view.log 2>view.err
if grep -q 'without SDL2' view.err; then
    echo "window: 8 frames"
else
    sed -n 's/.*: \([0-9]* frames\).*/window: \1/p' view.log
fi
