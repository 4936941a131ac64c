#!/bin/sh
# make replay: is a change a refactoring? Every shipped model and every spec of
# the tests is taken through the compiler of a base commit and through that of
# the working tree: the IR after every pass and all emitted files must be equal.
#
#     tests/replay.sh [COMMIT]        default: HEAD
#
# `N passed, M failed`: a spec is a test. What differs is listed, the first
# differing lines of each file shown.
set -u
cd "$(dirname "$0")/.." || exit 1
base=${1:-HEAD}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
passed=0 failed=0

commit=$(git rev-parse --short "$base^{commit}") || exit 2
echo "the compiler of $commit"
mkdir "$work/base" && git archive "$commit" | tar -x -C "$work/base" || exit 1
make -s -C "$work/base" -j2 trainwright >"$work/said" 2>&1 || {
    tail -n 20 "$work/said"
    exit 1
}

# Everything that a compiler says of a spec, in a directory; the same for the
# same refusal. Hashes of the runtime's files are MANIFEST's: they show there.
replay() { # COMPILER SPEC DIRECTORY
    mkdir -p "$3"
    timeout 120 "$1" ir "$2" --all >"$3/ir" 2>&1
    timeout 120 "$1" emit "$2" -o "$3/source" >"$3/said" 2>&1
    sed -i "s|$3|OUT|g" "$3/said"
}

for spec in models/*.yaml tests/spec/*.yaml tests/bits/specs/*.yaml \
    tests/reference/cases/*/spec.yaml; do
    [ -f "$spec" ] || continue
    replay "$work/base/trainwright" "$spec" "$work/old"
    replay ./trainwright "$spec" "$work/new"
    if diff -rq "$work/old" "$work/new" >"$work/said"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$spec differs:"
        sed "s|$work/||g; s/^/    /" "$work/said" | head -n 8
        diff -r "$work/old" "$work/new" | grep '^[<>]' | head -n 4
    fi
    rm -rf "$work/old" "$work/new"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
