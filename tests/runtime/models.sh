# models.sh: programs of every kind (fake_models.c): data, batches, evaluation,
# predictions, references (sourced by run.sh).

last_line() { tail -1 "$1" | sed 's/"step".*//'; }
fine() { # DESCRIPTION FILE WANTED: an accuracy in a log's last line is at least that
    local got
    got=$(tail -1 "$2" | sed 's/.*"accuracy":\([0-9.e-]*\).*/\1/')
    if awk "BEGIN { exit !($got >= $3) }"; then pass; else
        fail "$1: accuracy '$got', below $3"
    fi
}
# The last evaluation of a run, and `eval` of its weights on the same data, which
# is all of it: the data has no held-out part of its own.
evaluates_alike() { # DESCRIPTION PROGRAM RUN LOG DATA OPTIONS…
    local what=$1 program=$2 run=$3 log=$4 data=$5
    shift 5
    check "$what: eval" "$program" eval --weights "$run" \
        --set train.data.path="$data" "$@"
    equal "$what: eval as in training" \
        "$(sed -n 's/^loss //p' last.out | cut -c1-6)" \
        "$(tail -1 "$log" | sed 's/.*eval_loss":\([0-9.]\{6\}\).*/\1/')"
}
# What grad and forward say of one batch must be the same logits: forward goes by
# what was prepared, a sequence at a time, grad by the weights.
same_logits() { # DESCRIPTION PROGRAM WEIGHTS BATCH SHAPE
    check "$1: grad" "$2" grad --weights "$3" --batch "$4" --out kind-grad.st
    check "$1: forward" "$2" forward --weights "$3" --batch "$4" \
        --save logits --out kind-forward.st
    equal "$1: logits" "$(./tool list kind-forward.st | grep logits)" \
        "$(./tool list kind-grad.st | grep logits)"
    equal "$1: logits' shape" \
        "$(./tool list kind-grad.st | grep logits | cut -d' ' -f2)" "$5"
}
refused() { # DESCRIPTION PROGRAM WEIGHTS TEXT TENSOR…: a batch of these is an error
    local what=$1 program=$2 weights=$3 text=$4
    shift 4
    ./tool make refused.st 1 "$@" || fail "$what: no batch"
    status "$what" 1 "$program" grad --weights "$weights" --batch refused.st \
        --out none.st
    says "$what" "$text"
}

# ---- a classifier of texts, with types and experts ---------------------------
for i in $(seq 40); do
    printf 'de\tder die das und %d\nen\tthe and of to %d\nfr\tle la les et %d\n' \
        $i $i $i
done > languages.tsv
check "texts" ./texts train --data languages.tsv --quiet --out texts-run \
    --log texts.jsonl
fine "texts" texts.jsonl 1
check "an evaluation's form" grep -qE \
    '^\{"eval_loss":[0-9.]+,"accuracy":1,"step":60\}$' texts.jsonl
evaluates_alike texts ./texts texts-run texts.jsonl languages.tsv
says "eval's accuracy" "accuracy 1"
says "eval's count" "examples 30"
equal "labels are recorded" "$(./tool member texts-run/run.json labels)" 3
equal "a tensor of rank 3" \
    "$(./tool list texts-run/step-60/model.safetensors | grep experts | cut -d' ' -f2)" \
    "F32[2,264,3]"
check "no moments" ./texts train --data languages.tsv --quiet --out texts-run2 \
    --steps 20 --log texts2.jsonl
check "no moments, resumed" ./texts train --data languages.tsv --quiet \
    --out texts-run2 --resume --log texts2.jsonl
same "texts resumed" texts-run2/step-60/model.safetensors \
    texts-run/step-60/model.safetensors
check "predict" ./texts predict --weights texts-run --data languages.tsv
says "predict's accuracy" "accuracy 1 (120 of 120)"
equal "a line an input" "$(wc -l < last.out)" 120
equal "predict's form" "$(grep -cE '^(de|en|fr)	0\.[0-9]+$' last.out)" 120
cut -f1 last.out > predicted
cut -f1 languages.tsv > given
same "predict" predicted given
# The run knows its labels' names, wherever its weights are named from.
sed -n '1~3p' languages.tsv | cut -f2 > german.txt
for weights in texts-run texts-run/step-60 texts-run/step-60/model.safetensors; do
    check "predict by $weights" ./texts predict --weights $weights \
        --data german.txt
    equal "names by $weights" "$(cut -f1 last.out | uniq -c | tr -s ' ')" " 40 de"
    equal "no accuracy" "$(cat last.err)" ""
done
cp texts-run/step-60/model.safetensors texts.st
check "weights alone" ./texts predict --weights texts.st --data german.txt
equal "then numbers" "$(cut -f1 last.out | uniq -c | tr -s ' ')" " 40 0"
check "names of the training data" ./texts predict --weights texts.st \
    --data german.txt --set train.data.path=languages.tsv
equal "names of the training data" "$(cut -f1 last.out | uniq -c | tr -s ' ')" \
    " 40 de"
status "nothing to predict" 1 ./texts predict --weights texts-run --data missing
status "generate of a classifier" 1 ./texts generate --weights texts-run --prompt x
says "generate of a classifier" "a classifier cannot generate"

status "score of a classifier" 1 ./texts score --weights texts-run \
    --data languages.tsv
says "score of a classifier" "score is for decoders"

rows="tokens:i32:4x16:0:263"
labels="labels:i32:4:0:2"
./tool make texts-batch.st 7 $rows labels:i64:4:0:2 types:i32:4x16:0:1 \
    lengths:i32:4:1:16
same_logits texts ./texts texts.st texts-batch.st "F32[4,3]"
equal "aux_loss" "$(./tool values kind-grad.st aux_loss 1)" 0.125
equal "a gradient of rank 3" \
    "$(./tool list kind-grad.st | grep experts | cut -d' ' -f1,2)" \
    "grad.experts.weight F32[2,264,3]"
# What is left out is what the contract says: lengths T, types 0.
./tool make default.st 7 $rows labels:i32:4:0:2
./tool make explicit.st 7 $rows labels:i32:4:0:2 types:i32:4x16:0:0 lengths:i32:4:16:16
for batch in default explicit; do
    check "$batch" ./texts grad --weights texts.st --batch $batch.st \
        --out $batch-grad.st
done
same "defaults" default-grad.st explicit-grad.st
refused "no labels" ./texts texts.st "no tensor 'labels'" $rows
refused "a label too large" ./texts texts.st "labels" $rows labels:i32:4:3:3
refused "a token too large" ./texts texts.st "tokens" tokens:i32:4x16:264:264 $labels
refused "a negative token" ./texts texts.st "tokens" tokens:i32:4x16:-1:-1 $labels
refused "a type too large" ./texts texts.st "types" $rows $labels types:i32:4x16:2:2
refused "a length too large" ./texts texts.st "lengths" $rows $labels lengths:i32:4:17:17
refused "targets of a classifier" ./texts texts.st "targets" $rows $labels \
    targets:i32:4x16:0:1
refused "another T" ./texts texts.st "types is I32[4,15]" $rows $labels \
    types:i32:4x15:0:1
refused "another B" ./texts texts.st "labels is I32[3]" $rows labels:i32:3:0:2
refused "no integers" ./texts texts.st "tokens" tokens:f32:4x16:0:1 $labels

# ---- images ------------------------------------------------------------------
# Three kinds of pictures of 6 x 6: bright above, in the middle, below.
{
    printf '\0\0\010\003\0\0\0\074\0\0\0\006\0\0\0\006'
    for i in $(seq 0 59); do
        for part in 0 1 2; do
            [ $((i % 3)) = $part ] && byte=$((200 + i % 50)) || byte=$((i % 20 + 1))
            for pixel in 1 2 3 4 5 6 7 8 9 10 11 12; do
                printf "\\$(printf %03o $byte)"
            done
        done
    done
} > pictures-images-idx3-ubyte
{
    printf '\0\0\010\001\0\0\0\074'
    for i in $(seq 0 59); do printf "\\00$((i % 3))"; done
} > pictures-labels-idx1-ubyte
pictures=pictures-images-idx3-ubyte
check "images" ./images train --data $pictures --quiet --out images-run \
    --log images.jsonl
fine "images" images.jsonl 1
evaluates_alike images ./images images-run images.jsonl $pictures
check "predict images" ./images predict --weights images-run --data $pictures
says "predict images" "accuracy 1 (60 of 60)"
equal "numbers as labels" "$(cut -f1 last.out | head -4 | tr '\n' ' ')" "0 1 2 0 "
cp $pictures unlabelled-ubyte
check "without labels" ./images predict --weights images-run --data unlabelled-ubyte
equal "no accuracy" "$(cat last.err)" ""
check "bench images" ./images bench --steps 2
./tool make images-batch.st 7 images:f32:4x1x6x6:0:1 $labels
same_logits images ./images images-run images-batch.st "F32[4,3]"
refused "images of another size" ./images images-run "images is F32[4,1,6,5]" \
    images:f32:4x1x6x5:0:1 $labels
refused "lengths of images" ./images images-run "lengths" images:f32:4x1x6x6:0:1 \
    $labels lengths:i32:4:1:1
refused "images of integers" ./images images-run "images" images:i32:4x1x6x6:0:1 $labels
status "generate of images" 1 ./images generate --weights images-run --prompt x

# ---- graphs --------------------------------------------------------------------
graph="nodes:f32:40x5x4:0:1 lengths:i32:40:1:5"
./tool make graphs.safetensors 5 $graph edges:u8:40x5x5:0:1 labels:i64:40:0:2
check "graphs" ./graphs train --data graphs.safetensors --quiet --out graphs-run \
    --log graphs.jsonl
evaluates_alike graphs ./graphs graphs-run graphs.jsonl graphs.safetensors
check "predict graphs" ./graphs predict --weights graphs-run --data graphs.safetensors
equal "a line a graph" "$(grep -cE '^[012]	[01](\.[0-9]+)?$' last.out)" 40
./tool make graphs-batch.st 7 nodes:f32:4x5x4:0:1 $labels edges:i32:4x5x5:0:1 \
    lengths:i32:4:1:5
same_logits graphs ./graphs graphs-run graphs-batch.st "F32[4,3]"
./tool make default.st 7 nodes:f32:4x5x4:0:1 $labels
./tool make explicit.st 7 nodes:f32:4x5x4:0:1 $labels edges:u8:4x5x5:1:1 lengths:i32:4:5:5
for batch in default explicit; do
    check "$batch graphs" ./graphs grad --weights graphs-run/step-60/model.safetensors \
        --batch $batch.st --out $batch-grad.st
done
same "no edges are all edges" default-grad.st explicit-grad.st
check "bench graphs" ./graphs bench --steps 2
refused "nodes of another size" ./graphs graphs-run "nodes is" nodes:f32:4x4x4:0:1 $labels

# ---- masked tokens and next sentences ----------------------------------------
for i in $(seq 30); do
    printf 'one sentence %d\nand one more %d\nthe last of %d\n\n' $i $i $i
done > sentences.txt
check "masked" ./masked train --data sentences.txt --quiet --out masked-run \
    --log masked.jsonl
evaluates_alike masked ./masked masked-run masked.jsonl sentences.txt
says "masked" "next-sentence accuracy"
equal "accuracy is of tokens" "$(sed -n 's/^accuracy //p' last.out | cut -c1-5)" \
    "$(tail -1 masked.jsonl | sed 's/.*accuracy":\([0-9.]\{5\}\).*/\1/')"
check "predict masked" ./masked predict --weights masked-run --data sentences.txt
cp last.out filled
says "predict masked" "accuracy 0."
check "three columns" awk -F '\t' '
    NF != 3 || $3 !~ /^[0-9]+\/[0-9]+$/ || $1 !~ /^<260>.*<261>.*<261>$/ { exit 1 }
    { split($3, n, "/"); right += n[1]; masked += n[2] }
    END { print right " of " masked }' filled
equal "the sum of the lines" "($(cat last.out))" \
    "$(./masked predict --weights masked-run --data sentences.txt 2>&1 >/dev/null |
        sed 's/.*(/(/')"
check "what is right is the same" awk -F '\t' '
    { split($3, n, "/"); if ((n[1] == n[2]) != ($1 == $2)) exit 1 }' filled
./tool make masked-batch.st 7 $rows types:i32:4x16:0:1 targets:i32:4x16:-1:263 \
    labels:i32:4:0:1 lengths:i32:4:1:16
same_logits masked ./masked masked-run masked-batch.st "F32[4,16,264]"
refused "no targets" ./masked masked-run "no tensor 'targets'" $rows labels:i32:4:0:1
refused "a label of two" ./masked masked-run "labels" $rows labels:i32:4:2:2 \
    targets:i32:4x16:0:1
refused "a target below -1" ./masked masked-run "targets" $rows labels:i32:4:0:1 \
    targets:i32:4x16:-2:-2
status "generate of masked" 1 ./masked generate --weights masked-run --prompt x
says "generate of masked" "mask is full"

# ---- encoder-decoders ----------------------------------------------------------
# The target is the source: a copy is learned exactly.
for i in $(seq 60); do printf 'ab%dx\tab%dx\n' $i $i; done > pairs.tsv
check "pairs" ./pairs train --data pairs.tsv --quiet --out pairs-run --steps 300 \
    --log pairs.jsonl
evaluates_alike pairs ./pairs pairs-run pairs.jsonl pairs.tsv
equal "no accuracy" "$(grep -c accuracy last.out)" 0
check "predict pairs" ./pairs predict --weights pairs-run --data pairs.tsv
says "predict pairs" "accuracy 1 (60 of 60)"
cut -f2 pairs.tsv > wanted
same "predict pairs" last.out wanted
cut -f1 pairs.tsv > sources.txt
check "sources alone" ./pairs predict --weights pairs-run --data sources.txt
same "sources alone" last.out wanted
equal "no accuracy" "$(cat last.err)" ""
check "at most so many" ./pairs predict --weights pairs-run --data pairs.tsv --tokens 2
equal "at most so many" "$(sort -u last.out)" ab
says "at most so many" "accuracy 0 (0 of 60)"
check "predictions drawn" ./pairs predict --weights pairs-run --data pairs.tsv \
    --temperature 20 --seed 1
cp last.out drawn
check "predictions drawn" ./pairs predict --weights pairs-run --data pairs.tsv \
    --temperature 20 --seed 1 --threads 1
same "the seed decides" last.out drawn
if cmp -s drawn wanted; then fail "nothing is drawn"; else pass; fi
gen="./pairs generate --weights pairs-run --temperature 0"
check "generate a target" $gen --prompt ab7x
equal "generate a target" "$(cat last.out)" ab7x
check "generate of ids" $gen --prompt-ids 97,98,55,120,258
equal "generate of ids" "$(cat last.out)" 97,98,55,120
check "generate to a text" $gen --prompt ab7x --stop 7
equal "generate to a text" "$(cat last.out)" ab
check "generate so many" $gen --prompt ab7x --tokens 3
equal "generate so many" "$(cat last.out)" ab7
check "two targets" $gen --prompt ab7x --samples 2
equal "two targets" "$(tr '\n' ' ' < last.out)" "ab7x --- ab7x "
check "a source as long as the context" $gen --prompt abcdefghijklmnopqrstuvw
status "a source too long" 1 $gen --prompt abcdefghijklmnopqrstuvwx
says "a source too long" "the prompt has 25 tokens; the model's context is 24"
./tool make pairs-batch.st 7 $rows targets:i32:4x16:-1:263 source:i64:4x16:0:263 \
    lengths:i32:4:1:16 source_lengths:i32:4:0:16
same_logits pairs ./pairs pairs-run pairs-batch.st "F32[4,16,264]"
refused "no source" ./pairs pairs-run "no tensor 'source'" $rows targets:i32:4x16:0:1
refused "source of another T" ./pairs pairs-run "source is" $rows \
    targets:i32:4x16:0:1 source:i32:4x15:0:1

# ---- preferences -----------------------------------------------------------------
for i in $(seq 24); do
    printf '{"prompt":"q%d ","chosen":"yes","rejected":"no%d"}\n' $i $i
done > preferences.jsonl
./tool make begin.st 3 experts.weight:f32:2x264x264:-0.1:0.1 head.bias:f32:264:-1:1
prefer="./preferences train --data preferences.jsonl --quiet"
status "no reference" 2 $prefer --out none
says "no reference" "--init FILE|DIR"
[ -e none ] && fail "a refused run made its directory" || pass
check "preferences" $prefer --out prefer --init begin.st --log prefer.jsonl
check "preferences are learned" awk -F '[:,]' '
    /eval_loss/ { last = $2 } END { exit !(last < 0.2) }' prefer.jsonl
# Nothing has moved yet: both sides are as likely as they were.
equal "the first loss is log 2" "$(head -1 prefer.jsonl | cut -c1-22)" \
    '{"step":1,"loss":0.693'
equal "reference" "$(./tool list prefer/reference.safetensors | cut -d' ' -f1,2 |
    tr '\n' ' ')" "eval F32[6,2] train F32[18,2] "
evaluates_alike preferences ./preferences prefer prefer.jsonl preferences.jsonl \
    --reference begin.st
says "preferences" "pairs 6"
status "eval without a reference" 2 ./preferences eval --weights prefer \
    --data preferences.jsonl
says "eval without a reference" "--reference FILE|DIR"
check "against itself" ./preferences eval --weights begin.st \
    --data preferences.jsonl --reference begin.st
says "against itself" "loss 0.69314"
says "against itself" "pairs 24"
check "some steps" $prefer --out prefer2 --init begin.st --steps 30
check "resumed without --init" $prefer --out prefer2 --resume
same "preferences resumed" prefer2/step-60/model.safetensors \
    prefer/step-60/model.safetensors
cp -r prefer lost && rm lost/reference.safetensors
status "a lost reference" 1 $prefer --out lost --resume --steps 70
says "a lost reference" "lost/reference.safetensors"
head -c 100 prefer/reference.safetensors > lost/reference.safetensors
status "a torn reference" 1 $prefer --out lost --resume --steps 70
head -23 preferences.jsonl > fewer.jsonl
cp prefer/reference.safetensors lost/
status "of other data" 1 ./preferences train --data fewer.jsonl --quiet --out lost \
    --resume --steps 70
says "of other data" "of other data"
# A reference that is there serves a new start, if it is of the same weights.
mkdir again && cp prefer/reference.safetensors again/
check "a reference again" $prefer --out again --init begin.st
same "a reference again" again/step-60/model.safetensors \
    prefer/step-60/model.safetensors
mkdir other-weights && cp prefer/reference.safetensors other-weights/
check "of other weights" $prefer --out other-weights --init prefer --steps 1
if cmp -s other-weights/reference.safetensors prefer/reference.safetensors
then fail "a reference of other weights"; else pass; fi
pair="tokens:i32:4x2x16:0:263 targets:i32:4x2x16:-1:263"
./tool make prefer-batch.st 7 $pair lengths:i32:4x2:1:16 reference:f32:4x2:-9:-1
same_logits preferences ./preferences prefer prefer-batch.st "F32[4,2,16,264]"
refused "no reference" ./preferences prefer "no tensor 'reference'" $pair
refused "one side" ./preferences prefer "tokens is I32[4,16], not [" $rows \
    targets:i32:4x16:0:1 reference:f32:4x2:-9:-1
# Data with sums of its own needs neither --init nor --reference.
./tool make own.safetensors 7 tokens:i32:9x2x16:0:263 targets:i32:9x2x16:-1:263 \
    reference:f32:9x2:-90:-80
check "a reference of the data's" ./preferences train --data own.safetensors \
    --quiet --out own
[ -e own/reference.safetensors ] && fail "the data has a reference" || pass
check "a reference of the data's" ./preferences eval --weights own \
    --data own.safetensors
# A signal while it is scored ends the run, with nothing left.
for i in $(seq 20000); do
    printf '{"prompt":"q%d ","chosen":"yes","rejected":"no%d"}\n' $i $i
done > many.jsonl
./preferences train --data many.jsonl --quiet --out interrupted --init begin.st \
    2> last.err &
pid=$!
sleep 0.5
kill -TERM $pid
wait $pid
equal "a signal while scoring" $? 75
[ -e interrupted ] && fail "a run of nothing has a directory" || pass

# ---- info --------------------------------------------------------------------------
for model in texts:classify images:image graphs:graph masked:mlm \
    pairs:encoder-decoder preferences:preference; do
    check "info ${model%:*}" ./${model%:*} info
    says "info ${model%:*}" ${model#*:}
    check "info --json ${model%:*}" ./${model%:*} info --json
    check "bench ${model%:*}" ./${model%:*} bench --steps 2 --json
done
./pairs info --json > info.json
equal "info: kind" "$(./tool member info.json kind)" encoder-decoder
equal "info: objective" "$(./tool member info.json objective)" seq2seq
equal "info: generates" "$(./tool member info.json generates)" true
equal "info: classes" "$(./tool member info.json classes)" absent
