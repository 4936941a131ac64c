#!/bin/sh
# From a fresh Debian 12 to one model under twelve plans, in under a minute:
# installs what is missing, builds the compiler, compiles spec.yaml under each
# file of plans/, trains it, and prints what each plan costs and saves. The loss
# and the weights must be the same to the last bit. Everything made is under
# build/.
#
#     examples/plans/run.sh             as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/plans work=build/plans

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
wc -c "$work/train.txt" "$work/heldout.txt"

# The SHA-256 of the tensors alone: a safetensors file is the length of its
# header in eight bytes, the header, which has the spec with its plan, and them.
tensors_hash() {
    header=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    tail -c +$((header + 9)) "$1" | sha256sum | cut -c 1-64
}

say "twelve plans, 20 steps each"
: >"$work/table.txt"
for file in "$here"/plans/*.yaml; do
    plan=$(basename "$file" .yaml)
    ./trainwright build "$here/spec.yaml" -f "$file" -o "$work/$plan" >/dev/null
    cd "$work"
    rm -rf "$plan-run" "$plan.jsonl"
    "./$plan" train --threads 1 --out "$plan-run" --log "$plan.jsonl" --quiet \
        --trace "$plan.trace.json"
    loss=$(sed -n 's/^{"step":20,"loss":\([^,]*\),.*/\1/p' "$plan.jsonl")
    hash=$(tensors_hash "$plan-run/step-20/model.safetensors")
    costs=$("./$plan" info --json --threads 1 | awk -f "../../$here/table.awk")
    cd ../..
    echo "$plan $costs $loss $hash" >>"$work/table.txt"
    echo "$plan done"
done

say "bytes of memory of a rank, the largest; what all ranks send in a step"
awk '
    function row(a, b, c, d, e, f, g, h, i, j) {
        printf "%-20s %5s %9s %9s %9s %9s %9s %10s %8s %10s\n", \
            a, b, c, d, e, f, g, h, i, j
    }
    BEGIN {
        row("plan", "ranks", "weights", "moments", "gradients", "saved", \
            "the rest", "a rank", "messages", "bytes")
    }
    { row($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) }' "$work/table.txt"

say "loss of step 20, SHA-256 of the weights"
awk '{ printf "%-20s %s  %s\n", $1, $11, $12 }' "$work/table.txt"

say "pictures of the schedules"
for plan in 07-gpipe 08-1f1b 11-interleaved 12-zero-bubble; do
    ./trainwright ir "$here/spec.yaml" -f "$here/plans/$plan.yaml" \
        --after schedule |
        awk -f "$here/draw.awk" -v name="${plan#*-}" >"$work/${plan#*-}.svg"
    awk -f "$here/trace.awk" -v name="${plan#*-}" "$work/$plan.trace.json" \
        >"$work/${plan#*-}-measured.svg"
done

say "done; in $work: table.txt, a picture of each schedule, what was measured"
awk '
    NR == 1 { loss = $11; hash = $12 }
    NF != 12 || $11 != loss || $12 != hash || length($12) != 64 { bad = 1 }
    END { exit bad || NR != 12 }' "$work/table.txt" || {
    echo "plans differ in the loss or in the weights" >&2
    exit 1
}
