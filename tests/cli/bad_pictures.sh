# Damaged pictures, a text file named .jpg, empty folders: one line, exit 1, nothing written.
need_sample
make_scenes 2
first=scenes/images/000000.jpg
head -c $(($(wc -c <$first) / 2)) $first >half.jpg
echo "not a picture" >text.jpg
: >empty.jpg
printf '\211PNG\r\n\032\n' >stub.png
mkdir none mixed
cp $first mixed/a.jpg
cp half.jpg mixed/b.jpg
echo precious >out.json
for source in half.jpg text.jpg empty.jpg stub.png none missing 'm*.jpg'; do
    fails "$CRAYON" detect "$SAMPLE" $source --json out.json
done
"$CRAYON" detect "$SAMPLE" mixed --json out.json >.ignored 2>.err
echo "exit $?: $(cat .err)"
fails "$CRAYON" quantize "$SAMPLE" -o q.onnx --images none
fails "$CRAYON" quantize "$SAMPLE" -o q.onnx --images mixed
fails "$CRAYON" eval "$SAMPLE" --images none --labels scenes/instances.json
fails "$CRAYON" compare "$SAMPLE" "$SAMPLE" --images none
cat out.json
listing | grep -v scenes/
