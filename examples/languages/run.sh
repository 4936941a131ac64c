#!/bin/sh
# From a fresh Debian 12 to classifiers that tell five languages apart: installs
# what the compiler needs and the fortunes of five languages, trains a bag of
# bytes, simple self-attention and a small encoder on nine tenths of them, and
# judges each by the rest. Everything made is under build/.
#
#     examples/languages/run.sh         as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/languages work=build/languages

say() { printf '\n== %s\n' "$*"; }

say "what is needed"
./deps.sh fortunes fortunes-de fortunes-es fortunes-it fortunes-cs
say "the compiler"
mkdir -p "$work"
make -j"$(nproc)" >build/make.log 2>&1 || { cat build/make.log; exit 1; }

# The texts of a package: the files that lie beside an index of strfile.
texts() {
    dpkg -L "$1" |
        sed -n 's,/fortunes-de/,/fortunes/de/,; s/\.dat$//p' |
        LC_ALL=C sort |
        while read -r file; do [ -f "$file" ] && echo "$file"; done
}

say "a line a fortune, every tenth held out: $here/lines.awk"
rm -f "$work"/*.tsv
for language in cs de en es it; do
    package=fortunes-$language
    [ "$language" = en ] && package=fortunes
    texts "$package" | LC_ALL=C xargs awk -v label="$language" -v most=127 \
        -v train="$work/$language.train.tsv" \
        -v heldout="$work/$language.heldout.tsv" -f "$here/lines.awk"
    wc -l "$work/$language.train.tsv" "$work/$language.heldout.tsv" | sed 3d
    cat "$work/$language.train.tsv" >>"$work/train.tsv"
    cat "$work/$language.heldout.tsv" >>"$work/heldout.tsv"
done

# Builds, trains and judges a model: its name, and what is laid over spec.yaml.
judge() {
    name=$1
    shift
    say "$name: trainwright build $here/spec.yaml $*"
    ./trainwright build "$here/spec.yaml" "$@" -o "$work/$name"
    (
        cd "$work"
        rm -rf "$name-run"
        "./$name" train --out "$name-run"
        "./$name" eval --weights "$name-run" --data heldout.tsv \
            --steps 1000000 | sed -n 's/^accuracy *//p' >"$name.accuracy"
    )
}
judge bag -f "$here/bag.yaml"
judge simple -f "$here/simple.yaml"
judge encoder

cd "$work"
say "the share of held-out fortunes whose language is told"
for name in bag simple encoder; do
    echo "$name: $(cat $name.accuracy)"
done
say "what the encoder takes for what: rows are the languages"
./encoder predict --weights encoder-run --data heldout.tsv 2>/dev/null |
    paste heldout.tsv - | awk -F '\t' '
        { seen[$1]++; pairs[$1, $3]++ }
        END {
            split("cs de en es it", names, " ")
            printf "     "
            for (j = 1; j <= 5; j++) printf "%6s", names[j]
            for (i = 1; i <= 5; i++) {
                printf "\n%5s", names[i]
                for (j = 1; j <= 5; j++) printf "%6d", pairs[names[i], names[j]]
            }
            print ""
        }'
say "sentences that are in no package"
cat >own.tsv <<'EOF'
	the compiler prints every line of the program
	der Zug nach Hamburg fährt heute eine Stunde später
	el perro de mi vecina duerme debajo de la mesa
	domani andiamo al mare con la nonna e i suoi cugini
	zítra ráno půjdeme do lesa na houby
EOF
./encoder predict --weights encoder-run --data own.tsv | paste own.tsv - |
    cut -f 2-
awk '{ exit !($1 + 0 >= 0.95) }' encoder.accuracy || {
    echo "the encoder told fewer than 95 of 100: the README claims otherwise"
    exit 1
}
