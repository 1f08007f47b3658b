# Wrong usage: exit 2 and one line that says what to do.
fails "$CRAYON"
fails "$CRAYON" paint
fails "$CRAYON" detect
fails "$CRAYON" detect m.onnx
fails "$CRAYON" detect m.onnx a.jpg --colour red
fails "$CRAYON" detect m.onnx a.jpg -x
fails "$CRAYON" detect m.onnx a.jpg --conf
fails "$CRAYON" detect m.onnx a.jpg --conf 2
fails "$CRAYON" detect m.onnx a.jpg --iou nan
fails "$CRAYON" detect m.onnx a.jpg --max-det 0
fails "$CRAYON" detect m.onnx a.jpg --threads two
fails "$CRAYON" detect m.onnx a.jpg --imgsz 640by480
fails "$CRAYON" detect m.onnx a.jpg --cpu turbo
fails "$CRAYON" quantize
fails "$CRAYON" quantize m.onnx
fails "$CRAYON" quantize m.onnx -o q.onnx
fails "$CRAYON" quantize m.onnx -o q.h5 --images a |
    sed 's/there are: qdq (.onnx), .*; see/there are: FORMATS; see/'
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --weights int4
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --activations int16
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --granularity block
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --calib best
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --calib lp:0
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --calib percentile:20
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --head none
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --samples 0
fails "$CRAYON" quantize m.onnx -o q.onnx --images a --mode sometimes
fails "$CRAYON" quantize m.onnx -o q.onnx --recipe r.json --symmetric
fails "$CRAYON" quantize m.onnx n.onnx -o q.onnx --images a
fails "$CRAYON" eval m.onnx
fails "$CRAYON" eval m.onnx --labels l.json
fails "$CRAYON" eval m.onnx --labels l.json --images a --limit none
fails "$CRAYON" compare m.onnx --images a
fails "$CRAYON" compare m.onnx n.onnx
fails "$CRAYON" bench
fails "$CRAYON" bench m.onnx --runs -1
fails "$CRAYON" inspect
fails "$CRAYON" inspect a b
cp "$HERE/usage.sh" same.onnx
fails "$CRAYON" quantize same.onnx -o ./same.onnx --images a
listing
