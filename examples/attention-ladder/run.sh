#!/bin/sh
# The lecture's ladder of self-attention, a rung at a time: each is trained to
# fill
# in missing bytes of Debian's package `fortunes`, on the same text for as many
# steps; then its attention matrices are drawn. Everything made is under
# build/attention-ladder.
#
#     examples/attention-ladder/run.sh      as root or with sudo
#
# Ends with 1 where a rung from the second on is not better than the one below
# it.
set -eu
cd "$(dirname "$0")/../.."
here=examples/attention-ladder work=build/attention-ladder
rungs='0-nothing 1-simple 2-scaled 3-keys-queries-values 4-multi-head 5-block'
sentence='the men who love their own words'
blanks___='the m_n who lo_e the_r own wo_ds'

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
head -c $((bytes - bytes / 10)) "$work/text" >"$work/train.txt"
tail -c $((bytes / 10)) "$work/text" >"$work/heldout.txt"
python3 "$here/sentence.py" "$sentence" "$blanks___" "$work/batch.safetensors"

say "training each rung: trainwright build $here/spec.yaml -f $here/RUNG.yaml"
for rung in $rungs; do
    ./trainwright build "$here/spec.yaml" -f "$here/$rung.yaml" \
        -o "$work/$rung" >"$work/$rung.build"
    rm -rf "$work/$rung-run"
    (cd "$work" && ./"$rung" train --out "$rung-run" --log "$rung.jsonl" \
        --quiet 2>"$rung.train") || { cat "$work/$rung.train"; exit 1; }
    echo "$rung"
done

say "blanks in the held-out text: nats a blank, and how many are guessed right"
cd "$work"
: >table
for rung in $rungs; do
    ./"$rung" eval --weights "$rung-run" --data heldout.txt >"$rung.eval"
    awk -v rung="$rung" '$1 == "loss" { loss = $2 }
        $1 == "accuracy" { right = $2 }
        END { printf "%-24s%.4f  %4.1f %%\n", rung, loss, 100 * right }' \
        "$rung.eval" | tee -a table
done

say "the attention matrices of: $blanks___"
saved=
for rung in ${rungs#* }; do
    ./"$rung" forward --weights "$rung-run" --batch batch.safetensors \
        --save '*' --out "$rung.safetensors"
    saved="$saved $rung.safetensors"
done
python3 "../../$here/heatmaps.py" "$blanks___" $saved >ladder.svg
echo "$work/ladder.svg"

awk 'NR > 2 && $2 > below - 0.005 { worse = worse " " $1 }
    { below = $2 }
    END { if (NR == 6 && worse == "") exit
        print "not better than the rung below:" worse; exit 1 }' table >&2
echo "from scaled on, each is better than the one below it"
