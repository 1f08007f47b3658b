# The same seed gives the same bytes; fewer pictures are the first ones of more.
"$CRAYON" synth a -n 4 --seed 9 >/dev/null
"$CRAYON" synth b -n 4 --seed 9 >/dev/null
"$CRAYON" synth c -n 2 --seed 9 >/dev/null
diff -r a b && echo "same"
cmp a/images/000001.jpg c/images/000001.jpg && echo "prefix"
json a/instances.json 'sorted(j), len(j["images"]), [c["name"] for c in j["categories"]]'
