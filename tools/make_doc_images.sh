#!/bin/sh
# tools/make_doc_images.sh BUILD: makes every picture of docs/how-quantization-works.md anew, from
# sample/shapes.onnx and rendered scenes alone, into docs/img/.
set -eu
build=$(cd "${1:?usage: tools/make_doc_images.sh BUILD}" && pwd)
cd "$(dirname "$0")/.."
crayon=$build/crayon
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p docs/img

"$crayon" synth "$work/calib" -n 64 --seed 11 >/dev/null
"$crayon" synth "$work/test" -n 100 --seed 12 >/dev/null
"$crayon" quantize sample/shapes.onnx -o "$work/int8.onnx" --images "$work/calib/images" \
    --save-stats "$work/stats.json"

plot() { # picture, tensor
    "$crayon" inspect "$work/stats.json" --plot "$2" -o "docs/img/$1.svg"
}
plot hist-pixels images
plot hist-stem /stem/act/Mul_output_0
plot hist-outliers /out4/cv2/act/Mul_output_0
plot hist-output output0

scene() { # picture, model
    "$crayon" detect "$2" "$work/test/images/000016.jpg" --save "$work/drawn" >/dev/null
    mv "$work/drawn/000016.jpg" "docs/img/$1.jpg"
}
scene scene-float sample/shapes.onnx
scene scene-int8 "$work/int8.onnx"

for picture in docs/img/*; do
    size=$(wc -c <"$picture")
    printf '%7d bytes  %s\n' "$size" "$picture"
    [ "$size" -lt 200000 ] || { echo "$picture: 200 kB or more" >&2; exit 1; }
done
