#!/bin/sh
# From a fresh Debian 12 to transformers that see whether two nodes of a graph
# are joined by a path: installs what the compiler needs, builds it, makes
# random graphs, and trains with 1, 2, 3 and 4 blocks, then with 4 but without
# edges.
# It is known what they can learn. Everything made is under build/.
#
#     examples/graph/run.sh             as root or with sudo
set -eu
cd "$(dirname "$0")/../.."
here=examples/graph work=build/graph

say() { printf '\n== %s\n' "$*"; }

say "what is needed"
./deps.sh
say "the compiler"
mkdir -p "$work"
make -j"$(nproc)" >build/make.log 2>&1 || { cat build/make.log; exit 1; }

say "random graphs: $here/graphs.py"
python3 "$here/graphs.py" "$work"

for blocks in 1 2 3 4; do
    say "blocks: $blocks; trainwright build $here/spec.yaml" \
        "--set model.blocks=$blocks"
    ./trainwright build "$here/spec.yaml" --set model.blocks="$blocks" \
        -o "$work/graph-$blocks"
    (
        cd "$work"
        rm -rf "run-$blocks"
        "./graph-$blocks" train --out "run-$blocks"
        "./graph-$blocks" predict --weights "run-$blocks" \
            --data heldout.safetensors >"answers-$blocks.tsv"
    )
done

cd "$work"
say "4 blocks without edges: every node attends to every node"
rm -rf run-no-edges
./graph-4 train --out run-no-edges --data train-no-edges.safetensors \
    --set train.data.eval=heldout-no-edges.safetensors
without=$(./graph-4 eval --weights run-no-edges \
    --data heldout-no-edges.safetensors | sed -n 's/^accuracy *//p')

say "graphs held out: the share of right answers, by the length of the path"
paste heldout.tsv answers-[1-4].tsv >answers.tsv
awk -f "../../$here/lengths.awk" answers.tsv
printf 'without edges, 4 blocks: %.4f\n' "$without"
python3 "../../$here/draw.py" heldout.safetensors answers-[1-4].tsv >graphs.svg

say "done; in $work: graphs.svg, some graphs and the models' answers"
awk -v check=1 -f "../../$here/lengths.awk" answers.tsv || {
    echo "a model of b blocks misses paths of up to 2b edges," \
        "or 4 blocks are wrong more often than 5 times in 100" >&2
    exit 1
}
awk "BEGIN { exit !($without > 0.45 && $without < 0.55) }" || {
    echo "without edges the answers are not as good as a coin's" >&2
    exit 1
}
