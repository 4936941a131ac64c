#!/bin/bash
# run.sh: a hostile user. The compiler and a program that it made meet outputs
# that are devices, pipes that nobody serves, full and limited disks, sizes past
# every limit, frozen models, lying files and random mutations. What they say has
# the right status and names the culprit; nothing crashes, waits, or is left half
# done. Prints a line a failure and `N passed, M failed`.
#
#     tests/hostile/run.sh [TRAINWRIGHT]       default: ./trainwright
#
# MUTATIONS is how many mutated specs are compiled (200), MUTATION_SEED the first.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tw=$(realpath "${1:-$root/trainwright}") || exit 1
work=$(mktemp -d) || exit 1
trap 'umount "$work/disk" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $*"; }

# expect STATUS WORDS COMMAND…: ends in good time with STATUS, prints WORDS
# (anything, where they are empty) and leaves nothing that it wrote aside.
expect() {
    local wanted=$1 words=$2 got left
    shift 2
    timeout -s KILL 120 "$@" >out 2>err </dev/null
    got=$?
    left=$(find . -name '*.tmp-*' | head -n 1)
    if [ $got != "$wanted" ]; then
        fail "$*: status $got, wanted $wanted: $(head -n 2 err | tr '\n' ' ')"
    elif [ -n "$words" ] && ! cat out err | grep -qF -e "$words"; then
        fail "$*: does not say '$words': $(head -n 2 err | tr '\n' ' ')"
    elif [ -n "$left" ]; then
        fail "$*: left $left"
        rm -rf "$left"
    else
        pass
    fi
}
# limited STATUS WORDS KIB COMMAND…: the same where files may not be larger.
limited() {
    expect "$1" "$2" bash -c "ulimit -f $3; exec \"\$@\"" limited "${@:4}"
}

cat >small.yaml <<'SPEC'
name: small
model: {vocab: 256, context: 16, dim: 16, heads: 2, blocks: 2}
train:
  batch: 4
  steps: 12
  checkpoint: {every: 4}
  eval: {every: 6, steps: 1}
SPEC
mkdir folder
mkfifo pipe
head -c 9000 "$here/run.sh" >data.txt
cp data.txt notes.txt
printf x >one

. "$here/compiler.sh"
. "$here/program.sh"
. "$here/mutations.sh"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
