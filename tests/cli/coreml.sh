# Core ML packages: float, 16-bit, quantized, palettes, with suppression; what is in the folder, what is
# replaced and what is not. What coremltools says to them: tests/peers/coreml.sh.
need_sample
make_scenes 12
"$CRAYON" convert "$SAMPLE" -o float.mlpackage | sed 's/.*\(shapes\)/\1/'
listing float.mlpackage
json float.mlpackage/Manifest.json '[e["path"] for e in sorted(j["itemInfoEntries"].values(), key=lambda e: e["path"])]'
json float.mlpackage/Manifest.json 'j["itemInfoEntries"][j["rootModelIdentifier"]]["name"]'
bytes() { find "$1" -type f -exec cat {} + | wc -c; }
"$CRAYON" quantize "$SAMPLE" -o half.mlpackage --mode fp16 | sed -n 2,3p
"$CRAYON" quantize "$SAMPLE" -o int8.mlpackage --mode weights --rounding nearest | grep '^size'
"$CRAYON" quantize "$SAMPLE" -o pal4.mlpackage --mode weights --weights palette4 --images scenes
"$CRAYON" quantize "$SAMPLE" -o static.mlpackage --images scenes --rounding nearest | grep '^size'
"$CRAYON" convert "$SAMPLE" -o nms.mlpackage --nms --nms-conf .3 >/dev/null
# the same again: the same bytes, and nothing else in the folder
mkdir again
"$CRAYON" convert "$SAMPLE" -o again/float.mlpackage/ >/dev/null
"$CRAYON" convert "$SAMPLE" -o again/float.mlpackage >/dev/null
diff -r float.mlpackage again/float.mlpackage && ls again
# strings that a reader finds
grep -ac 'CoreML5' float.mlpackage/Data/com.apple.CoreML/model.mlmodel
grep -ac 'constexpr_affine_dequantize' int8.mlpackage/Data/com.apple.CoreML/model.mlmodel
grep -ac 'CoreML7' static.mlpackage/Data/com.apple.CoreML/model.mlmodel
grep -ac 'confidenceThreshold' nms.mlpackage/Data/com.apple.CoreML/model.mlmodel
# no harm to what is no package
mkdir other.mlpackage && echo mine >other.mlpackage/notes
fails "$CRAYON" convert "$SAMPLE" -o other.mlpackage
echo mine >file.mlpackage
fails "$CRAYON" convert "$SAMPLE" -o file.mlpackage
cat other.mlpackage/notes file.mlpackage
fails "$CRAYON" convert "$SAMPLE" -o no/such/folder.mlpackage
fails "$CRAYON" quantize "$SAMPLE" -o x.mlpackage --mode dynamic
fails "$CRAYON" quantize "$SAMPLE" -o x.mlpackage --mode bf16
fails "$CRAYON" quantize "$SAMPLE" -o x.mlpackage --mode weights --weights int16
fails "$CRAYON" quantize "$SAMPLE" -o x.mlpackage --weights palette4 --images scenes
fails "$CRAYON" convert "$SAMPLE" -o x.mlpackage --nms-iou 2
fails "$CRAYON" inspect float.mlpackage
ls -d x.* *.tmp-* 2>/dev/null
echo "nothing else"
