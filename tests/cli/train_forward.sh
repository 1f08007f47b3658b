# What training with a recipe in the loop has seen is what the exported file does: 8, 4 and 16 bits, symmetric, QOperator.
not_sanitized
need_sample
tool=$(dirname "$CRAYON")/tests/peers-train_forward
make_scenes 6
picture=$(find scenes/images -type f | LC_ALL=C sort | head -n 1)
try() { # options...
    "$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes/images --stats s.json --no-check "$@" >/dev/null || echo FAULT
    "$tool" q.onnx "$picture" trained.onnx 2>err || cat err
}
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes/images --save-stats s.json --no-check >/dev/null
try
try --weights int4 --activations int16 --rounding nearest
try --granularity tensor --symmetric --activations int8 --rounding nearest
try --weights int2 --first-last same --rounding nearest
try --weights int1 --rounding nearest
try --weights int4 --activations float --block 16 --rounding nearest
try --head quantize --rounding nearest
"$CRAYON" convert q.onnx -o op.onnx --format qoperator >/dev/null
"$tool" op.onnx "$picture" trained.onnx 2>err || cat err
fails "$tool" "$SAMPLE" "$picture" trained.onnx
