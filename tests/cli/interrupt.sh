# Ctrl-C in the middle: one line, exit 1, nothing written, the old file as it was. And the progress
# bar: on a terminal it is there with rate and ETA, in a pipe nothing is.
need_sample
make_scenes 2
mkdir many
for i in $(seq 3000); do ln -s ../scenes/images/000000.jpg many/$i.jpg; done
echo precious >out.onnx
python3 "$HERE/interrupt.py" "$CRAYON" quantize "$SAMPLE" -o out.onnx --images many --samples 3000 --all-samples --no-check
cat out.onnx
find . -maxdepth 1 -type f ! -name '.*' | sort
