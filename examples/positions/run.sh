#!/bin/sh
# From a fresh Debian 12 to five transformers that differ in how they know where
# a byte stands: installs what is missing, builds the compiler, trains each on
# the text of Debian's package `fortunes`, 64 bytes at a time, and evaluates the
# same weights on 64, 128 and 256 at a time. Everything made is under build/.
#
#     examples/positions/run.sh         as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/positions work=build/positions
positions='learned sinusoidal rotary alibi relative'
lengths='64 128 256'

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

: >"$work/losses.tsv"
for position in $positions; do
    # Sinusoids are of size 1: as in the original transformer, embeddings are
    # scaled up beside them.
    [ "$position" = sinusoidal ] && scale=true || scale=false

    say "$position: trainwright build $here/spec.yaml" \
        "--set model.position=$position --set model.context=64, 128, 256"
    for length in $lengths; do
        ./trainwright build "$here/spec.yaml" --set model.position="$position" \
            --set model.embedding_scale="$scale" \
            --set model.context="$length" -o "$work/$position-$length" \
            >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
    done
    (
        cd "$work"
        rm -rf "$position-run"
        "./$position-64" train --out "$position-run"
        for length in $lengths; do
            "./$position-$length" eval --weights "$position-run" \
                --data heldout.txt >eval.txt 2>eval.err || {
                # A table of 64 positions has no 65th: the program says so.
                grep -F 'embed.position.weight' eval.err || {
                    cat eval.err >&2
                    exit 1
                }
                echo "loss -" >eval.txt
            }
            loss=$(sed -n 's/^loss *//p' eval.txt)
            printf '%s\t%s\t%s\n' "$position" "$length" "$loss" >>losses.tsv
        done
    )
done

cd "$work"
say "the held-out text, in nats a byte, read so many bytes at a time"
awk -f "../../$here/table.awk" losses.tsv
awk -f "../../$here/draw.awk" losses.tsv >losses.svg

say "done; in $work: losses.svg, the same as a picture"
awk -v check=1 -f "../../$here/table.awk" losses.tsv
