# Every help text says how the verb is used and shows an example; the version is printed.
"$CRAYON" --version
"$CRAYON" --help
for verb in quantize qat detect watch eval compare bench convert inspect synth train; do
    "$CRAYON" $verb --help >text || echo "FAULT: exit status of $verb --help"
    head -n 1 text | cut -d' ' -f1-3
    grep -c '^example' text
    awk 'length > 100 { print "FAULT: long line: " $0 }' text
done
