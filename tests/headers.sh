#!/bin/sh
# Each public header compiles alone as C11 and as C++11, and all of them together, without a
# warning. Prints PASS, FAIL or SKIP per header and language; exit 1 if one failed.
set -u
cd "$(dirname "$0")/.." || exit 2
status=0

try() { # compiler, flags, headers...
    compiler=$1 flags=$2
    shift 2
    # shellcheck disable=SC2086
    printf '#include "crayon/%s"\n' "$@" "$@" |
        $compiler $flags -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude - 2>&1
}

for path in include/crayon/*.h; do
    header=$(basename "$path")
    if out=$(try "${CC:-cc}" "-std=c11 -x c" "$header"); then
        echo "PASS header $header as C11"
    else
        status=1
        printf 'FAIL header %s as C11\n%s\n' "$header" "$out"
    fi
    if ! command -v "${CXX:-c++}" >/dev/null 2>&1; then
        echo "SKIP header $header as C++11: no C++ compiler"
    elif out=$(try "${CXX:-c++}" "-std=c++11 -x c++" "$header"); then
        echo "PASS header $header as C++11"
    else
        status=1
        printf 'FAIL header %s as C++11\n%s\n' "$header" "$out"
    fi
done
all=$(cd include/crayon && echo *.h)
# shellcheck disable=SC2086
if out=$(try "${CC:-cc}" "-std=c11 -x c" $all); then
    echo "PASS all headers together"
else
    status=1
    printf 'FAIL all headers together\n%s\n' "$out"
fi
exit $status
