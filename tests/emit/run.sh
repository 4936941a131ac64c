#!/bin/sh
# Tests of the emitters, of linking and of the command line.
#
#     tests/emit/run.sh [BUILD] [bless]     BUILD: where `make` put its objects,
#                                           with trainwright in it or above it
#
# The sample (sample.c) has every kind of node: its C is compared with sample.want,
# and C by each compiler and LLVM's object must leave the same bits on every level.
set -u
build=$(realpath "${1:-build}")
bless=${2:-}
root=$(realpath "$(dirname "$0")/../..")
here=$root/tests/emit
trainwright=$build/trainwright
[ -x "$trainwright" ] || trainwright=$(dirname "$build")/trainwright
[ -x "$trainwright" ] || { echo "no trainwright in $build or above" >&2; exit 2; }
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT
cd "$temporary" || exit 1
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAILED $1"; }
check() { # NAME COMMAND…
    name=$1; shift
    if "$@" >said 2>&1; then pass; else fail "$name"; head -n 20 said; fi
}
has_level() { "$trainwright" env | grep -q "$1: yes"; }

own="-std=gnu11 -g -O1 -Wall -Wextra -Wpedantic -Werror -Wmissing-prototypes"
emitters="$root/ir/base.c $root/ir/prog*.c $root/compiler/emit_*.c $root/compiler/plugin.c"
program="-std=gnu11 -O3 -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror -Wno-psabi"

# ---- Prog: misuse and the sample's text ----------------------------------------
gcc $own -fsanitize=address,undefined -o misuse "$here/misuse.c" $root/ir/base.c \
    $root/ir/prog*.c || exit 1
check "misuse of constructors" env ASAN_OPTIONS=detect_leaks=0 ./misuse
gcc $own -o emit_sample "$here/emit_sample.c" "$here/sample.c" $emitters -ldl -lm || exit 1
gcc $own -o tidy "$here/tidy.c" $emitters -ldl -lm || exit 1
check "what nothing reads is not emitted" ./tidy
check "the sample is emitted" ./emit_sample c sample.c
./emit_sample c again.c
check "two emits are equal" cmp sample.c again.c
if [ "$bless" = bless ] && ! cmp -s sample.c "$here/sample.want"; then
    diff "$here/sample.want" sample.c
    cp sample.c "$here/sample.want"
fi
check "the sample's text" diff -u "$here/sample.want" sample.c

# ---- the same bits -----------------------------------------------------------------
ln -s "$root/runtime" runtime
ln -s "$build/trainwright-llvm.so" .
kernels="$root/runtime/kernels/gemm.c $root/runtime/kernels/reduce.c"
for level in x86-64-v3 x86-64-v4; do
    has_level $level || { echo "skipped: this machine has no $level"; continue; }
    for cc in gcc clang-19; do
        command -v $cc >/dev/null || { echo "skipped: no $cc here"; continue; }
        check "$cc compiles the sample for $level" $cc $program -march=$level -I. \
            -o sample-$cc-$level sample.c "$here/harness.c" $kernels -lm
        ./sample-$cc-$level >bits-$cc-$level
    done
    check "LLVM compiles the sample for $level" ./emit_sample $level sample-$level.o
    gcc $program -march=$level -o sample-llvm-$level sample-$level.o "$here/harness.c" \
        $kernels -lm && ./sample-llvm-$level >bits-llvm-$level
done
for bits in bits-*; do
    check "the bits of $bits" cmp "$bits" bits-gcc-x86-64-v3
done
check "no sanitizer complains" gcc $program -O1 -march=x86-64-v3 -I. \
    -fsanitize=address,undefined -fno-sanitize-recover -o sample-safe sample.c \
    "$here/harness.c" $kernels -lm
check "the sample under sanitizers" ./sample-safe
check "the object has the spec's lines" sh -c \
    'readelf --debug-dump=decodedline sample-x86-64-v3.o | grep -q "sample.yaml *8 "'

# ---- the command line -------------------------------------------------------------
expect() { # STATUS WORDS ARGUMENTS…: the status, and words somewhere in the output
    want=$1 words=$2; shift 2
    "$trainwright" "$@" >said 2>&1
    got=$?
    if [ $got = "$want" ] && { [ -z "$words" ] || grep -qF -- "$words" said; }; then
        pass
    else
        fail "trainwright $*: status $got, not $want, or without: $words"
        head -n 5 said
    fi
}
cp "$root/models/tiny.yaml" .
expect 0 "trainwright 0." --version
expect 0 "usage: trainwright" --help
expect 2 "usage: trainwright"
expect 2 "did you mean \`emit\`" emitt
expect 2 "not built yet" plan
expect 0 "usage: trainwright build" build --help
expect 2 "SPEC.yaml is missing" build
expect 2 "did you mean \`--cpu\`" build tiny.yaml --cpuu
expect 2 "a value is missing" build tiny.yaml -o
expect 2 "unexpected argument" build tiny.yaml other.yaml
expect 2 "--via is llvm|cc" build tiny.yaml --via gcc
expect 2 "--cpu is native|" build tiny.yaml --cpu=i386
expect 2 "unknown option" emit tiny.yaml --cpu=native
expect 2 "not built yet" build tiny.yaml --target cuda
expect 1 "nothing.yaml: error" build nothing.yaml
expect 1 "is a directory" build tiny.yaml -o "$temporary"
expect 1 "cannot be written" build tiny.yaml -o nowhere/tiny
expect 1 "cannot be written" emit tiny.yaml -o nowhere/tiny
expect 0 "x86-64-v3" env
expect 2 "unexpected argument" env x
CC=no-such-compiler expect 3 "C compiler" build tiny.yaml --via cc
check "a failure leaves nothing behind" sh -c '! ls -d *tmp-* /tmp/trainwright-??????'

# ---- emit and build ------------------------------------------------------------------
expect 0 "" emit tiny.yaml -o source
expect 0 "" emit tiny.yaml -o other/
check "two emitted directories are equal" diff -r source other
check "MANIFEST has the hashes" sh -c 'cd source && sed "1,/^sha-256/d" MANIFEST |
    while read hash lines file; do
        echo "$hash  $file" | sha256sum -c --quiet && [ "$lines" = "$(wc -l <"$file")" ] ||
            exit 1
    done'
check "make, without a warning" sh -c \
    'cd other && ! make -s CFLAGS=-Werror CPU=x86-64-v3 2>&1 | grep .'
expect 0 "" emit tiny.yaml -o other
touch other/notes
expect 1 "holds notes" emit tiny.yaml -o other
mkdir full && touch full/notes
expect 1 "holds notes" emit tiny.yaml -o full
expect 0 "x86-64-v3" build tiny.yaml -o tiny-llvm --cpu x86-64-v3
expect 0 "x86-64-v3" build tiny.yaml -o again-llvm --cpu x86-64-v3
check "two builds are equal" cmp tiny-llvm again-llvm
expect 0 "x86-64-v3" build tiny.yaml -o tiny-cc --cpu x86-64-v3 --via cc
for way in llvm cc; do
    cat "$root"/models/*.yaml >text
    check "training ($way)" ./tiny-$way train --data text --steps 3 --out run-$way
done
./tiny-llvm info | grep source >a
./tiny-cc info | grep source >b
check "both ways name the same source" cmp a b
check "both ways train to the same bits" cmp run-llvm/step-3/model.safetensors \
    run-cc/step-3/model.safetensors
check "needs libc and libm alone" sh -c \
    '[ "$(readelf -d tiny-llvm | grep -c NEEDED)" -le 3 ]'

# ---- every model's C -----------------------------------------------------------------
# Without a warning: of the famous ones with all that optimizers notice.
mkdir models
for spec in "$root"/models/*.yaml; do
    model=$(basename "$spec" .yaml)
    expect 0 "" emit "$spec" -o "models/$model"
    how="-fsyntax-only"
    case $model in
    bert-base | original-transformer | mixtral-8x7b) how="-O2 -c -o /dev/null" ;;
    esac
    for cc in gcc clang-19; do
        command -v $cc >/dev/null || { echo "skipped: no $cc here"; continue; }
        check "$model by $cc, without a warning" $cc -std=gnu11 -Wall -Wextra -Wpedantic -Werror \
            -Wno-psabi -ffp-contract=off -march=x86-64-v3 $how "models/$model/$model.c"
    done
done
# Of plans, in which much goes unused that one rank's program needs.
for plan in "parallel.pipeline.stages=2 train.micro_batch=2" \
    "parallel.data=2 parallel.shard=parameters" \
    "parallel.data=2 parallel.tensor=2 parallel.context=2 parallel.pipeline.stages=2 \
parallel.shard=gradients train.micro_batch=2"; do
    rm -rf models/plan
    # shellcheck disable=SC2046  # settings are words
    expect 0 "" emit tiny.yaml -o models/plan $(for key in $plan; do echo "--set $key"; done)
    for file in models/plan/*.c; do
        check "$plan by gcc, all of it used" gcc -std=gnu11 -Wall -Wextra -Wpedantic -Werror \
            -Wno-psabi -Wunused-macros -Wunused-const-variable=2 -march=x86-64-v3 \
            -fsyntax-only "$file"
    done
    check "$plan: no constant or field that nothing reads" \
        sh -c "! awk -f '$here/unread.awk' models/plan/tiny.c | grep ."
done
check "no line is wider than 100 columns or ends in a space" \
    sh -c '! awk "length > 100 || / \$/ { print FILENAME \":\" FNR }" models/*/*.c | grep .'

echo "emit: $passed passed, $failed failed"
[ $failed = 0 ]
