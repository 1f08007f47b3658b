# Damaged model files: one line, exit 1, nothing written; a flipped bit is either harmless or said.
need_sample
python3 "$HERE/make_cyclic.py" cyclic.onnx
head -c 40000 "$SAMPLE" >truncated.onnx
: >empty.onnx
echo "this is no model" >text.onnx
mkdir pictures folder.onnx
echo precious >out.onnx
fails "$CRAYON" inspect cyclic.onnx
fails "$CRAYON" inspect truncated.onnx
fails "$CRAYON" inspect empty.onnx
fails "$CRAYON" inspect text.onnx
fails "$CRAYON" inspect folder.onnx
fails "$CRAYON" inspect missing.onnx
fails "$CRAYON" bench missing.onnx
fails "$CRAYON" quantize truncated.onnx -o out.onnx --images pictures
fails "$CRAYON" detect truncated.onnx pictures
python3 "$HERE/flip_bits.py" "$CRAYON" "$SAMPLE" 60
cat out.onnx
listing
