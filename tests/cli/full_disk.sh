# A disk that fills up: one line, exit 1, the files that were there unharmed, no temporary left.
need_sample
[ "$(id -u)" = 0 ] || { echo "SKIP a small file system can be mounted by root only"; exit 0; }
mkdir disk
mount -t tmpfs -o size=128k crayon-test disk 2>/dev/null ||
    { echo "SKIP mounting a small file system is not permitted here"; exit 0; }
trap 'umount disk' EXIT
make_scenes 4
echo precious >disk/out.onnx
echo precious >disk/recipe.json
head -c 100000 "$SAMPLE" >disk/filler
fails "$CRAYON" quantize "$SAMPLE" -o disk/out.onnx --images scenes
fails "$CRAYON" detect "$SAMPLE" scenes/images/000000.jpg --save disk/found --json disk/found.json
cat disk/out.onnx disk/recipe.json
listing disk
