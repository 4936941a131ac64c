# commands.sh: eval, generate, forward, grad, bench, info (sourced by run.sh).

in_range() { # DESCRIPTION NUMBER LEAST MOST
    if awk "BEGIN { exit !($2 >= $3 && $2 <= $4) }"; then pass; else
        fail "$1: $2 is not from $3 to $4"
    fi
}

# eval
check "eval" ./fake eval --weights straight --set train.data.path=data.txt \
    --steps 3
says "eval" "bits per byte"
equal "as in training" "$(sed -n 's/^loss //p' last.out | cut -c1-7)" \
    "$(tail -1 straight.jsonl | sed 's/.*eval_loss":\([0-9.]\{7\}\).*/\1/')"
check "eval a file" ./fake eval --weights straight/step-40 --data data.txt
equal "every token but the first" "$(sed -n 's/^tokens //p' last.out)" 8999
status "eval of nothing" 1 ./fake eval --weights straight --data missing
status "no weights" 1 ./fake eval --weights missing --data data.txt
status "text as weights" 1 ./fake eval --weights data.txt --data data.txt

# generate
gen="./fake generate --weights straight"
check "greedy" $gen --prompt "static bool " --tokens 12 --temperature 0
cp last.out greedy
check "top-k 1" $gen --prompt "static bool " --tokens 12 --top-k 1 --seed 5
same "top-k 1 is greedy" last.out greedy
check "top-p 0" $gen --prompt "static bool " --tokens 12 --top-p 0 --seed 5
same "top-p 0 is greedy" last.out greedy
check "longer prompt" $gen --prompt "$(head -c 15 greedy)" --tokens 9 \
    --temperature 0
same "chunks do not matter" last.out greedy
printf 'static bool ' > prompt.txt
check "prompt file" $gen --prompt-file prompt.txt --tokens 12 --temperature 0
same "prompt file" last.out greedy
check "samples" $gen --prompt "a" --tokens 20 --samples 3 --seed 9 --top-p 0.9
cp last.out samples
check "samples again" $gen --prompt "a" --tokens 20 --samples 3 --seed 9 \
    --top-p 0.9 --threads 1
same "the seed decides" last.out samples
check "another seed" $gen --prompt "a" --tokens 20 --samples 3 --seed 10 \
    --top-p 0.9
if cmp -s last.out samples; then fail "seeds are the same"; else pass; fi
check "ids" $gen --prompt-ids 65,66 --tokens 3 --temperature 0
equal "ids" "$(grep -cE '^65,66,[0-9]+,[0-9]+,[0-9]+$' last.out)" 1
ids=$(cut -d, -f3 last.out)
stop=$(printf "\\$(printf %03o "$ids")")
check "stop" $gen --prompt "AB" --tokens 3 --temperature 0 --stop "$stop"
equal "stop" "$(cat last.out)" "AB"
check "at the context" $gen --prompt "abc" --tokens 1000
says "at the context" "note: stopped at the model's context, 32 tokens"
check "a full prompt" $gen --prompt "01234567890123456789012345678901"
status "too long a prompt" 1 $gen --prompt "012345678901234567890123456789012"
status "an empty prompt" 1 $gen --prompt ""
status "a bad id" 1 $gen --prompt-ids 1,256
status "no id" 2 $gen --prompt-ids 1,x
status "two prompts" 2 $gen --prompt a --prompt-ids 1
status "stop with ids" 2 $gen --prompt-ids 1 --stop a

# score: of one window, what eval says of it
printf 'static bool abc' > window.txt
printf 's\ttatic bool abc\n' > window.tsv
check "eval of a window" ./fake eval --weights straight --data window.txt
loss=$(sed -n 's/^loss //p' last.out)
check "score" ./fake score --weights straight --data window.tsv
in_range "score is eval's loss" "$(sed 's/.*"logprob":-\([0-9.]*\),.*/\1/' last.out |
    awk -v loss="$loss" '{ print $1 / loss / 14 }')" 0.999999 1.000001
equal "a number a token" "$(sed 's/.*\[//' last.out | tr -cd , | wc -c)" 13
cp last.out scored
printf '{"prompt":"s","response":"tatic bool abc"}\n' > window.jsonl
check "score of JSONL" ./fake score --weights straight --data window.jsonl
same "score of JSONL" last.out scored
printf '%s\n' '{"context":"static ","choices":["bool","zzzz"],"label":0}' \
    '{"context":"static ","choices":["zzzz","bool"],"label":0}' \
    '{"context":"static ","choices":["bool"]}' > choices.jsonl
check "choices" ./fake score --weights straight --data choices.jsonl
says "choices" "accuracy 0.5 (1 of 2), by the mean of a byte 0.5"
equal "choices" "$(cut -d, -f1 last.out | tr '\n' ' ')" \
    '{"choice":0 {"choice":1 {"choice":0 '
long=$(printf '%040d' 7)
printf '%sab\tc\n%sab\tc\n' "$long" "${long:8}" > long.tsv
check "a long context" ./fake score --weights straight --data long.tsv
equal "its end counts" "$(sort -u last.out | wc -l)" 1
wrong_line() { # DESCRIPTION TEXT LINE: line 2 of a file for score is an error
    printf '{"prompt":"a","response":"b"}\n%s\n' "$3" > wrong.jsonl
    status "$1" 1 ./fake score --weights straight --data wrong.jsonl
    says "$1" "wrong.jsonl:2: "
    says "$1" "$2"
}
wrong_line "no label of three" "wanted" '{"context":"a","choices":["b"],"label":3}'
wrong_line "no choices" "wanted" '{"context":"a","choices":[]}'
wrong_line "a choice of no text" "choice 0 is no text" '{"context":"a","choices":[1]}'
wrong_line "an empty choice" "a completion of 0 bytes" '{"context":"a","choices":[""]}'
wrong_line "an empty context" "empty context" '{"context":"","choices":["b"]}'
wrong_line "no JSON" "" '{"context":"a",'
wrong_line "too long a completion" "1 to 32" "{\"prompt\":\"a\",\"response\":\"$long\"}"
status "score of text" 1 ./fake score --weights straight --data data.txt
says "score of text" "score reads TSV and JSONL"

# grad and forward
./tool batch batch.st 4 16 1 i32
./tool batch batch64.st 4 16 1 i64
grad="./fake grad --weights straight/step-40/model.safetensors"
check "grad" $grad --batch batch.st --out grad.st
check "grad of int64" $grad --batch batch64.st --out grad64.st
same "int64" grad.st grad64.st
./tool list grad.st | cut -d' ' -f1,2 > names
equal "names" "$(cut -d' ' -f1 names | tr '\n' ' ')" \
    "grad.blocks.0.ff.bias grad.blocks.0.ff.weight grad.blocks.1.ff.bias grad.embed.token.weight grad.head.weight logits loss "
check "shapes" grep -qF "logits F32[4,16,256]" names
check "shapes" grep -qF "loss F32[1]" names
fwd="./fake forward --weights straight"
check "forward" $fwd --batch batch.st --save '*' --out forward.st
equal "the same logits" "$(./tool list forward.st | grep logits)" \
    "$(./tool list grad.st | grep logits)"
equal "forward's names" "$(./tool list forward.st | cut -d' ' -f1,2 | tr '\n' ' ')" \
    "blocks.0.attn.weights F32[4,2,16,16] blocks.0.out F32[4,16,16] blocks.1.out F32[4,16,16] embed F32[4,16,16] logits F32[4,16,256] "
check "a glob" $fwd --batch batch.st --save 'blocks.*.out' --out some.st
equal "a glob" "$(./tool list some.st | wc -l)" 2
status "no match" 1 $fwd --batch batch.st --save 'nothing*' --out none.st
says "no match" "blocks.{i}.out"
[ -e none.st ] && fail "an output of nothing" || pass
./tool batch long.st 1 33 1 i32
status "past the context" 1 $fwd --batch long.st --save '*' --out none.st
status "another shape" 1 $grad --batch long.st --out none.st
says "another shape" "sequences of 33; this program takes at most 16"
./tool batch short.st 3 15 1 i32
status "another shape" 1 $grad --batch short.st --out none.st
says "another shape" "a batch of [3,15]; this program's batch is [4,16]"
./tool batch lengths.st 4 16 1 i32 lengths
check "lengths" $grad --batch lengths.st --out lengths-grad.st
./tool tensor bad.st tokens i32 1 2 3
status "tokens of rank 1" 1 $grad --batch bad.st --out none.st
./tool make bad.st 1 tokens:i32:4x16:0:255 targets:i32:4x16:0:255 foreign:i32:3:0:1
status "an unknown tensor" 1 $grad --batch bad.st --out none.st
says "an unknown tensor" "foreign"
status "text as a batch" 1 $grad --batch data.txt --out none.st
status "a full disk" 3 sh -c "ulimit -f 20; $grad --batch batch.st --out none.st"
status "a full disk" 3 sh -c "ulimit -f 20; $fwd --batch batch.st --save '*' --out none.st"
equal "nothing is left" "$(ls -A | grep -c none)" 0
head -c 300 batch.st > torn.st
status "a torn batch" 1 $grad --batch torn.st --out none.st

# bench and info
check "bench" ./fake bench --steps 3 --json
cp last.out bench.json
equal "bench" "$(./tool member bench.json format)" 1
equal "bench" "$(./tool member bench.json steps)" 3
check "bench" ./fake bench --steps 3
says "bench" "ms/step"
says "bench's kernels" "% of time"

# The kernels of a bench's JSON: who has a share, shares and milliseconds added up.
share() { # NAMES FILE: the share of the functions that a pattern names
    awk -v names="^($1)$" -F '"' '/"name"/ { name = $4 }
        /"share"/ { sub(/.*: /, ""); if (name ~ names) sum += $0 }
        END { print sum + 0 }' "$2"
}
work_of_fake="whole_batch|token_forward|token_backward|row_loss|train_entry|.*expf.*|mem.*|lib.*"
thread_counts="1 2 3 8"
case $CFLAGS in
*-fsanitize=thread*)
    echo "skipped: kernels' shares, ThreadSanitizer delaying signals"
    thread_counts= ;;
esac
for threads in $thread_counts; do
    what="kernels on $threads threads"
    check "$what" ./fake bench --steps 3 --json --threads $threads
    sed '1,/"kernels"/d' last.out > kernels.json
    in_range "$what: shares" "$(share ".*" kernels.json)" 0.999999 1.000001
    # The first thread computes; the others wait for it, asleep or not.
    in_range "$what: work" "$(share "$work_of_fake" kernels.json)" 0.005 1
    in_range "$what: waiting" "$(share waiting kernels.json)" \
        $([ $threads = 1 ] && echo 0 0.2 || echo 0.2 1)
    in_range "$what: milliseconds" "$(awk '/"ms_per_step"/ {
        sub(/.*: /, ""); if (all) sum += $0; else all = $0 }
        END { if (all > 0) print sum / all; else print 0 }' last.out)" 0.99999 1.00001
done
FAKE_SLEEP=20 check "kernels of a sleeper" ./fake bench --steps 2 --json --threads 1
in_range "sleep is time" "$(share ".*nanosleep|lib.*" last.out)" 0.8 1
in_range "in a step as timed" "$(./tool member last.out ms_per_step)" 20 10000
cp fake stripped && strip stripped || fail "strip"
check "no symbols" ./stripped bench --steps 2
says "no symbols" "no table of kernels: /proc/self/exe has no symbol table"
check "no symbols" ./stripped bench --steps 2 --json
says "no symbols" '"kernels": []'
check "no timers" bash -c 'ulimit -i 0; exec ./fake bench --steps 2'
says "no timers" "no table of kernels: cannot make a timer"
check "info" ./fake info
says "info" "parameters  8736"
check "info --json" ./fake info --json --threads 2
cp last.out info.json
fixed=$(./tool member info.json memory/programs/train/fixed_bytes)
each=$(./tool member info.json memory/programs/train/thread_bytes)
equal "total" "$(./tool member info.json memory/programs/train/total_bytes)" \
    $((fixed + 2 * each))
