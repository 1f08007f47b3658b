# 16-bit floats: no pictures needed, half the size, the same detections from the file as from the
# model in memory, and what cannot be combined is said.
need_sample
make_scenes 12
"$CRAYON" quantize "$SAMPLE" -o fp16.onnx --mode fp16
"$CRAYON" quantize "$SAMPLE" -o graph.onnx --mode fp16-graph --images scenes
"$CRAYON" quantize "$SAMPLE" -o bf16.onnx --mode bf16 --keep-float '*out4*' | sed -n 2p
for mode in fp16 bf16 fp16-graph; do
    "$CRAYON" quantize "$SAMPLE" -o $mode-1.onnx --mode $mode >/dev/null
    [ $(($(wc -c <$mode-1.onnx) * 100 / $(wc -c <"$SAMPLE"))) -le 65 ] || echo "FAULT: $mode is large"
    "$CRAYON" quantize $mode-1.onnx -o $mode-2.onnx --mode $mode >/dev/null
    "$CRAYON" quantize $mode-2.onnx -o $mode-3.onnx --mode $mode >/dev/null
    cmp $mode-2.onnx $mode-3.onnx
    "$CRAYON" detect $mode-1.onnx scenes --json 1.json >/dev/null
    "$CRAYON" detect $mode-2.onnx scenes --json 2.json >/dev/null
    cmp 1.json 2.json
done
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --mode half
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --mode fp16 --weights uint8
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --mode fp16 --save-stats s.json
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --mode fp16 --keep-float 'no-such-*'
[ ! -e x.onnx ] && [ ! -e s.json ] && echo "nothing written"
