# Results that cannot be written are a failure.
need_sample
[ -c /dev/full ] || { echo "SKIP there is no /dev/full"; exit 0; }
for arguments in --help "inspect $SAMPLE" "inspect $SAMPLE --json"; do
    "$CRAYON" $arguments 2>.err >/dev/full
    echo "exit $?: $(cat .err)"
done
