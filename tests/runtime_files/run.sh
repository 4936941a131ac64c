#!/bin/sh
# Builds and runs the tests of the runtime's files: run.sh [TEST…]
# CC chooses the compiler, EXTRA adds flags (-fsanitize=address,undefined …).
here=$(cd "$(dirname "$0")" && pwd)
runtime=$here/../../runtime
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
sources="error files hash sort json safetensors safetensors_write
         elementary draw schedule data data_files lines labels special
         masking rows parts gzip idx tensor_rows sentences examples corpus"
flags="-std=gnu11 -O2 -g -ffp-contract=off
       -Wall -Wextra -Wpedantic -Werror -Wmissing-prototypes $EXTRA"
objects=
for name in $sources; do
    ${CC:-cc} $flags -c "$runtime/$name.c" -o "$work/$name.o" || exit 1
    objects="$objects $work/$name.o"
done
passed=0 failed=0
for name in ${*:-elementary draw schedule hash files json safetensors data
              lines labels masking rows idx tensor_rows sentences corpus}; do
    mkdir "$work/$name"
    if ${CC:-cc} $flags "$here/$name.c" $objects -lm -o "$work/test-$name"; then
        "$work/test-$name" "$work/$name" | tee "$work/log"
        line=$(tail -n 1 "$work/log")
    else
        line=
    fi
    case $line in
    "$name: "*" passed, "*" failed")
        set -- $line
        passed=$((passed + $2)) failed=$((failed + $4)) ;;
    *)
        echo "$name: did not finish"
        failed=$((failed + 1)) ;;
    esac
done
echo "runtime files: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
