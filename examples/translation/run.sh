#!/bin/sh
# From a fresh Debian 12 to a transformer that writes English words in
# Portuguese: installs what the compiler needs, builds it, takes a dictionary
# out of Debian's package dict-freedict-eng-por (which it does not install),
# trains on nine tenths of its words, and translates words that it has not
# seen. Everything made is under build/.
#
#     examples/translation/run.sh       as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/translation work=build/translation

say() { printf '\n== %s\n' "$*"; }

say "what is needed"
./deps.sh
say "the compiler"
mkdir -p "$work"
make -j"$(nproc)" >build/make.log 2>&1 || { cat build/make.log; exit 1; }

say "the words: FreeDict's, of the package dict-freedict-eng-por"
name=freedict-eng-por
if [ ! -s "$work/$name.dict.dz" ]; then
    (
        cd "$work"
        package=dict-$name
        fetch="apt-get -q -o APT::Sandbox::User=root download $package"
        $fetch || {
            [ "$(id -u)" = 0 ] && sudo='' || sudo=sudo
            $sudo apt-get update -q
            $fetch
        }
        dpkg-deb --fsys-tarfile "$package"_*.deb |
            tar -x --strip-components=4 ./usr/share/dictd
    )
fi
python3 "$here/pairs.py" "$work/$name.index" "$work/$name.dict.dz" "$work"

say "the program: trainwright build $here/spec.yaml"
./trainwright build "$here/spec.yaml" -o "$work/translation"

say "training: translation train"
cd "$work"
rm -rf translation-run
./translation train --log translation.jsonl

word=dishonestly      # of those held out
say "the decoder's attention to \"$word\": attention.svg"
written=$(./translation generate --weights translation-run --prompt "$word" \
    --temperature 0 2>/dev/null)
echo "$word → $written"
python3 "../../$here/batch.py" "$word" "$written" >batch.safetensors
./translation forward --weights translation-run --batch batch.safetensors \
    --save '*cross.weights' --out weights.safetensors
python3 "../../$here/draw.py" weights.safetensors "$word" "$written" \
    >attention.svg

say "words held out: what is written (and what the dictionary says)"
for part in heldout seen; do
    ./translation predict --weights translation-run --data "$part.tsv" \
        >"$part.txt"
done
python3 "../../$here/compare.py" 'held out' heldout.tsv heldout.txt 12 \
    >heldout.compared
python3 "../../$here/compare.py" 'trained on' seen.tsv seen.txt \
    >seen.compared
sed 1,3d heldout.compared

say "exact, and edits for 100 letters / the same of copying the English word"
sed 3q heldout.compared
cat seen.compared

say "done; in $work: translation --help, and attention.svg"
awk '/^held out, relatives/ { good = $5 + 0 > 45 && $6 + 0 < 0.6 * $9 }
    END { exit !good }' heldout.compared || {
    echo "of the held-out words that are spelt alike in both languages" \
        "fewer than 45 of 100 are written exactly, or it is hardly better" \
        "than copying" >&2
    exit 1
}
