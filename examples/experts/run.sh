#!/bin/sh
# From a fresh Debian 12 to a mixture of experts and a dense model that costs
# the
# same: installs what is missing, builds the compiler, trains both on the text
# of
# Debian's package `fortunes`, compares them on held-out text, and shows which
# tokens each expert takes. Everything made is under build/.
#
#     examples/experts/run.sh           as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/experts work=build/experts

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
head -c "$((bytes - bytes / 10))" "$work/text" >"$work/train.txt"
tail -c "$((bytes / 10))" "$work/text" >"$work/heldout.txt"

say "the programs: trainwright build $here/spec.yaml [-f $here/mixture.yaml]"
./trainwright build "$here/spec.yaml" -o "$work/dense"
./trainwright build "$here/spec.yaml" -f "$here/mixture.yaml" \
    -o "$work/mixture"

cd "$work"
for model in dense mixture; do
    say "training: $model train"
    rm -rf "$model-run"
    "./$model" train --out "$model-run" --log "$model.jsonl"
    "./$model" eval --weights "$model-run" --data heldout.txt >"$model.eval"
done

say "which tokens each expert takes, in the held-out text"
python3 "../../$here/batch.py" heldout.txt 256 128 >batch.safetensors
./mixture forward --weights mixture-run --batch batch.safetensors \
    --save '*ff.probabilities' --out probabilities.safetensors
python3 "../../$here/shares.py" batch.safetensors probabilities.safetensors \
    shares.svg | tee shares.txt

say "the held-out text, in nats a byte"
for model in dense mixture; do
    "./$model" info >info.txt
    printf '%-9s %.4f  %s parameters, %s GFLOP a step\n' "$model" \
        "$(sed -n 's/^loss *//p' "$model.eval")" \
        "$(sed -n 's/^parameters *//p' info.txt)" \
        "$(sed -n 's/^train:.* \([0-9.]*\) GFLOP.*/\1/p' info.txt)"
done | tee losses.txt

say "done; in $work: shares.svg, a text coloured by its bytes' experts"
awk '{ loss[$1] = $2; cost[$1] = $5 }
    END { exit !(loss["mixture"] < loss["dense"] - 0.02 &&
                 cost["mixture"] < 1.01 * cost["dense"]) }' losses.txt || {
    echo "the mixture is not better by 0.02 nats at the same cost" >&2
    exit 1
}
awk 'END { exit !($3 + 0 > 3) }' shares.txt || {
    echo "an expert takes fewer than 3 of 100 choices" >&2
    exit 1
}
