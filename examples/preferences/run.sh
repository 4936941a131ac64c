#!/bin/sh
# From a fresh Debian 12 to a small model that does what a line asks for, and
# then in the style that is preferred: installs what the compiler needs, builds
# it, writes the data, tunes on answers (next-token) and then on preferences
# (DPO), and counts answers before and after. Everything made is under build/.
#
#     examples/preferences/run.sh       as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/preferences work=build/preferences

say() { printf '\n== %s\n' "$*"; }

# The model's answers to the prompts held out, at a temperature; each prompt has
# its seed: $1 are the weights, $2 is the temperature.
ask() {
    seed=0
    while IFS='	' read -r prompt answer; do
        seed=$((seed + 1))
        ./instruct generate --weights "$1" --prompt "$prompt
" --temperature "$2" --tokens 8 --seed "$seed" --threads 1 >said.txt
        printf '%s\t%s\t%s\n' "$prompt" "$answer" "$(tail -n +2 said.txt)"
    done <test.tsv
}

# Asks and counts: $1 is "before" or "after", $2 are the weights.
count() {
    for temperature in 0 1; do
        ask "$2" "$temperature" >"$1-$temperature.tsv"
        awk -v name="$1, temperature $temperature" \
            -f "../../$here/count.awk" "$1-$temperature.tsv"
    done
}

say "what is needed"
./deps.sh
say "the compiler"
mkdir -p "$work"
make -j"$(nproc)" >build/make.log 2>&1 || { cat build/make.log; exit 1; }

say "prompts, answers and preferences: $here/pairs.py"
python3 "$here/pairs.py" "$work"

say "the programs: trainwright build $here/instruct.yaml, then prefer.yaml"
./trainwright build "$here/instruct.yaml" -o "$work/instruct"
./trainwright build "$here/prefer.yaml" -o "$work/prefer"

cd "$work"
rm -rf instruct-run prefer-run
say "answers: instruct train"
./instruct train --log instruct-log.jsonl
say "preferences: prefer train --init instruct-run"
./prefer train --init instruct-run --log prefer-log.jsonl
./prefer eval --weights prefer-run --reference instruct-run \
    --data test.jsonl >loss.txt

say "answers to prompts held out: the share that is right, and of each ending"
{
    printf '%-26s%8s%8s%8s%8s\n' "" right '"!"' '"."' neither
    count before instruct-run
    count after prefer-run
} >shares.txt || { cat shares.txt; exit 1; }
cat shares.txt
loss=$(sed -n 's/^loss *//p' loss.txt)
echo "loss of the preferences held out: $loss (before: log 2, 0.6931)"

say "done; in $work: before-*.tsv and after-*.tsv, every answer"
awk -v loss="$loss" '
    /^before/ { if ($4 < 0.95) bad = 1; lines++; right[$3] = $4 }
    /^before, temperature 1/ { if ($5 < 0.35 || $5 > 0.65) bad = 1 }
    /^after/ { if ($4 < right[$3] - 0.02 || $5 < 0.95) bad = 1; lines++ }
    END { exit bad || lines != 4 || loss == "" || loss + 0 >= 0.6931 }
' shares.txt || {
    echo "fewer than 95 of 100 answers were right before, \"!\" was not about" \
        "as frequent as \".\" then or is not in 95 of 100 answers now, more" \
        "than 2 of 100 right answers were lost, or the loss is not below" \
        "log 2" >&2
    exit 1
}
