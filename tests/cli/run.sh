#!/bin/sh
# Runs the tests of the command line: run.sh BUILD [--update] [NAME...]
#
# A test is NAME.sh, run by sh in an empty folder of its own with
#   CRAYON  the program     SAMPLE  a copy of sample/shapes.onnx in that folder     HERE  this one
# and with the functions of lib.sh. It is right when its exit status is 0 and its standard output
# equals NAME.stdout.exact, or matches NAME.stdout.glob line by line (each line a shell pattern).
# A line that begins with SKIP, printed by the test, makes it a skipped one.
# --update writes the .exact files anew; look at the difference before committing it.
# Prints a line per test and at the end "N passed, N failed, N skipped"; exit 1 if any failed.
set -u
build=$(cd "${1:?usage: run.sh BUILD [--update] [NAME...]}" && pwd) || exit 2
shift
update=""
[ "${1:-}" = --update ] && update=1 && shift
HERE=$(cd "$(dirname "$0")" && pwd)
CRAYON=$build/crayon
SAMPLE=${SAMPLE:-$HERE/../../sample/shapes.onnx}
LSAN_OPTIONS=suppressions=$HERE/../lsan.supp:print_suppressions=0
export HERE CRAYON SAMPLE LSAN_OPTIONS
unset CRAYON_CPU
LC_ALL=C
export LC_ALL
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0

# Does file $1 match the patterns in file $2, line by line?
matches() {
    while :; do
        more=""
        IFS= read -r line <&3 && more=a$more
        IFS= read -r pattern <&4 && more=b$more
        case $more in
        "") return 0 ;;
        ba) ;;
        *) return 1 ;;
        esac
        # shellcheck disable=SC2254
        case $line in $pattern) ;; *) return 1 ;; esac
    done 3<"$1" 4<"$2"
}

check() {
    [ "$2" = 0 ] || { echo "its exit status is $2"; return 1; }
    if [ -n "$update" ] && [ ! -e "$HERE/$1.stdout.glob" ]; then
        cp "$work/stdout" "$HERE/$1.stdout.exact"
        return 0
    fi
    if [ -e "$HERE/$1.stdout.glob" ]; then
        matches "$work/stdout" "$HERE/$1.stdout.glob" && return 0
        diff -u "$HERE/$1.stdout.glob" "$work/stdout"
        return 1
    fi
    diff -u "$HERE/$1.stdout.exact" "$work/stdout"
}

run_test() {
    rm -rf "$work/run"
    mkdir "$work/run"
    [ ! -e "$SAMPLE" ] || cp "$SAMPLE" "$work/run/shapes.onnx"
    (cd "$work/run" && SAMPLE=shapes.onnx && . "$HERE/lib.sh" && . "$HERE/$1.sh") >"$work/stdout" 2>"$work/stderr"
    status=$?
    if grep -q '^SKIP' "$work/stdout"; then
        skipped=$((skipped + 1))
        echo "SKIP cli/$1: $(sed -n 's/^SKIP *//p' "$work/stdout" | head -n 1)"
    elif check "$1" "$status" >"$work/why" 2>&1; then
        passed=$((passed + 1))
        echo "PASS cli/$1"
    else
        failed=$((failed + 1))
        echo "FAIL cli/$1"
        sed 's/^/    /' "$work/why" "$work/stderr"
    fi
}

if [ $# = 0 ]; then
    for f in "$HERE"/*.sh; do
        name=$(basename "$f" .sh)
        case $name in run | lib) continue ;; esac
        run_test "$name"
    done
else
    for name; do run_test "$name"; done
fi
echo "cli: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
