#!/bin/sh
# From a fresh Debian 12 to a scaling law, in about three minutes: installs what
# is missing, builds the compiler, compiles spec.yaml in five sizes, trains each
# on the same bytes of Debian's package `fortunes`, and fits the law of their
# held-out losses, with a picture. Everything made is under build/.
#
#     examples/scaling/run.sh           as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/scaling work=build/scaling

say() { printf '\n== %s\n' "$*"; }

say "what is needed"
./deps.sh fortunes
say "the compiler"
mkdir -p "$work"
make -j"$(nproc)" >build/make.log 2>&1 || { cat build/make.log; exit 1; }

say "the text: the files of the package fortunes, every tenth saying held out"
(
    cd "$work"
    rm -f train.txt heldout.txt
    dpkg -L fortunes | grep '^/usr/share/games/fortunes/[a-z-]*$' |
        LC_ALL=C sort | xargs cat | LC_ALL=C awk '
            { print >(n % 10 == 9 ? "heldout.txt" : "train.txt") }
            $0 == "%" { n++ }'
    wc -c train.txt heldout.txt
)

# Trains one size and adds its line to losses.txt.
size() {
    dim=$1 heads=$2 blocks=$3 rate=$4
    name=dim-$dim
    ./trainwright build "$here/spec.yaml" -o "$work/$name" \
        --set "model.dim=$dim" --set "model.heads=$heads" \
        --set "model.blocks=$blocks" >/dev/null
    (
        cd "$work"
        parameters=$("./$name" info | sed -n 's/^parameters *//p')
        say "$name: $blocks blocks, $parameters parameters"
        rm -rf "$name-run"
        "./$name" train --out "$name-run" --log "$name.jsonl" --quiet \
            --set "train.optimizer.lr=$rate"
        loss=$("./$name" eval --weights "$name-run" --data heldout.txt |
            sed -n 's/^loss *//p')
        echo "held-out loss $loss"
        echo "$parameters $loss" >>losses.txt
    )
}

# The rates: the best of two to four that were tried for each size.
: >"$work/losses.txt"
size   8 1 2 2.5e-2
size  16 2 3 2.5e-2
size  32 4 4 1.6e-2
size  64 4 4 8e-3
size 128 4 4 2e-3

say "the law: E + A / N^b by least squares, and a pure power law"
awk -f "$here/fit.awk" "$work/losses.txt" >"$work/fit.txt"
awk '
    $1 == "law" { printf "law   %.3f + %.1f / N^%.3f\n", $2, $3, $4 }
    $1 == "pure" {
        printf "pure  %.2f / N^%.4f\n\n", $2, $3
        print "parameters    loss     law    pure"
    }
    $1 == "size" { printf "%10d  %.4f  %.4f  %.4f\n", $2, $3, $4, $5 }
    $1 == "foretold" {
        print "\nThe largest, foretold from the four others alone:"
        printf "by the law  %.4f (%+.1f %%)\n", $4, 100 * $5
        printf "pure        %.4f (%+.1f %%)\n", $6, 100 * $7
    }' "$work/fit.txt"
awk -f "$here/plot.awk" "$work/fit.txt" >"$work/scaling.svg"

say "done; in $work: scaling.svg, the losses against the parameters"
awk '
    $1 == "size" { if (before && $3 >= before) exit bad = 1; before = $3 }
    $1 == "foretold" && ($5 > 0.03 || $5 < -0.03) { bad = 1 }
    END { exit bad }' "$work/fit.txt" || {
    echo "a larger model was no better, or the law missed by more than 3 %" >&2
    exit 1
}
