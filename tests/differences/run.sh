#!/bin/sh
# Finite differences of every gradient: specs/ has small models, and modules in
# the IR's text for ops that no model's forward has. Read differences.c.
#
#     tests/differences/run.sh            all
#     tests/differences/run.sh FILE…      some; fails for the ops that they lack
#
# Links the compiler's objects, which `make` leaves in build/obj (BUILD=DIR: another),
# with $CC. Prints `N passed, M failed`.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
[ -e "$build/embed.o" ] && [ -e "$build/runtime.a" ] || {
    echo "run.sh: the compiler is not built: run make" >&2
    exit 2
}
objects=$(find "$build/obj/compiler" "$build/obj/ir" "$build/obj/passes" \
    -name '*.o' ! -path '*/compiler/main.o')
# shellcheck disable=SC2086  # lists
${CC:-cc} -std=gnu11 -O1 -g -Wall -Wextra -Wpedantic -Werror -Wmissing-prototypes \
    ${CHECK_FLAGS:-} -o "$work/differences" "$here/differences.c" $objects \
    "$build/embed.o" "$build/runtime.a" -lyaml -ldl -lm -lpthread || exit 1
cd "$here" || exit 1
[ $# -gt 0 ] || set -- specs/*.yaml specs/*.ir
"$work/differences" "$@"
