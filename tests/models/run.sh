#!/bin/sh
# The shipped specs: each says where its numbers come from, compiles, and has as many
# parameters as its paper, or its formula, says.
#
#     tests/models/run.sh [COMPILER]
#
# A row of the table below is a model's parameters twice: the number, which is the
# published one where the comment names a source, and a sum written out by hand from the
# model's equations. Both must be what `BIN info --json` says of the built program.
set -u
cd "$(dirname "$0")/../.." || exit 1
compiler=${1:-./trainwright}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() { # NAME COMMAND…
    what=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $what"
        head -n 20 "$work/said"
    fi
}

# ---- parameters of parts -----------------------------------------------------
# c is the width, f the feed-forward layer's; all with biases unless they say otherwise.
linear() { echo $(($1 * $2 + $2)); }                    # IN OUT
norm() { echo $((2 * $1)); }                            # weight and bias
attention() { echo $((4 * $(linear "$1" "$1"))); }      # C
feed_forward() { echo $(($(linear "$1" "$2") + $(linear "$2" "$1"))); }     # C F
block() { # C F: attention, feed-forward layer, two norms
    echo $(($(attention "$1") + $(feed_forward "$1" "$2") + 2 * $(norm "$1")))
}
gpt2() { # C BLOCKS CONTEXT: tied head, final norm
    echo $(((50257 + $3) * $1 + $2 * $(block "$1" $((4 * $1))) + $(norm "$1")))
}
bytes() { # VOCAB C F BLOCKS CONTEXT: a decoder, as gpt2
    echo $((($1 + $5) * $2 + $4 * $(block "$2" "$3") + $(norm "$2")))
}
bert() { # C BLOCKS: embeddings, blocks, pooler: what the paper counts
    echo $(((30522 + 512 + 2) * $1 + $(norm "$1") + $2 * $(block "$1" $((4 * $1))) +
        $(linear "$1" "$1")))
}
bert_heads() { # C: transform, its norm, the decoder's bias, next sentence
    echo $(($(linear "$1" "$1") + $(norm "$1") + 30522 + $(linear "$1" 2)))
}
llama_attention() { echo $((2 * $1 * $1 + 2 * $1 * $2)); }      # C KEYS: no biases
gated() { echo $((3 * $1 * $2)); }                              # C F: no biases

# ---- the table ---------------------------------------------------------------
rows=''
model() { # NAME COUNT SUM
    rows="$rows$1 $2
"
    check "$1: $2 is the sum of its parts" [ "$2" -eq "$3" ]
}

# Chosen sizes: the sum is the definition.
model tiny 120576 "$(bytes 256 64 256 2 64)"
model autoregressive-small 4870144 "$(bytes 256 256 1024 6 256)"
model instruction-tuning 4871936 "$(bytes 263 256 1024 6 256)"
model preference-tuning 4871936 "$(bytes 263 256 1024 6 256)"
# Embeddings and an untied head; the layer itself has none.
model simple-attention 65536 $((2 * 256 * 128))
model classifier 859138 $(($(bytes 256 128 512 4 256) + $(linear 128 2)))
model graph-transformer 200770 $(($(linear 8 64) + 4 * $(block 64 256) + \
    $(norm 64) + $(linear 64 2)))
model vit-tiny-digits 202186 $(($(linear 4 64) + 64 + 17 * 64 + \
    4 * $(block 64 256) + $(norm 64) + $(linear 64 10)))

# The released models gpt2 and gpt2-xl, as Hugging Face's transformers counts them.
model gpt2-124m 124439808 "$(gpt2 768 12 1024)"
model gpt2-xl 1557611200 "$(gpt2 1600 48 1024)"
# The lecture's sizes, which are not 1.5 billion.
model gpt2-lecture 379603200 "$(gpt2 768 48 1024)"
# Brown et al. 2020, table 2.1: 175.0 billion, rounded.
model gpt3-175b 174604259328 "$(gpt2 12288 96 2048)"
# Sizes of GPT-3 and 8 experts in each block, a router over them.
model gpt4-mixture 986479300608 $(($(gpt2 12288 96 8192) + \
    96 * (7 * $(feed_forward 12288 49152) + 8 * 12288)))

# transformers' BertModel has 109,482,240 and 335,141,888 parameters, BertForPreTraining
# 110,106,428 and 336,226,108; Devlin et al. 2019, section 3: 110 and 340 million.
check "bert-base's stack" [ "$(bert 768 12)" -eq 109482240 ]
check "bert-large's stack" [ "$(bert 1024 24)" -eq 335141888 ]
model bert-base 110106428 $(($(bert 768 12) + $(bert_heads 768)))
model bert-large 336226108 $(($(bert 1024 24) + $(bert_heads 1024)))

# Vaswani et al. 2017, table 3: 65 million, rounded; projections without biases.
model original-transformer 63045632 $((37000 * 512 + \
    6 * (4 * 512 * 512 + $(feed_forward 512 2048) + 2 * $(norm 512)) + \
    6 * (8 * 512 * 512 + $(feed_forward 512 2048) + 3 * $(norm 512))))
# Dai et al. 2019, table 2: 41 million; q, k, v, out and the distances', u and v.
model transformer-xl 41093120 $((256 * 512 + \
    12 * (5 * 512 * 512 + 2 * 512 + $(feed_forward 512 2048) + 2 * $(norm 512))))

# The released Meta-Llama-3-8B and Mixtral-8x7B-v0.1; rmsnorms have a weight alone.
model llama3-8b 8030261248 $((2 * 128256 * 4096 + \
    32 * ($(llama_attention 4096 1024) + $(gated 4096 14336) + 2 * 4096) + 4096))
model mixtral-8x7b 46702792704 $((2 * 32000 * 4096 + \
    32 * ($(llama_attention 4096 1024) + 8 * $(gated 4096 14336) + 8 * 4096 + \
    2 * 4096) + 4096))
# torchvision's vit_b_16; Dosovitskiy et al. 2021, table 1: 86 million.
model vit-base 86567656 $(($(linear 768 768) + 768 + 197 * 768 + \
    12 * $(block 768 3072) + $(norm 768) + $(linear 768 1000)))

# ---- the specs ---------------------------------------------------------------
with_commas() { echo "$1" | sed ':a; s/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/; ta'; }

# `# NAME: …`, an empty line of comment, and a paragraph.
opens_well() { # NAME
    sed -n 1p "models/$1.yaml" | grep -q "^# $1: ..*" &&
        sed -n 2p "models/$1.yaml" | grep -q '^#$' &&
        [ "$(sed '/^#/!q' "models/$1.yaml" | grep -c '^# ')" -ge 3 ] &&
        [ "$(awk 'length > 110' "models/$1.yaml" | wc -l)" -eq 0 ]
}

# Where the comment has exact numbers of seven digits or more, this is one of them.
says() { # NAME COUNT
    ! grep -qE '^#.*[0-9](,[0-9]{3}){2}' "models/$1.yaml" ||
        grep -qF "$(with_commas "$2")" "models/$1.yaml"
}

# Builds NAME and asks the program.
has_parameters() { # NAME COUNT
    "$compiler" build "models/$1.yaml" -o "$work/$1" && "$work/$1" info --json >"$work/info" &&
        said=$(sed -n 's/^ *"parameters": \([0-9]*\),$/\1/p' "$work/info") &&
        echo "info says $said, wanted $2" && [ "$said" = "$2" ]
}

for file in models/*.yaml; do
    name=${file#models/}
    name=${name%.yaml}
    count=$(echo "$rows" | sed -n "s/^$name //p")
    check "$name: has a row here" [ -n "$count" ]
    check "$name: opens with where its numbers come from" opens_well "$name"
    check "$name: its comment's number of parameters" says "$name" "${count:-0}"
    check "$name: parameters" has_parameters "$name" "${count:-0}"
    rm -f "$work/$name"
done
check "every row is of a shipped spec" sh -c "for name in $(echo "$rows" | awk '{ print $1 }' |
    tr '\n' ' '); do [ -f models/\$name.yaml ] || { echo \$name; exit 1; }; done"

echo "models: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
