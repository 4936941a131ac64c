#!/bin/bash
# run.sh: ranks that mpirun has started, which share no memory and talk by
# messages: the same bytes in log and checkpoint as of forked ranks, under every
# axis of a plan, by Open MPI and by MPICH; checkpoints that either kind of ranks
# goes on with; messages as foretold; then what goes wrong with a rank, or with
# the start. What is not installed is skipped, and said so.
#
#     tests/mpi/run.sh          builds with ./trainwright
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${TMPDIR:-/tmp}/mpi-test.$$
mkdir "$work" || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $*"; }
check() { # DESCRIPTION COMMAND…: the command must succeed
    local what=$1
    shift
    if "$@" > last.out 2> last.err; then pass; else
        fail "$what"; head -5 last.out last.err
    fi
}
equal() { # DESCRIPTION GOT WANTED
    if [ "$2" = "$3" ]; then pass; else fail "$1: '$2', not '$3'"; fi
}
status() { # DESCRIPTION WANTED COMMAND…
    local what=$1 wanted=$2
    shift 2
    "$@" > last.out 2> last.err
    equal "$what" $? "$wanted"
}
says() { # DESCRIPTION PATTERN: the last command's errors have it, once
    equal "$1 is said once: $2, in $(cat last.err)" \
        "$(grep -cE -- "$2" last.err)" 1
}
same() { # DESCRIPTION FILE FILE
    equal "$1" "$(cmp "$2" "$3" 2>&1)" ""
}
plain_log() { sed 's/"seconds".*"skipped"/"skipped"/' "$1"; }

# ---- what there is ------------------------------------------------------------
"$root/tests/bits/make_tool.sh" tool || exit 1
root_flags=
[ "$(id -u)" != 0 ] || root_flags=--allow-run-as-root
mpirun() { # KIND RANKS COMMAND…
    local kind=$1 ranks=$2
    shift 2
    case $kind in
    openmpi) mpirun.openmpi $root_flags --oversubscribe -np "$ranks" "$@" ;;
    mpich) mpirun.mpich -np "$ranks" "$@" ;;
    esac < /dev/null            # it would take what is for the loops here
}
kinds=
for kind in openmpi mpich; do
    if command -v mpirun.$kind > where; then
        kinds="$kinds $kind"
    else
        echo "skipped: $kind is not installed (apt-get install" \
            "$([ $kind = openmpi ] && echo openmpi-bin || echo mpich))"
    fi
done

# ---- collectives, and a rank that hangs ---------------------------------------
compile() { # NAME: of tests/ranks
    gcc -std=gnu11 -O1 -ffp-contract=off -I"$root/runtime" \
        "$root/tests/ranks/$1.c" "$root"/runtime/*.c -o "$1" -lm -lpthread -ldl
}
if [ -n "$kinds" ]; then
    check "collectives compile" compile collectives
    check "stuck compiles" compile stuck
fi
for kind in $kinds; do
    check "collectives by $kind: data 3" mpirun $kind 3 ./collectives 3 1 1 1 2
    check "collectives by $kind: data 2, stages 2" mpirun $kind 4 \
        ./collectives 2 2 1 1 1
    check "collectives by $kind: tensor 2, context 2" mpirun $kind 4 \
        ./collectives 1 1 2 2 1
done
echo some text of forty letters at least, to train on > few.txt
for kind in $kinds; do
    began=$EPOCHREALTIME
    mpirun $kind 2 env STUCK=sleep STUCK_RANK=1 ./stuck train --data few.txt \
        --quiet --steps 6 --out hangs-$kind > last.out 2> last.err
    status=$? took=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
    [ $took -le 6000 ] && pass ||    # its start, two steps and its end
        fail "a rank hangs by $kind: took $took ms"
    echo "a rank hangs by $kind: $took ms with start and end"
    # MPICH's mpirun may tell the signal by which it ended a rank in place of
    # the status of the one that gave up; Open MPI's does not.
    [ $kind = mpich ] && case $status in 1 | 9) status=6 ;; esac
    equal "a rank hangs by $kind: status" $status 6
    says "a rank hangs by $kind" "rank 1 of 2 did nothing for 2\.5 seconds \
in step 3; .* \"sum targets\" \(stuck.yaml:7\)"
done

# ---- plans --------------------------------------------------------------------
cat > plan.yaml <<'END'
name: plan
model: {vocab: 256, context: 32, dim: 32, heads: 2, blocks: 4}
train:
  batch: 8
  steps: 6
  optimizer: {lr: 3e-3}
  schedule: {warmup: 2, min_lr: 3e-4}
  checkpoint: {every: 3}
  eval: {every: 3, steps: 2}
reproducible: {groups: 4}
END
sed 's/blocks: 4}/blocks: 2, experts: {count: 4, top_k: 2}}/' plan.yaml \
    > experts.yaml
head -c 20000 "$root/runtime/safetensors.c" > data.txt
# NAME RANKS SPEC KEYS FLAGS
plans='data 2 plan data=2
moments 2 plan data=2,shard=optimizer
gradients 2 plan data=2,shard=gradients
weights 2 plan data=2,shard=parameters
still 2 plan data=2,shard=parameters,overlap=false
gpipe 2 plan stages=2,schedule=gpipe,micro=1
steady 2 plan stages=2,schedule=1f1b,micro=1
interleaved 2 plan stages=2,schedule=interleaved,virtual=2,micro=1
tensor 2 plan tensor=2
sequence 2 plan tensor=2,sequence_parallel=true
context 2 plan context=2 --via=cc
experts 2 experts data=2,experts=2
slices 4 experts data=2,experts=2,tensor=2
sets 4 experts data=4,experts=2,shard=parameters,shard_group=2
apart 4 experts data=2,experts=2,stages=2,shard=parameters,micro=1
mixed 4 plan data=2,stages=2,shard=optimizer,micro=1
folded 4 plan data=2,tensor=2,shard=gradients
groups 4 plan data=4,shard=parameters,shard_group=2
fast 2 plan data=2,shard=gradients,order=fast,micro=1'
train() { # NAME PREFIX: the command; what NAME writes is PREFIX-NAME…
    echo ./p-"$1" train --data data.txt --threads 1 --quiet --out "$2-$1" \
        --log "$2-$1.jsonl"
}
# What MPI ranks have written is what forked ones have.
compare() { # DESCRIPTION NAME PREFIX
    plain_log "$3-$2.jsonl" > got.log
    plain_log forked-"$2".jsonl > wanted.log
    same "$1: log" got.log wanted.log
    for file in model optimizer; do
        same "$1: $file" "$3-$2"/step-6/$file.safetensors \
            forked-"$2"/step-6/$file.safetensors
    done
}
while read -r name ranks spec keys flags; do
    sets=
    for key in ${keys//,/ }; do
        case $key in
        stages=* | schedule=* | virtual=*) key=parallel.pipeline.$key ;;
        micro=*) key=train.micro_batch=${key#*=} ;;
        order=*) key=reproducible.$key ;;
        *) key=parallel.$key ;;
        esac
        sets="$sets --set $key"
    done
    check "build $name" "$root/trainwright" build $spec.yaml $sets $flags \
        -o p-"$name"
    check "$name, forked" $(train "$name" forked)
    for kind in $kinds; do
        check "$name by $kind" mpirun "$kind" "$ranks" $(train "$name" "$kind")
        compare "$name by $kind" "$name" "$kind"
        equal "$name by $kind: messages as foretold" "$(awk -F'[:,}]' '
            /"predicted"/ { foretold = $2 }
            /"counted"/ { n++; wrong += $2 != foretold; fewer = $2 < foretold }
            /"at_most": true/ { wrong -= fewer }
            END { print (n > 0), wrong + 0 }' "$kind-$name"/run.json)" "1 0"
    done
done <<< "$plans"

# ---- other commands, resumed runs ---------------------------------------------
check "a batch" ./tool examples 8 batch.safetensors tokens=256:32 targets=-256:32
for name in weights steady context folded; do
    ranks=2
    [ $name != folded ] || ranks=4
    weights="--weights forked-$name/step-6 --threads 1"
    check "$name, forked: grad" ./p-$name grad $weights \
        --batch batch.safetensors --out wanted.safetensors
    check "$name, forked: eval" ./p-$name eval $weights --data data.txt
    cp last.out eval
    for kind in $kinds; do
        check "$name by $kind: grad" mpirun $kind $ranks ./p-$name grad \
            $weights --batch batch.safetensors --out got.safetensors
        same "$name by $kind: grad" got.safetensors wanted.safetensors
        check "$name by $kind: eval" mpirun $kind $ranks ./p-$name eval \
            $weights --data data.txt
        same "$name by $kind: eval" last.out eval
    done
done
for kind in $kinds; do
    name=mixed
    check "$kind: half a run" mpirun $kind 4 $(train $name half-$kind) --steps 3
    check "forked ranks go on with it" $(train $name half-$kind) --resume
    compare "forked ranks go on with $kind's" $name half-$kind
    rm -rf half-$kind*
    check "half a run of forked ranks" $(train $name half-$kind) --steps 3
    check "$kind goes on with it" mpirun $kind 4 $(train $name half-$kind) \
        --resume
    compare "$kind goes on with forked ranks'" $name half-$kind
    check "$kind: bench" mpirun $kind 2 ./p-data bench --steps 2 --threads 1
    check "$kind: info" mpirun $kind 2 ./p-data info
    equal "$kind: info is printed once" "$(grep -c '^name ' last.out)" 1
    mpirun $kind 2 ./p-data train --data data.txt --threads 1 --out shown-$kind \
        --steps 1 > shown.txt 2> last.err
    check "$kind: the plan is shown" grep -qE \
        "^2 ranks: data 2, 1 thread each; .*16.0 MiB" shown.txt
done

# The reference of preferences is scored by one rank and read by all.
preference=$root/tests/bits/specs/preference.yaml
for i in $(seq 60); do
    echo "{\"prompt\": \"question $i\", \"chosen\": \"an answer of $i\"," \
        "\"rejected\": \"none $((i * 7 % 13))\"}"
done > pairs.jsonl
check "build weights to begin with" "$root/trainwright" build $preference \
    --set train.objective=next-token -o p-begin
check "weights to begin with" ./p-begin train --data data.txt --steps 1 \
    --out begin --quiet
check "build preference" "$root/trainwright" build $preference \
    --set parallel.data=2 -o p-preference
prefer() { # OUT
    echo ./p-preference train --data pairs.jsonl --init begin --threads 1 \
        --quiet --steps 6 --out "$1-preference" --log "$1-preference.jsonl"
}
check "preference, forked" $(prefer forked)
for kind in $kinds; do
    check "preference by $kind" mpirun $kind 2 $(prefer $kind)
    compare "preference by $kind" preference $kind
done

# ---- accidents ----------------------------------------------------------------
# Starts a long run and waits until it steps; ranks[r] is then rank r's process.
begin() { # KIND NAME RANKS
    local turn pid number
    rm -rf run run.jsonl
    mpirun "$1" "$3" ./p-"$2" train --data data.txt --threads 1 --quiet \
        --out run --log run.jsonl --steps 1000000 > last.out 2> last.err &
    job=$!
    for turn in $(seq 200); do
        [ "$(wc -l 2> nowhere < run.jsonl || echo 0)" -gt 3 ] && break
        sleep 0.05
    done
    ranks=()
    for pid in $(pgrep -f "^./p-$2 train .*--out run "); do
        number=$(tr '\0' '\n' < /proc/$pid/environ |
            sed -n 's/^\(OMPI_COMM_WORLD_RANK\|PMI_RANK\)=//p' | head -n 1)
        ranks[number]=$pid
    done
}
ends() { # DESCRIPTION SECONDS: sets `ended` to the status
    local from=$EPOCHREALTIME
    wait $job 2> nowhere
    ended=$?
    local took=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
    [ $took -le $(($2 * 1000)) ] && pass || fail "$1: took $took ms"
    equal "$1 leaves processes" \
        "$(pgrep -fc "^./p-[a-z]* train .*--out run ")" 0
}
for kind in $kinds; do
    begin $kind mixed 4
    kill -KILL ${ranks[2]}
    ends "$kind: a rank is killed" 5
    [ $ended != 0 ] && pass || fail "$kind: a rank is killed: status 0"
    begin $kind data 2
    kill -STOP ${ranks[1]}
    ends "$kind: a rank is stopped" 5
    equal "$kind: a rank is stopped: status" $ended 6
    says "$kind: a rank is stopped" "rank 1 of 2 stayed stopped for 1\.5 seconds, \
while rank 0 waited for it in \"[a-z ]+\" \(--set parallel.data:1\)"
    for who in "a rank" mpirun; do
        begin $kind steady 2
        [ "$who" = mpirun ] && kill -TERM $(pgrep -P $job) ||
            kill -TERM ${ranks[0]}
        ends "$kind: SIGTERM to $who" 5
        # Asked itself, Open MPI's mpirun ends with a status of its own, and
        # MPICH's may end before its ranks' status has come.
        [ "$who" = mpirun ] ||
            equal "$kind: SIGTERM to $who: status" $ended 75
        says "$kind: SIGTERM to $who" \
            "^stopped by SIGTERM after step [0-9]+; go on with --resume"
        last=$(sed -n 's/^{"step":\([0-9]*\).*/\1/p' run.jsonl | tail -n 1)
        check "$kind: SIGTERM to $who: a checkpoint" \
            test -f run/step-$last/state.json
    done
done

# ---- a start that goes wrong --------------------------------------------------
data="train --data data.txt --out wrong --quiet"
status "too many processes" 2 env OMPI_COMM_WORLD_SIZE=3 ./p-data $data
says "too many processes" "this plan has 2 ranks, and 3 processes were started"
status "too few processes" 2 env PMI_SIZE=1 ./p-data $data
says "too few processes" "this plan has 2 ranks, and 1 process was started"
for kind in $kinds; do
    mpirun $kind 3 ./p-data $data > last.out 2> last.err
    equal "$kind: too many processes: status" $? 2
    says "$kind: too many processes" "2 ranks, and 3 processes were started"
    mpirun $kind 1 ./p-data $data : -np 1 ./p-weights $data \
        > last.out 2> last.err
    equal "$kind: two programs: status" $? 1
    says "$kind: two programs" "rank 1 is of another program than rank 0"
    mpirun $kind 2 ./p-data train --data nothing.txt --out wrong --quiet \
        > last.out 2> last.err
    equal "$kind: no data: status" $? 1
    says "$kind: no data" "p-data: error: .*nothing.txt"
done
case $kinds in
*openmpi*) ;;
*)
    status "no Open MPI" 3 env OMPI_COMM_WORLD_SIZE=2 ./p-data $data
    says "no Open MPI" "libmpi.so.40 is not here: apt-get install libopenmpi3"
    ;;
esac
case $kinds in
*mpich*) ;;
*)
    status "no MPICH" 3 env PMI_SIZE=2 ./p-data $data
    says "no MPICH" "libmpich.so.12 is not here: apt-get install libmpich12"
    ;;
esac

echo "mpi: $passed passed, $failed failed"
[ $failed = 0 ]
