#!/bin/bash
# run.sh: programs on several ranks. First the collectives by themselves
# (collectives.c); then compiled programs: the same bits under every plan, files
# that any other plan goes on with; then all that can go wrong with a rank: it is
# killed, stopped, hangs, fails, is asked to stop. In every case all must end in
# time, with the right status, what happened said once, nothing left behind.
#
#     tests/ranks/run.sh          builds with ./trainwright and ${CC:-gcc}
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${TMPDIR:-/tmp}/ranks-test.$$
mkdir "$work" || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0 failed=0
shm=$(ls /dev/shm | wc -l)

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
alive() { # NAME: how many processes; not the dead that nobody asked after
    ps -C "$1" -o stat= | grep -vc Z
}
gone() { # DESCRIPTION NAME: no process of that name is there, soon
    for turn in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(alive "$2")" = 0 ] && break
        sleep 0.1
    done
    equal "$1 leaves processes" "$(alive "$2")" 0
}
plain_log() { sed 's/"seconds".*"skipped"/"skipped"/' "$1"; }
state() { sed -n 's/.*"state_hash": "\([0-9a-f]*\)".*/\1/p' "$1/state.json"; }

# ---- collectives --------------------------------------------------------------
: "${CC:=gcc}"
flags="-std=gnu11 -Wall -Wextra -Wpedantic -Werror -ffp-contract=off -O2 -g"
compile() { # NAME SOURCE
    $CC $flags -I"$root/runtime" "$here/$2" "$root"/runtime/*.c -o "$1" \
        -lm -lpthread -ldl
}
check "collectives compile" compile collectives collectives.c
./collectives > last.out
grep -v passed last.out
counts=$(tail -n 1 last.out)
passed=$((passed + $(echo "$counts" | sed -n 's/^\([0-9]*\) passed.*/\1/p')))
failed=$((failed + $(echo "$counts" | sed -n 's/.* \([0-9]*\) failed/\1/p')))

# ---- plans --------------------------------------------------------------------
cat > plan.yaml <<'END'
name: plan
model: {vocab: 256, context: 32, dim: 32, heads: 2, blocks: 4}
train:
  batch: 8
  steps: 24
  optimizer: {lr: 3e-3}
  schedule: {warmup: 4, min_lr: 3e-4}
  checkpoint: {every: 8}
  eval: {every: 8, steps: 5}
reproducible: {groups: 4}
END
head -c 20000 "$root/runtime/safetensors.c" > data.txt
plans='one data=1
two data=2
four data=4
moments data=2,shard=optimizer
gradients data=2,shard=gradients
weights data=4,shard=parameters
stages data=1,pipeline.stages=2
four-stages data=1,pipeline.stages=4
both data=2,pipeline.stages=2'
names=$(echo "$plans" | cut -d' ' -f1)
while read -r name keys; do
    sets=
    for key in ${keys//,/ }; do
        sets="$sets --set parallel.$key"
    done
    [ "$name" = one ] || [ "${keys%pipeline*}" = "$keys" ] ||
        sets="$sets --set train.micro_batch=1"
    check "build $name" "$root/trainwright" build plan.yaml $sets -o p-"$name"
    check "$name trains" ./p-"$name" train --data data.txt --out o-"$name" \
        --log "$name".jsonl --quiet
    plain_log "$name".jsonl > "$name".log
    equal "$name: losses" "$(cmp "$name".log one.log 2>&1)" ""
    equal "$name: state" "$(state o-"$name"/step-24)" "$(state o-one/step-24)"
    check "$name evaluates" ./p-"$name" eval --weights o-one/step-24 \
        --data data.txt
    cp last.out eval-"$name"
    equal "$name: evaluation" "$(cmp eval-"$name" eval-one 2>&1)" ""
done <<< "$plans"
for from in $names; do
    for to in one four weights both; do
        cp -r o-$from go-on
        cp $from.jsonl go-on.jsonl
        rm -rf go-on/step-24
        check "$to goes on with $from" ./p-$to train --data data.txt \
            --out go-on --log go-on.jsonl --quiet --resume
        plain_log go-on.jsonl > go-on.log
        grep -v 'eval_loss.*:24}' one.log > wanted
        grep -v 'eval_loss.*:24}' go-on.log > got
        equal "$to goes on with $from" "$(cmp got wanted 2>&1)" ""
        equal "$to goes on with $from: state" "$(state go-on/step-24)" \
            "$(state o-one/step-24)"
        rm -rf go-on
    done
done
for words in '"ranks": 4' '"counted": 24'; do
    check "run.json says $words" grep -q "$words" o-four/run.json
done
./p-four train --data data.txt --out shown --threads 1 --steps 2 > shown.txt
check "the plan is shown" grep -qx "4 ranks: data 4, 1 thread each" shown.txt
./p-both info > shown.txt
check "info has stages" grep -q "^stage 1" shown.txt
check "bench" ./p-four bench --steps 2

# ---- accidents ----------------------------------------------------------------
# Starts a long run of BIN in the directory `run` and waits until it steps.
begin() { # BIN FLAGS…
    local bin=$1
    shift
    rm -rf run run.jsonl
    ./"$bin" train --data data.txt --out run --log run.jsonl --quiet \
        --steps 1000000 "$@" > last.out 2> last.err &
    launcher=$!
    for turn in $(seq 100); do
        [ "$(wc -l 2> /dev/null < run.jsonl || echo 0)" -gt 3 ] && break
        sleep 0.05
    done
    ranks=($(pgrep -P $launcher))
}
# Waits for its end: in so many seconds, with that status.
ends() { # DESCRIPTION BIN STATUS SECONDS
    local from=$EPOCHREALTIME got
    wait $launcher 2> /dev/null
    got=$?
    local took=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
    equal "$1: status" $got "$3"
    [ $took -le $(($4 * 1000)) ] && pass || fail "$1: took $took ms"
    gone "$1" "$2"
}

for rank in 0 1 2 3; do
    for bin in p-four p-both p-weights; do
        begin $bin
        kill -KILL ${ranks[$rank]}
        ends "$bin: rank $rank is killed" $bin 6 5
        says "$bin: rank $rank is killed" \
            "rank $rank of 4 was killed by signal 9 \(Killed\) .* \"[a-z ]+.*\" \(.*:"
    done
done
for rank in 0 3; do
    begin p-both
    kill -STOP ${ranks[$rank]}
    ends "rank $rank is stopped" p-both 6 5
    says "rank $rank is stopped" "rank $rank of 4 stayed stopped .* \".*\" \(.*:[0-9]+"
done
begin p-both
kill -STOP ${ranks[1]} ${ranks[2]}
ends "two ranks are stopped" p-both 6 5
says "two ranks are stopped" "rank 1 of 4 stayed stopped .* \".*\" \(.*:[0-9]+"
begin p-both
kill -STOP "${ranks[@]}"
ends "all ranks are stopped" p-both 6 5
begin p-four
kill -SEGV ${ranks[2]}
ends "a rank is at fault" p-four 6 5
says "a rank is at fault" "rank 2 of 4 was killed by signal 11"
begin p-four
kill -KILL $launcher
ends "the launcher is killed" p-four 137 1

for who in launcher 0 3; do
    begin p-four
    [ $who = launcher ] && pid=$launcher || pid=${ranks[$who]}
    kill -TERM $pid
    ends "SIGTERM to $who" p-four 75 5
    says "SIGTERM to $who" \
        "^stopped by SIGTERM after step [0-9]+; go on with --resume"
    last=$(sed -n 's/^{"step":\([0-9]*\).*/\1/p' run.jsonl | tail -n 1)
    check "SIGTERM to $who: a checkpoint" test -f run/step-$last/state.json
done

# The whole job stopped for a while, as by Ctrl-Z and fg.
begin p-four
kill -STOP $launcher ${ranks[*]}
sleep 4.5
kill -CONT $launcher ${ranks[*]}
sleep 1
kill -TERM $launcher
ends "a job that was stopped" p-four 75 5

# Said once, whoever finds it.
status "no data" 1 ./p-four train --data nothing.txt --out x --quiet
says "no data" "nothing.txt"
status "a bad flag" 2 ./p-four train --data data.txt --bad
status "a bad key" 1 ./p-four train --data data.txt --out x --set model.dim=3
says "a bad key" "error:"
status "no weights" 1 ./p-four eval --weights nothing --data data.txt
equal "no weights: lines" "$(wc -l < last.err)" 1
status "a run is there" 1 ./p-four train --data data.txt --out o-four --quiet
says "a run is there" "holds a run"
status "a full disk" 3 bash -c 'ulimit -f 64
    ./p-four train --data data.txt --out full --quiet'
equal "a full disk: lines" "$(wc -l < last.err)" 1
equal "a full disk: nothing half-written" "$(find full -name '*tmp*' | wc -l)" 0

# ---- a rank that hangs, and other faults --------------------------------------
check "stuck compiles" compile stuck stuck.c
stuck="./stuck train --data data.txt --quiet --steps 6 --out"
status "nothing is wrong" 0 $stuck fine
status "a slow step" 0 env STUCK=slow STUCK_RANK=1 $stuck slow
for rank in 0 1; do
    from=$EPOCHREALTIME
    status "rank $rank hangs" 6 env STUCK=sleep STUCK_RANK=$rank $stuck hang$rank
    took=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
    [ $took -le 5500 ] && pass || fail "rank $rank hangs: took $took ms"
    says "rank $rank hangs" "rank $rank of 2 did nothing for 4 seconds in step 3,"
    says "rank $rank hangs" "waited for it in \"sum targets\" \(stuck.yaml:7\)"
done
status "a rank ends" 6 env STUCK=exit STUCK_RANK=1 $stuck gone
says "a rank ends" "rank 1 of 2 ended with status 9 .* \"sum targets\""
status "a message too many" 3 env STUCK=count $stuck many
says "a message too many" "internal error: .*\"sum targets\""
status "diverged" 5 env FAKE_NAN=2-90 ./stuck train --data data.txt --quiet \
    --out diverged
says "diverged" "training diverged"
FAKE_SLEEP=3000 ./stuck train --data data.txt --quiet --out twice \
    > last.out 2> last.err &
launcher=$!
sleep 1
kill -TERM $launcher
sleep 0.3
kill -TERM $launcher
ends "a second signal" stuck 143 1
gone "all" stuck

equal "nothing is left in /dev/shm" "$(ls /dev/shm | wc -l)" "$shm"
echo "ranks: $passed passed, $failed failed"
[ $failed = 0 ]
