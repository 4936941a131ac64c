#!/bin/sh
# From a fresh Debian 12 to a trained model and a sample, in a few minutes:
# installs what is missing, builds the compiler, compiles spec.yaml, trains it
# on
# the text of Debian's package `fortunes`, and compares its held-out loss with
# that of counting pairs of bytes. Everything made is under build/.
#
#     examples/fortunes/run.sh          as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/fortunes work=build/fortunes

say() { printf '\n== %s\n' "$*"; }

say "what is needed"
./deps.sh fortunes
say "the compiler"
mkdir -p "$work"
make -j"$(nproc)" >build/make.log 2>&1 || { cat build/make.log; exit 1; }

say "the text: the files of the package fortunes, the last tenth held out"
dpkg -L fortunes | grep '^/usr/share/games/fortunes/[a-z-]*$' | LC_ALL=C sort |
    xargs cat >"$work/text"
bytes=$(wc -c <"$work/text")
held=$((bytes / 10)) train=$((bytes - bytes / 10))
head -c "$train" "$work/text" >"$work/train.txt"
tail -c "$held" "$work/text" >"$work/heldout.txt"
echo "$train bytes to train on, $held held out"

say "the program: trainwright build $here/spec.yaml"
./trainwright build "$here/spec.yaml" -o "$work/fortunes"

say "training: fortunes train"
cd "$work"
rm -rf fortunes-run
./fortunes train --log fortunes.jsonl

say "the held-out text, in nats a byte"
model=$(./fortunes eval --weights fortunes-run --data heldout.txt |
    sed -n 's/^loss *//p')
pairs=$(od -An -v -tu1 -w1 text |
    awk -f "../../$here/bigram.awk" -v train="$train")
printf 'this model  %.4f\nbyte pairs  %.4f\n' "$model" "$pairs"

say "a sample: fortunes generate"
./fortunes generate --weights fortunes-run --prompt '%
' --tokens 120 --temperature 0.7 2>/dev/null

say "done; in $work: fortunes --help, and fortunes-run, the checkpoint"
awk "BEGIN { exit !($model < 0.8 * $pairs) }" || {
    echo "the model's loss is not well below that of byte pairs" >&2
    exit 4
}
