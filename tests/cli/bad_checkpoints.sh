# Checkpoints that are hostile or damaged: one line each, exit 1, nothing executed, nothing written.
mkdir bad
python3 "$HERE/bad_checkpoints.py" bad || exit 1
for f in bad/*.pt; do
    fails "$CRAYON" inspect "$f"
done
[ -e owned ] && echo "FAULT: a pickle was executed"
fails "$CRAYON" quantize bad/os_system.pt -o out.onnx --mode weights
listing | grep -v '^./bad/' || true
