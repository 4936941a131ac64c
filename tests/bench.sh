#!/bin/sh
# make bench: a training step of two models, beside PyTorch's best where it is
# installed, in one run on one machine: milliseconds, and the ratio of the two.
#
#     tests/bench.sh [STEPS]          default: 10 timed steps
#
# A shared machine gives bad numbers; a ratio from one quiet run is worth most.
set -u
cd "$(dirname "$0")/.." || exit 1
steps=${1:-10}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

cat >"$work/small.yaml" <<END
name: small
model: {vocab: 256, context: 256, dim: 384, heads: 6, blocks: 6}
train: {batch: 8}
END
./trainwright build models/gpt2-124m.yaml -o "$work/gpt2" \
    --set train.batch=4 --set train.sequence=64 >"$work/said" &&
    ./trainwright build "$work/small.yaml" -o "$work/small" >"$work/said" || {
    cat "$work/said"
    exit 1
}

field() { # NAME FILE: of one JSON object, before its list of kernels
    sed '/"kernels"/q' "$2" | sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" |
        tail -n 1
}
python=$(command -v python3)
if [ -z "$python" ] || ! "$python" -c 'import torch' 2>/dev/null; then
    echo "skipped: the comparison (no PyTorch here)"
    python=
fi
for model in gpt2 small; do
    "$work/$model" bench --steps "$steps" --json >"$work/$model.json" || exit 1
    ours=$(field ms_per_step "$work/$model.json")
    if [ -z "$python" ]; then
        echo "$model: $ours ms a step"
        continue
    fi
    "$python" tests/bench/pytorch_step.py --model "$model" --steps "$steps" \
        >"$work/peer.json" || exit 1
    peer=$(field median_ms "$work/peer.json")
    echo "$model: $ours ms a step, PyTorch $peer ms, ratio" \
        "$(awk "BEGIN { printf \"%.2f\", $peer / $ours }")"
done
