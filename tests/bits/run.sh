#!/bin/bash
# run.sh: the same bits (docs/contract.md, section 5). Each spec of specs/ trains
# for 12 steps in many ways that may not change a bit: threads, compilers,
# instruction sets, micro-batches, recomputation, kills and resumptions. The log
# of every step (loss, lr, grad_norm, evaluations) and the final weights and
# moments must be those of the first way. Then the interpreter, in canonical f32,
# is held against the program, after every pass from autodiff on. Decoders go
# every way; of the other kinds each goes some, together all.
#
#     tests/bits/run.sh [TRAINWRIGHT]     default: ./trainwright of this tree
#     SPECS='rotary alibi'                only these, and no reference case
#     SPECS=                              only the reference cases
#     EVERY=1                             every C compiler on every spec
#     KEEP=DIR                            leaves what it makes there
#
# Prints a line a failure and `N passed, M failed`.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
compiler=$(realpath "${1:-$root/trainwright}")
[ -x "$compiler" ] || { echo "run.sh: no compiler $compiler" >&2; exit 2; }
if [ -n "${KEEP:-}" ]; then
    work=$KEEP
    mkdir -p "$work" || exit 1
else
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
fi
cd "$work" || exit 1
passed=0 failed=0

"$here/make_tool.sh" tool || exit 1
"$here/make_data.sh" "$here/run.sh" "$here/tool.c"

# ---- helpers -----------------------------------------------------------------
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $spec: $*"; }
check() { # DESCRIPTION COMMAND…: the command must succeed
    local what=$1
    shift
    if "$@" >said 2>&1; then pass; else
        fail "$what: $(head -n 2 said | cut -c 1-200 | tr '\n' ' ')"
        return 1
    fi
}
build() { # PROGRAM FLAGS…: counts only if it fails
    local program=$1
    shift
    timeout 300 "$compiler" build "$here/specs/$spec.yaml" -o "$program" "$@" >said 2>&1 && return
    fail "build $program $*: $(head -n 2 said | tr '\n' ' ')"
    return 1
}
train() { # RUN PROGRAM FLAGS…: into directory RUN, log RUN.jsonl
    local run=$1 program=$2
    shift 2
    timeout 120 "./$program" train --data "$data" "${begin[@]}" --quiet --out "$run" --log "$run.jsonl" "$@" \
        >"$run.said" 2>&1
}
cut_log() { sed 's/,"seconds":[^,]*,"tokens_per_s":[^,]*//' "$1.jsonl"; }
equal_runs() { # RUN BASE
    cut_log "$1" >one.log && cut_log "$2" >two.log && diff one.log two.log &&
        [ "$(grep -c '"loss"' one.log)" = 12 ] &&
        ./tool same "$1/step-12/model.safetensors" "$2/step-12/model.safetensors" &&
        ./tool same "$1/step-12/optimizer.safetensors" "$2/step-12/optimizer.safetensors"
}
# One binary (or one spec) has the same files, header and all.
equal_files() { # RUN BASE
    equal_runs "$1" "$2" &&
        cmp "$1/step-12/model.safetensors" "$2/step-12/model.safetensors" &&
        cmp "$1/step-12/optimizer.safetensors" "$2/step-12/optimizer.safetensors"
}
differs() { ! equal_runs "$1" "$2"; }
ends=(--set train.checkpoint.every=100)     # a checkpoint at the end alone
way() { # NAME PROGRAM BASE FLAGS…: the program trains as BASE did
    local name=$1 program=$2 base=$3
    shift 3
    train "$name" "$program" "${ends[@]}" "$@" || { fail "$name: $(head -n 2 "$name.said")"; return; }
    check "$name as $base" equal_runs "$name" "$base"
}

# ---- the ways ------------------------------------------------------------------
threads() { # NUMBERS
    for n in $1; do
        train threads$n base "${ends[@]}" --threads $n
        check "$n threads" equal_files threads$n one
    done
    train again base "${ends[@]}" --threads 2
    check "again" equal_files again one
}

targets() { # through LLVM for the older level, and from C
    build v3 --cpu x86-64-v3 && way v3-threads1 v3 one --threads 1 && way v3-threads3 v3 one --threads 3
    local pairs="$1"
    [ -z "${EVERY:-}" ] || pairs="gcc/native gcc/x86-64-v3 clang-19/native clang-19/x86-64-v3"
    for pair in $pairs; do
        local cc=${pair%/*} cpu=${pair#*/}
        if ! command -v "$cc" >/dev/null; then
            echo "skipped: $spec by $cc, which is not here"
            continue
        fi
        CC=$cc build cc --via cc --cpu "$cpu" || continue
        train "$cc-$cpu" cc "${ends[@]}" --threads 2
        check "$cc, $cpu" equal_files "$cc-$cpu" one
    done
}

# Micro-batches within groups of 8, 4 and 2 sequences; other groups, other bits.
micro_batches() { # SIZES GROUPS
    for micro in $1; do
        build micro --set train.micro_batch=$micro && way micro$micro micro one --threads 2
    done
    for groups in $2; do
        local set="reproducible.groups=$groups"
        build groups --set $set --set train.micro_batch=$((8 / groups)) || continue
        train groups$groups groups "${ends[@]}" --threads 1 || fail "groups $groups"
        check "$groups groups differ from 1" differs groups$groups one
        for micro in 1 $((16 / groups)); do
            build micro --set $set --set train.micro_batch=$micro &&
                way groups$groups-micro$micro micro groups$groups --threads 2
        done
    done
    [ "$2" = 2 ] || check "4 groups differ from 2" differs groups4 groups2
}

recomputations() {
    local set=memory.recompute
    build recompute --set $set=attention && way attention recompute one --threads 2
    build recompute --set $set=block --set train.micro_batch=2 &&
        way block-micro2 recompute one --threads 1
    build recompute --set $set=block --set train.micro_batch=1 --set reproducible.groups=2 &&
        way block-groups2 recompute groups2 --threads 2
}

# Waits until the run has logged as many lines, or ended; without a process a look.
watch_log() { # RUN PID LINES
    local lines=()
    while kill -0 "$2" 2>/dev/null && [ ${#lines[@]} -lt "$3" ]; do
        read -rt 0.002 <&"$nothing"
        [ ! -f "$1.jsonl" ] || mapfile -t lines <"$1.jsonl"
    done
}

# Killed at a random place of its log, again and again; resumed each time with
# another number of threads.
killed() { # RUN
    local kills=0 at=0
    for attempt in 1 2 3 4 5 6 7 8 9; do
        at=$((at + RANDOM % 4 + 1))
        ./base train --data "$data" "${begin[@]}" --quiet --out "$1" --log "$1.jsonl" --resume \
            --threads $((RANDOM % 3 + 1)) >"$1.said" 2>&1 &
        local pid=$!
        watch_log "$1" $pid $at
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
        [ $? = 137 ] || break
        kills=$((kills + 1))
    done
    [ $kills -gt 0 ] || { fail "$1: nothing was killed"; return; }
    train "$1" base --resume --threads 2 || fail "$1: $(cat "$1.said")"
    check "$1, $kills times" equal_files "$1" one
}

pieces() {
    train pieces base --steps 5 --threads 3 || fail "pieces: $(cat pieces.said)"
    check "pieces: the first ends at 5" test -d pieces/step-5
    train pieces base --resume --threads 2 || fail "pieces: $(cat pieces.said)"
    check "in two pieces" equal_files pieces one
}

# SIGTERM within a step: it ends, is saved, and the run goes on. Where the run
# ended before the signal came, again.
stopped() {
    local pid status=0
    for attempt in 1 2 3 4 5 6 7 8 9; do
        rm -rf stopped stopped.jsonl
        ./base train --data "$data" --quiet --out stopped --log stopped.jsonl --threads 2 \
            "${ends[@]}" >said 2>&1 &
        pid=$!
        watch_log stopped $pid 1
        kill -TERM $pid 2>/dev/null
        wait $pid
        status=$?
        [ $status = 0 ] || break
    done
    check "SIGTERM: status $status" test $status = 75
    train stopped base --resume --threads 1 || fail "stopped: $(cat stopped.said)"
    check "stopped and resumed" equal_files stopped one
}

# A token's vector is infinite: a step that reads it has no finite loss, is
# skipped, and leaves weights and moments alone; its data and its rate are spent.
same_state() { # DIRECTORY DIRECTORY
    ./tool same "$1/model.safetensors" "$2/model.safetensors" &&
        ./tool same "$1/optimizer.safetensors" "$2/optimizer.safetensors"
}
skips() {
    { head -c 2500 text.txt; printf ' \001 '; head -c 2500 text.txt; } >rare.txt
    ./tool poison one/step-12/model.safetensors poisoned.safetensors embed.token.weight 1 || exit 1
    local flags=("${ends[@]}" --set train.data.order=sequential --set train.data.split=0
                 --set train.steps=30 --init poisoned.safetensors --data rare.txt)
    train through base "${flags[@]}" --steps 16 || fail "through: $(cat through.said)"
    local step
    step=$(sed -n 's/^{"step":\([0-9]*\),"loss":null.*"skipped":true}$/\1/p' through.jsonl)
    check "one step is skipped ($step)" test "$step" = 11 || return
    train parts base "${flags[@]}" --steps 10
    train parts base "${flags[@]}" --steps 11 --resume
    check "a skipped step changes nothing" same_state parts/step-10 parts/step-11
    check "it is counted" grep -q '"skipped_steps": 1' parts/run.json
    train parts base "${flags[@]}" --steps 16 --resume --threads 3
    check "skipped and resumed" same_state parts/step-16 through/step-16
    cut_log parts >one.log
    cut_log through >two.log
    check "skipped: log" diff one.log two.log
}

diverges() {
    train diverges base --set train.optimizer.lr=1e30 --set train.optimizer.clip=0 --steps 60 \
        "${ends[@]}" --set train.steps=60
    check "diverges: status 5" test $? = 5
    grep '"loss"' diverges.jsonl >lines
    check "diverges: 20 steps skipped" test "$(grep -c true lines)" = 20
    check "diverges: they are the last" test "$(tail -n 20 lines | grep -c true)" = 20
    check "diverges: before step 60" test "$(wc -l <lines)" -lt 60
}

# With a rate of 0 and a sequence a step, a loss names its window: every epoch
# of a shuffled run has those of a sequential one, each once, in an order of its own.
losses() { # RUN FIRST LAST
    sed -n 's/^{"step":[0-9]*,"loss":\([^,]*\),.*/\1/p' "$1.jsonl" | sed -n "$2,$3p"
}
shuffles() {
    build single --set train.batch=1 || return
    head -c 600 text.txt >few.txt       # 20 windows of 29, and the rest
    local flags=("${ends[@]}" --data few.txt --set train.data.split=0 --steps 60
                 --set train.optimizer.lr=0 --set train.schedule.min_lr=0)
    train ordered single "${flags[@]}" --set train.data.order=sequential
    losses ordered 1 20 | sort >windows
    check "20 windows differ" test "$(uniq windows | wc -l)" = 20
    train shuffled single "${flags[@]}"
    train seeded single "${flags[@]}" --seed 8 --init shuffled
    for epoch in 0 1 2; do
        losses shuffled $((epoch * 20 + 1)) $((epoch * 20 + 20)) >epoch$epoch
        check "epoch $epoch has each window once" diff <(sort epoch$epoch) windows
    done
    losses seeded 1 20 >other
    check "another seed has each window once" diff <(sort other) windows
    losses ordered 1 20 >straight
    for order in epoch1 epoch2 other straight; do
        check "orders differ: $order" differ_files epoch0 "$order"
    done
}
differ_files() { ! cmp -s "$1" "$2"; }

# ---- what each spec reads ---------------------------------------------------------
# The data of its kind; of kinds without a text form, the tensors below.
data_of() {
    case $spec in
    bert) echo sentences.txt ;;
    encoder-decoder) echo pairs.tsv ;;
    preference) echo preferences.jsonl ;;
    image | graph) echo tensors.safetensors ;;
    *) echo text.txt ;;
    esac
}
# What preferences are held against: a model of the next token, a little trained.
reference_weights() {
    build next --set train.objective=next-token || return
    train reference next --data text.txt --steps 4 || fail "reference: $(cat reference.said)"
    begin=(--init reference)
}
# Examples as tensors, which are a step's inputs as they are: for the interpreter,
# and lengths of every size down to 0. Nothing for the decoders of next tokens.
tensors_of() {
    case $spec in
    masked) echo tokens=261:29 targets=-261:29 lengths=30 ;;
    bert) echo tokens=262:31 types=2:31 targets=-262:31 lengths=32 labels=-2 ;;
    encoder-decoder) echo source=259:25 source_lengths=26 tokens=259:25 targets=-259:25 \
        lengths=26 ;;
    mixture) echo tokens=257:27 targets=-257:27 lengths=28 ;;
    image) echo images=real:2:9:9 labels=-5 ;;
    graph) echo nodes=real:17:7 edges=2:17:17 lengths=18 labels=-3 ;;
    preference) echo tokens=260:2:24 targets=-260:2:24 lengths=25:2 reference=real:2 ;;
    relative) echo tokens=256:26 targets=-256:26 lengths=27 ;;
    esac
}

# ---- the interpreter ------------------------------------------------------------
# The scalars of a spec's optimizer, for `tool scalars`.
scalars() {
    case $spec in
    bert | relative) echo beta1=0.9 beta2=0.999 epsilon=1e-6 decay=0.01 clip=0.5 smoothing=0 ;;
    encoder-decoder) echo beta1=0.9 beta2=0.98 epsilon=1e-9 decay=0 clip=0 smoothing=0.1 ;;
    graph) echo momentum=0.8 decay=0.05 clip=1.0 smoothing=0 ;;
    masked | image) echo beta1=0.9 beta2=0.95 epsilon=1e-8 decay=0.1 clip=1.0 smoothing=0.05 ;;
    mixture | preference) echo beta1=0.9 beta2=0.95 epsilon=1e-8 decay=0.1 clip=1.0 smoothing=0 ;;
    learned) echo beta1=0.9 beta2=0.95 epsilon=1e-8 decay=0.1 clip=1.0 smoothing=0 ;;
    rotary) echo beta1=0.8 beta2=0.99 epsilon=1e-8 decay=0.01 clip=0.3 smoothing=0 ;;
    alibi) echo momentum=0.9 decay=0.1 clip=0.5 smoothing=0 ;;
    frozen) echo beta1=0.9 beta2=0.95 epsilon=1e-8 decay=0.3 clip=0 smoothing=0.1 ;;
    esac
}
seed() { if [ "$spec" = rotary ]; then echo 7; else echo 1337; fi; }
sequence() { sed -n 's/^  sequence: //p; s/^  context: //p' "$here/specs/$spec.yaml" | tail -n 1; }
in_order() { # the data, and the settings, of a run whose batches the tool makes
    ordered=(--set train.data.order=sequential --set train.data.split=0)
    [ ! -f tensors.safetensors ] || ordered+=(--data tensors.safetensors)
}
interpret() { # IR STEP OUT FLAGS…
    "$compiler" run "$1" --step "$2" --seed "$(seed)" --out "$3" "${@:4}"
}

old=(--in old.safetensors)
step1=(--f32 --step-number 1 "${old[@]}" --in batch1.safetensors --in scalars1.safetensors)
step5=(--f32 --step-number 5 "${old[@]}" --in batch5.safetensors --in scalars5.safetensors
       --in start/step-4/optimizer.safetensors)
given() { # STEP RUN: the inputs of a step that RUN has logged, its rate in nine digits
    local lr
    lr=$(sed -n "s/^{\"step\":$1,.*\"lr\":\([^,]*\),.*/\1/p" "$2.jsonl")
    if [ -f tensors.safetensors ]; then
        ./tool slice tensors.safetensors 8 "$1" "batch$1.safetensors"
    else
        ./tool batch text.txt 8 "$(sequence)" "$1" "batch$1.safetensors"
    fi || exit 1
    # shellcheck disable=SC2046  # a list
    ./tool scalars "$1" "scalars$1.safetensors" "lr=$lr" $(scalars) || exit 1
}

# loss, logits and gradients of `grad`
interpret_grad() { # NAME PROGRAM IR
    local in=("${old[@]}" --in batch5.safetensors --in scalars5.safetensors)
    check "$1: grad" "./$2" grad --weights old.safetensors --batch batch5.safetensors \
        --threads 2 --out grad.safetensors || return
    check "$1: interpreted grad" interpret "$3" grad int.safetensors --f32 "${in[@]}" &&
        check "$1: grad's bits" ./tool within grad.safetensors int.safetensors
    check "$1: grad in float64" interpret "$3" grad f64.safetensors "${in[@]}" &&
        check "$1: float64 agrees" ./tool near grad.safetensors f64.safetensors 1e-4
}

# One step from a checkpoint's weights: of a fresh run, and of the run itself.
interpret_train() { # NAME PROGRAM IR
    train "$1-first" "$2" "${ends[@]}" "${ordered[@]}" --steps 1 --init old.safetensors
    given 1 "$1-first"
    check "$1: step 1 interpreted" interpret "$3" train int.safetensors "${step1[@]}"
    check "$1: step 1's weights" ./tool within "$1-first/step-1/model.safetensors" \
        int.safetensors old.safetensors
    check "$1: step 1's moments" ./tool within "$1-first/step-1/optimizer.safetensors" \
        int.safetensors
    rm -rf "$1-next"
    cp -r start "$1-next"
    train "$1-next" "$2" "${ends[@]}" "${ordered[@]}" --steps 5 --resume
    check "$1: step 5 interpreted" interpret "$3" train int.safetensors "${step5[@]}"
    check "$1: step 5's weights" ./tool within "$1-next/step-5/model.safetensors" \
        int.safetensors old.safetensors
    check "$1: step 5's moments" ./tool within "$1-next/step-5/optimizer.safetensors" \
        int.safetensors
}

# A pass changes no bit: the same step after each. (Groups exist from schedule on.)
interpret_passes() { # PASSES FLAGS…
    local passes=$1
    shift
    for pass in $passes; do
        "$compiler" ir "$here/specs/$spec.yaml" --after $pass "$@" >pass.ir 2>said ||
            { fail "ir --after $pass: $(head -n 1 said)"; continue; }
        check "after $pass: interpreted" interpret pass.ir train pass.safetensors "${step5[@]}" &&
            check "after $pass: bits $*" ./tool within passes.safetensors pass.safetensors
    done
}

interpreter() { # PASSES, of the step as it is; of recomputed blocks; of attention
    in_order
    train start base "${ordered[@]}" --steps 4 --threads 2
    cp start/step-4/model.safetensors old.safetensors
    train five base "${ends[@]}" "${ordered[@]}" --steps 5 --threads 2
    given 5 five
    "$compiler" ir "$here/specs/$spec.yaml" --after place >base.ir
    interpret_grad base base base.ir
    interpret_train base base base.ir
    local cut=(--set reproducible.groups=2 --set train.micro_batch=2 --set memory.recompute=block)
    "$compiler" ir "$here/specs/$spec.yaml" --after place "${cut[@]}" >cut.ir
    build cut "${cut[@]}" && interpret_grad cut cut cut.ir && interpret_train cut cut cut.ir
    interpret base.ir train passes.safetensors "${step5[@]}"
    interpret_passes "$1"
    interpret_passes "$2" --set memory.recompute=block
    interpret_passes "$3" --set memory.recompute=attention
}

# The gradients of reference cases: every kind of model, with large weights, odd
# sizes and padding. EVERY=1: all of them.
cases() {
    local some="random-* gpt2 *lengths* qk-norm* projections* lecture* nothing* sequence-one
        embedding-norm* residual-false* window*"
    mkdir -p "$work/cases"
    cd "$work/cases" || exit 1
    ln -sf ../tool .
    set -- "$root"/tests/reference/cases/*/
    for directory; do
        spec=$(basename "$directory")
        [ -f "$directory/batch.safetensors" ] || continue
        chosen "$spec" "$some" || continue
        local given="$directory" smoothing
        smoothing=$(sed -n 's/.*label_smoothing: \([0-9.]*\).*/\1/p' "$given/spec.yaml")
        ./tool scalars 1 scalars.safetensors "smoothing=${smoothing:-0}" || exit 1
        local in=(--in "$given/weights.safetensors" --in "$given/batch.safetensors"
                  --in scalars.safetensors)
        check "build" "$compiler" build "$given/spec.yaml" -o program || continue
        check "ir" "$compiler" ir "$given/spec.yaml" || continue
        mv said case.ir
        check "grad" ./program grad --weights "$given/weights.safetensors" \
            --batch "$given/batch.safetensors" --out grad.safetensors --threads 2 &&
            check "interpreted grad" interpret case.ir grad int.safetensors --f32 "${in[@]}" &&
            check "grad's bits" ./tool within grad.safetensors int.safetensors
    done
}
chosen() { # NAME PATTERNS
    [ -z "${EVERY:-}" ] || return 0
    local pattern
    set -f
    for pattern in $2; do
        # shellcheck disable=SC2053  # a pattern
        [[ $1 != $pattern ]] || { set +f; return 0; }
    done
    set +f
    return 1
}

# The head's rows come in chunks, whose bounds micro-batches move.
chunks() {
    "$compiler" ir "$here/specs/$spec.yaml" >wide.ir
    check "several chunks" grep -q 'chunks c < [2-9]' wide.ir
    for micro in 1 2; do
        build micro --set train.micro_batch=$micro && way micro$micro micro one --threads 2
    done
    build v3 --cpu x86-64-v3 --set memory.recompute=block && way v3-block v3 one --threads 2
}
finish() {
    cd "$work" || exit 1
    [ -n "${KEEP:-}" ] || rm -rf "${work:?}/$spec"
}

# ---- the specs -----------------------------------------------------------------
every_way() { # COMPILER/LEVEL
    threads "2 3 5"
    targets "$1"
    micro_batches "1 2 4" "2 4"
    recomputations
    killed killed1
    killed killed2
    stopped
    pieces
}
some_ways() { # COMPILER/LEVEL
    threads "2 5"
    targets "$1"
    micro_batches "1 4" 2
    recomputations
    killed killed1
    pieces
}
one_spec() {
    case $spec in
    wide) threads "2 3 5"; chunks; return ;;
    learned) every_way gcc/native ;;
    rotary)
        every_way clang-19/native
        skips       # untied: one infinite row spoils no logits
        diverges
        shuffles ;;
    alibi) every_way gcc/x86-64-v3 ;;
    frozen) every_way clang-19/x86-64-v3 ;;
    masked | image) some_ways gcc/native ;;
    bert | graph) some_ways clang-19/native ;;
    encoder-decoder | preference) some_ways gcc/x86-64-v3 ;;
    *) some_ways clang-19/x86-64-v3 ;;
    esac
    case $spec in
    learned | rotary | alibi | frozen)
        interpreter "autodiff simplify precision recompute schedule fuse" \
            "recompute fuse place" "recompute fuse place" ;;
    *) interpreter "autodiff simplify schedule fuse" "recompute place" "place" ;;
    esac
}

exec {nothing}<> <(:)       # never has a line: a wait with a limit
RANDOM=${SEED:-$$}
echo "random kills: SEED=${SEED:-$$}"
all="learned rotary alibi frozen wide
    masked bert encoder-decoder mixture image graph preference relative"
for spec in ${SPECS-$all}; do
    mkdir -p "$work/$spec"
    cd "$work/$spec" || exit 1
    ln -sf ../tool ../text.txt ../sentences.txt ../pairs.tsv ../preferences.jsonl .
    # shellcheck disable=SC2046  # a list
    [ -z "$(tensors_of)" ] || ./tool examples 45 tensors.safetensors $(tensors_of) || exit 1
    data=$(data_of) begin=()
    [ "$spec" != preference ] || reference_weights || continue
    build base || continue
    if train one base "${ends[@]}" --threads 1; then one_spec; else
        fail "one thread: $(head -n 2 one.said)"
    fi
    finish
done
[ -n "${SPECS:-}" ] || cases
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
