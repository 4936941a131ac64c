#!/bin/bash
# run.sh: tests the runtime on a hand-written program (fake_program.c), as users
# and accidents would: commands, flags, resuming, signals, kills, damage, full
# disks. Prints a line a failure and `N passed, M failed`.
#
#     tests/runtime/run.sh            builds with ${CC:-gcc} ${CFLAGS:-…}
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${TMPDIR:-/tmp}/runtime-test.$$
mkdir "$work" || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

: "${CC:=gcc}"
: "${CFLAGS:=-O2 -g}"
flags="-std=gnu11 -Wall -Wextra -Wpedantic -Werror -ffp-contract=off"
build() { # NAME SOURCE FLAGS…
    local name=$1 source=$2
    shift 2
    $CC $flags $CFLAGS "$@" -I"$root/runtime" "$here/$source" \
        "${objects[@]}" -o "$work/$name" -lm -lpthread -ldl || exit 1
}
objects=()
for source in "$root"/runtime/*.c; do
    object="$work/$(basename "${source%.c}").o"
    $CC $flags $CFLAGS -I"$root/runtime" -c "$source" -o "$object" || exit 1
    objects+=("$object")
done
build fake fake_program.c
build other fake_program.c "-DFAKE_MODEL=\"bbbbbbbbbbbbbbbb\""
build strange fake_program.c "-DFAKE_FEATURES=\"sse9 amx-fp99\""
build huge fake_program.c "-DFAKE_THREAD_BYTES=(1l << 50)"
build large fake_program.c "-DFAKE_THREAD_BYTES=(256l << 20)"
kind=0
for model in texts images graphs masked pairs preferences; do
    build $model fake_models.c -DFAKE_KIND=$kind
    kind=$((kind + 1))
done
build tool tool.c
build units units.c
# A copy of the runtime whose shards are small, for checkpoints of several files.
mkdir "$work/small" && cp -r "$root/runtime/"* "$work/small/" || exit 1
sed -i 's/#define TENSORS_SHARD_BYTES .*/#define TENSORS_SHARD_BYTES 20000u/' \
    "$work/small/safetensors.h"
$CC $flags $CFLAGS -I"$work/small" "$here/fake_program.c" "$work"/small/*.c \
    -o "$work/sharded" -lm -lpthread -ldl || exit 1
cd "$work" || exit 1
head -c 9000 "$root/runtime/safetensors.c" > data.txt

# ---- helpers -----------------------------------------------------------------
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $*"; }
check() { # DESCRIPTION COMMAND…: the command must succeed
    local what=$1
    shift
    if "$@" > last.out 2> last.err; then pass; else
        fail "$what"; head -5 last.out last.err
    fi
}
status() { # DESCRIPTION WANTED COMMAND…
    local what=$1 wanted=$2 got
    shift 2
    "$@" > last.out 2> last.err
    got=$?
    if [ $got = "$wanted" ]; then pass; else
        fail "$what: status $got, not $wanted"; head -5 last.out last.err
    fi
}
says() { # DESCRIPTION TEXT: the last command's output has the text
    if grep -qF -- "$2" last.out last.err; then pass; else
        fail "$1: does not say '$2'"; head -5 last.out last.err
    fi
}
equal() { # DESCRIPTION GOT WANTED
    if [ "$2" = "$3" ]; then pass; else fail "$1: '$2', not '$3'"; fi
}
same() { # DESCRIPTION FILE FILE
    if cmp "$2" "$3" > cmp.out 2>&1; then pass; else
        fail "$1: $(cat cmp.out)"
    fi
}
same_run() { # DESCRIPTION DIR LOG: as the straight run
    same "$1: weights" "$2/step-40/model.safetensors" \
        straight/step-40/model.safetensors
    same "$1: moments" "$2/step-40/optimizer.safetensors" \
        straight/step-40/optimizer.safetensors
    ./tool log "$3" > cut.jsonl
    same "$1: log" cut.jsonl straight.cut
    equal "$1: state" "$(./tool member "$2/step-40/state.json" state_hash)" \
        "$(./tool member straight/step-40/state.json state_hash)"
}
tidy() { # DESCRIPTION DIR: nothing half-written is there
    equal "$1" "$(find "$2" -name '*tmp-*' -o -name '*.old-*' | wc -l)" 0
}
train="./fake train --data data.txt --quiet"

. "$here/usage.sh"
. "$here/training.sh"
. "$here/accidents.sh"
. "$here/commands.sh"
. "$here/models.sh"

units=$(./units) || fail "units: $units"
echo "$units" | grep -v passed
passed=$((passed + $(echo "$units" | sed -n 's/^\([0-9]*\) passed.*/\1/p')))
echo "$passed passed, $failed failed"
[ $failed = 0 ]
