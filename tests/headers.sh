#!/bin/sh
# Each public header compiles alone as C11 and as C++11, without a warning. Prints PASS, FAIL or
# SKIP per header and language; exit 1 if one failed.
set -u
cd "$(dirname "$0")/.." || exit 2
status=0

try() { # language, compiler, flags, header
    printf '#include "crayon/%s"\n#include "crayon/%s"\n' "$4" "$4" |
        $2 $3 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude - 2>&1
}

for path in include/crayon/*.h; do
    header=$(basename "$path")
    if out=$(try C "${CC:-cc}" "-std=c11 -x c" "$header"); then
        echo "PASS header $header as C11"
    else
        status=1
        printf 'FAIL header %s as C11\n%s\n' "$header" "$out"
    fi
    if ! command -v "${CXX:-c++}" >/dev/null 2>&1; then
        echo "SKIP header $header as C++11: no C++ compiler"
    elif out=$(try C++ "${CXX:-c++}" "-std=c++11 -x c++" "$header"); then
        echo "PASS header $header as C++11"
    else
        status=1
        printf 'FAIL header %s as C++11\n%s\n' "$header" "$out"
    fi
done
exit $status
