#!/bin/sh
# From a fresh Debian 12 to a classifier that needs few labels: installs what
# the compiler needs and the fortunes of five languages, builds the compiler,
# pre-trains an encoder on masked bytes of them, fills in masks, and trains a
# classifier on 25 to 400 labelled snippets twice, from those weights and from
# scratch, with three seeds each. Everything made is under build/.
#
#     examples/bert/run.sh              as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/bert work=build/bert

say() { printf '\n== %s\n' "$*"; }

say "what is needed"
./deps.sh fortunes fortunes-de fortunes-es fortunes-it fortunes-cs
say "the compiler"
mkdir -p "$work"
make -j"$(nproc)" >build/make.log 2>&1 || { cat build/make.log; exit 1; }

# The texts of a package: the files that lie beside an index of strfile, without
# those that are kept apart as offensive and written in cipher.
texts() {
    dpkg -L "$1" |
        sed -n 's,/fortunes-de/,/fortunes/de/,; /\/off\//d; s/\.dat$//p' |
        LC_ALL=C sort |
        while read -r file; do [ -f "$file" ] && echo "$file"; done
}

say "text without labels, and snippets with: $here/snippets.py"
for language in cs de en es it; do
    package=fortunes-$language
    [ "$language" = en ] && package=fortunes
    echo "$language"
    texts "$package"
done >"$work/files.txt"
xargs python3 "$here/snippets.py" "$work" <"$work/files.txt"

say "the programs: trainwright build spec.yaml, and with -f classify.yaml"
./trainwright build "$here/spec.yaml" -o "$work/bert"
./trainwright build "$here/spec.yaml" -f "$here/classify.yaml" \
    -o "$work/classify"

cd "$work"
say "pre-training on masked bytes: bert train"
rm -rf bert-run
./bert train --log bert.jsonl

say "bytes masked in held-out sayings: bert eval"
./bert eval --weights bert-run --data heldout.txt --steps 1000000 >masked.txt
cat masked.txt

say "sentences of our own, the masks filled in: bert predict"
cat >own.txt <<'END'
the children play in the garden
die Katze schläft in dem Haus.
los niños juegan en la cocina.
i bambini giocano nel giardino.
dnes večer půjdeme do divadla
END
./bert predict --weights bert-run --data own.txt \
    --set train.masking.mask=1 --set train.masking.random=0 >filled.txt
cat filled.txt

# Trains a classifier and judges it: what to call its beginning, how many
# labels, the seed, and more for `train`.
judge() {
    begin=$1 labels=$2 seed=$3
    shift 3
    head -n "$labels" "labels-$seed.tsv" >labelled.tsv
    rm -rf classify-run
    ./classify train --data labelled.tsv --seed "$seed" "$@" --quiet \
        >classify.log 2>&1 || { cat classify.log >&2; exit 1; }
    ./classify eval --weights classify-run --data heldout.tsv \
        --steps 1000000 >judged.txt
    accuracy=$(sed -n 's/^accuracy *//p' judged.txt)
    printf '%s\t%s\t%s\t%s\n' "$begin" "$labels" "$seed" "$accuracy"
}

say "with 25 to 400 labels: classify train --init bert-run --init-partial"
for labels in 25 50 100 200 400; do
    for seed in 1 2 3; do
        judge scratch "$labels" "$seed"
        judge pre-trained "$labels" "$seed" --init bert-run --init-partial
    done
done >accuracy.tsv
cat classify.log

say "the share of held-out snippets whose language is told"
awk -f "../../$here/table.awk" accuracy.tsv | tee table.txt
awk -f "../../$here/draw.awk" accuracy.tsv >accuracy.svg

say "done; in $work: accuracy.svg, and every run in accuracy.tsv"
awk '
    $1 == "accuracy" { masked = $2 }
    $1 ~ /^[0-9]+$/ { rows++; if ($4 < 10) bad = 1 }
    END { exit bad || rows != 5 || masked < 0.4 }' masked.txt table.txt || {
    echo "with some number of labels the pre-trained were not better than" \
        "scratch by 10 points, or fewer than 40 of 100 masked bytes are" \
        "filled in right: the README claims otherwise" >&2
    exit 1
}
