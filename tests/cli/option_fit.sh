# No option is passed over in silence: with each format and each mode it changes the file or is refused by
# name, before the work and with nothing written.
need_sample
make_scenes 8
calibrate() { "$CRAYON" quantize "$SAMPLE" --images scenes --no-check --rounding nearest "$@" >/dev/null 2>&1; }
calibrate -o stats.onnx --save-stats crayon.json
calibrate -o stats.tflite --save-stats tflite.json
calibrate -o stats.onnx --format qoperator --save-stats ort.json
rm -f stats.*
same() { # two results, with the weights' file beside
    diff -r "$1" "$2" >/dev/null && { [ ! -e "${1%.*}.bin" ] || cmp -s "${1%.*}.bin" "${2%.*}.bin"; }
}
try() { # base result, result, options...
    set +f
    base=$1 result=$2
    shift 2
    if "$CRAYON" quantize "$SAMPLE" -o "$result" "$@" >/dev/null 2>message; then
        { same "$base" "$result" && echo "PASSED OVER"; } || echo "effect"
    else
        echo "exit $?: $(cat message)"
        [ ! -e "$result" ] || echo "FAULT: something was written"
    fi
    rm -rf "${result%.*}".*
}
for row in qdq:onnx:crayon qoperator:onnx:ort tflite:tflite:tflite openvino:xml:crayon ncnn:param:crayon coreml:mlpackage:crayon; do
    format=${row%%:*} rest=${row#*:}
    ending=${rest%:*} stats=${rest#*:}.json
    base=base-$format.$ending
    "$CRAYON" quantize "$SAMPLE" -o "$base" --format "$format" --stats "$stats" --rounding nearest >/dev/null || echo FAULT
    for options in '--io int8' '--arithmetic float32' '--input array' --nms '--nms --nms-conf .5' '--nms-iou .5' \
        '--activations int16' '--precision-of *stage2*=int16'; do
        set -f # the pattern is the program's
        echo "$format $options: $(try "$base" "x.$ending" --format "$format" --stats "$stats" --rounding nearest $options)"
        set +f
    done
done
for out in x.tflite x.TFLITE x.param x.mlpackage; do
    fails "$CRAYON" quantize "$SAMPLE" -o $out --images scenes --int16-layers 2
done
fails "$CRAYON" quantize "$SAMPLE" -o x.tflite --images scenes --target edgetpu --precision-of '*=int16'
for mode in weights dynamic fp16; do
    for options in '--activations int16' --symmetric '--calib minmax' '--equalize all' '--split-channels 4' \
        '--head quantize' '--precision-of *=int16' --bias-correction; do
        [ "$mode $options" = "fp16 --head quantize" ] && continue # which has its own meaning there
        set -f
        fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --mode $mode $options
        set +f
    done
done
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --mode bf16 --rounding sums
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats crayon.json --rounding gptq
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats crayon.json --bias-correction
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --stats crayon.json --equalize all --granularity tensor
fails "$CRAYON" quantize "$SAMPLE" -o x.onnx --fix --stats crayon.json --split-channels 4
fails "$CRAYON" convert "$SAMPLE" -o x.tflite --nms
fails "$CRAYON" convert "$SAMPLE" -o x.onnx --arithmetic float16
fails "$CRAYON" qat "$SAMPLE" -o x.onnx --images scenes --io int8
fails "$CRAYON" qat "$SAMPLE" -o x.tflite --images scenes --precision-of '*=int16'
listing | grep -v scenes/
