# The same without a file system of one's own: files may not grow beyond 8 KiB (setrlimit), so
# writing fails in the middle with "File too large".
need_sample
make_scenes 4
echo precious >out.onnx
trap '' XFSZ
ulimit -f 16
fails "$CRAYON" quantize "$SAMPLE" -o out.onnx --images scenes
cat out.onnx
listing | grep -v scenes/
