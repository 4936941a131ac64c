#!/bin/sh
# From a fresh Debian 12 to a vision transformer that reads handwritten digits:
# installs what the compiler needs, builds it, takes scikit-learn's digits out
# of Debian's package python3-sklearn (which it does not install), trains on
# four fifths of them and reads the rest. Everything made is under build/.
#
#     examples/digits/run.sh            as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/digits work=build/digits

say() { printf '\n== %s\n' "$*"; }

say "what is needed"
./deps.sh
say "the compiler"
mkdir -p "$work"
make -j"$(nproc)" >build/make.log 2>&1 || { cat build/make.log; exit 1; }

say "the images: digits.csv.gz of the package python3-sklearn"
inside=./usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz
if [ ! -s "$work/digits.csv.gz" ]; then
    (
        cd "$work"
        fetch="apt-get -q -o APT::Sandbox::User=root download python3-sklearn"
        $fetch || {
            [ "$(id -u)" = 0 ] && sudo='' || sudo=sudo
            $sudo apt-get update -q
            $fetch
        }
        dpkg-deb --fsys-tarfile python3-sklearn_*.deb |
            tar -xO "$inside" >digits.csv.gz
    )
fi
python3 "$here/digits.py" "$work/digits.csv.gz" "$work"

say "the program: trainwright build $here/spec.yaml"
./trainwright build "$here/spec.yaml" -o "$work/digits"

say "training: digits train"
cd "$work"
rm -rf digits-run
./digits train --log digits.jsonl

say "the images held out: rows are the digits, columns what they were taken for"
./digits predict --weights digits-run --data heldout-images-idx3-ubyte \
    >predictions.tsv
od -An -v -tu1 -w1 -j8 heldout-labels-idx1-ubyte | paste - predictions.tsv |
    awk -f "../../$here/confusion.awk" | tee confusion.txt
python3 "../../$here/draw.py" heldout-images-idx3-ubyte \
    heldout-labels-idx1-ubyte predictions.tsv >digits.svg

say "done; in $work: digits.svg, the digits and what they were taken for"
awk 'END { exit !($1 >= 0.95) }' confusion.txt || {
    echo "fewer than 95 of 100 digits held out were read right" >&2
    exit 1
}
