# Plots of calibration statistics, and what is said when there is nothing to plot.
need_sample
make_scenes 3
"$CRAYON" quantize "$SAMPLE" -o q.onnx --images scenes/images --save-stats stats.json >/dev/null
"$CRAYON" inspect stats.json --plot images -o images.svg && tail -c 7 images.svg
"$CRAYON" inspect stats.json --plot images -o images.PNG && head -c 4 images.PNG | tail -c 3 && echo
cp images.svg before.svg
fails "$CRAYON" inspect stats.json --plot stem/act -o images.svg
fails "$CRAYON" inspect stats.json --plot images -o images.jpg
fails "$CRAYON" inspect stats.json --plot images
fails "$CRAYON" inspect stats.json -o images.svg
fails "$CRAYON" inspect stats.json --plot images -o nowhere/images.svg
fails "$CRAYON" inspect "$SAMPLE" --plot images -o images.svg
cmp before.svg images.svg && listing | grep -v scenes
