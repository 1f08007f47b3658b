# A folder that cannot be written to: said before any work is done.
need_sample
mkdir locked
make_scenes 2
echo precious >locked/out.onnx
if [ "$(id -u)" = 0 ]; then
    mount --bind locked locked 2>/dev/null && mount -o remount,ro,bind locked 2>/dev/null ||
        { umount locked 2>/dev/null; echo "SKIP a read-only mount is not permitted here"; exit 0; }
    trap 'umount locked' EXIT
else
    chmod 555 locked
    trap 'chmod 755 locked' EXIT
fi
fails "$CRAYON" quantize "$SAMPLE" -o locked/out.onnx --images scenes
fails "$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes --save-recipe locked/recipe.json
fails "$CRAYON" detect "$SAMPLE" scenes/images/000000.jpg --json locked/found.json
fails "$CRAYON" eval "$SAMPLE" --images scenes --labels scenes/instances.json \
    --save-detections locked/d.json
fails "$CRAYON" synth locked/more -n 1
fails "$CRAYON" quantize "$SAMPLE" -o no/such/folder/q.onnx --images scenes
cat locked/out.onnx
listing | grep -v scenes/
