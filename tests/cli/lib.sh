# Functions for the tests of the command line.

# Runs a command that must not succeed: prints its exit status and its message. Anything on standard
# output, no message or a second line is printed as a fault.
fails() {
    "$@" >.out 2>.err
    status=$?
    echo "exit $status: $(cat .err)"
    [ "$(wc -l <.err)" = 1 ] || echo "FAULT: $(wc -l <.err) lines of message"
    [ ! -s .out ] || echo "FAULT: on standard output: $(head -n 1 .out)"
    rm -f .out .err
}

need_sample() {
    if [ ! -e "$SAMPLE" ]; then
        echo "SKIP sample/shapes.onnx is not there"
        exit 0
    fi
}

# A few pictures with labels: scenes/images, scenes/instances.json.
make_scenes() {
    "$CRAYON" synth scenes -n "$1" --seed 5 >/dev/null || exit 1
}

# The value of a Python expression on j, the JSON in a file (one object per line: a list).
json() {
    python3 -c '
import json, sys
text = open(sys.argv[1]).read()
try: j = json.loads(text)
except ValueError: j = [json.loads(line) for line in text.splitlines()]
print(eval(sys.argv[2]))' "$1" "$2"
}

# Everything in this folder but hidden files, sorted: to see that nothing was left behind.
listing() {
    find "${1:-.}" -type f ! -name '.*' ! -name shapes.onnx | LC_ALL=C sort
}

# For tests about figures, which take minutes under sanitizers: other tests go the same ways.
not_sanitized() {
    grep -q '^CRAYON_SANITIZE:BOOL=ON' "$(dirname "$CRAYON")/CMakeCache.txt" 2>/dev/null || return 0
    echo "SKIP about figures, not run under sanitizers"
    exit 0
}
