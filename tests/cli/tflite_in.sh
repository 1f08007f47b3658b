# TFLite files of any kind are a model to every command; damaged ones are refused with one line.
need_sample
make_scenes 4
"$CRAYON" quantize "$SAMPLE" -o int8.tflite --images scenes/images --no-check --rounding nearest >/dev/null
"$CRAYON" inspect int8.tflite --json >i.json
json i.json '(j["format"], j["task"], j["inputs"][0]["shape"][1], "int8" in j["precision"])'
cp int8.tflite other.name
"$CRAYON" inspect other.name | grep '^format' | cut -d, -f1
"$CRAYON" detect int8.tflite scenes/images/000000.jpg --json d.json >/dev/null && json d.json 'j["image"][-10:]'
"$CRAYON" bench int8.tflite --runs 2 --json >b.json && json b.json '"int8" in j[0]["precision"]'
"$CRAYON" convert int8.tflite -o int8.onnx >/dev/null
"$CRAYON" compare int8.tflite int8.onnx --images scenes/images --json >c.json && json c.json 'j["agreement"] == 1'
"$CRAYON" convert "$SAMPLE" -o float.tflite >/dev/null
"$CRAYON" quantize float.tflite -o again.onnx --images scenes/images --no-check --rounding nearest | cut -d, -f1 | head -n 1
head -c 5000 int8.tflite >cut.tflite
fails "$CRAYON" inspect cut.tflite | sed 's/at byte [0-9]*/at byte N/'
printf '\034\000\000\000TFL3' >head.tflite
fails "$CRAYON" inspect head.tflite
echo "no model" >text.tflite
fails "$CRAYON" inspect text.tflite
