#!/bin/sh
# run.sh [OUT]: builds and runs the kernels' tests with each compiler and at each
# level that this machine has. Every run compares all bits with the same plain
# loops, so all builds agree with one another. OUT (default: a new directory under
# TMPDIR) receives the programs. Ends with the sum; exit status 1 if any failed.
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../runtime/kernels
out=${1:-$(mktemp -d)}
mkdir -p "$out"
warn="-std=gnu11 -Wall -Wextra -Wpedantic -Werror -Wmissing-prototypes"
flags="-O3 -ffp-contract=off -fno-math-errno -mprefer-vector-width=512"
tests=${TESTS:-"elementary lanes sums index pool experts gemm attention"}
total=0 bad=0
for cc in ${COMPILERS:-gcc clang-19}; do
    command -v "$cc" >/dev/null || { echo "skipped: no $cc here"; continue; }
    # clang 19 warns of what -march=native itself gives on a CPU with AVX10.1.
    quiet=-Wno-psabi
    case $cc in *clang*) quiet=-Wno-invalid-feature-combination ;; esac
    for level in ${LEVELS:-x86-64-v3 native}; do
        build="$cc $warn $quiet $flags -march=$level -I$kernels"
        dir=$out/$cc-$level
        mkdir -p "$dir"
        objects=
        for f in "$kernels"/*.c; do
            f=$(basename "$f" .c)
            [ "$f" = lanes ] && continue
            $build -c "$kernels/$f.c" -o "$dir/$f.o" || exit 1
            objects="$objects $dir/$f.o"
        done
        $build -c "$here/harness.c" -o "$dir/harness.o" || exit 1
        for t in $tests; do
            $build "$here/test_$t.c" "$dir/harness.o" $objects -o "$dir/test_$t" -lm -pthread ||
                exit 1
            said=$("$dir/test_$t" 2>&1) || bad=$((bad + 1))
            echo "$said" | tail -n 12 | sed "s|^|$cc $level: |"
            n=$(echo "$said" | sed -n 's/.*: \([0-9]*\) passed.*/\1/p' | tail -n 1)
            total=$((total + ${n:-0}))
        done
    done
done
echo "kernels: $total passed, $bad programs failed"
[ $bad = 0 ]
