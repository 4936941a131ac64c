# accidents.sh: kills, signals, damage, full disks (sourced by run.sh).

# kill -9 at random moments, until the run is done
RANDOM=11
for round in 1 2 3; do
    rm -rf killed killed.jsonl
    for attempt in $(seq 60); do
        FAKE_SLEEP=5 $train --out killed --log killed.jsonl --resume \
            --set train.checkpoint.every=4 --threads $((RANDOM % 3 + 1)) \
            2> /dev/null &
        pid=$!
        sleep 0.$((RANDOM % 2))$((RANDOM % 8 + 2))
        kill -9 $pid 2> /dev/null
        wait $pid 2> /dev/null
        [ $? = 0 ] && break
    done
    check "killed run $round ends" $train --out killed --log killed.jsonl --resume
    same_run "killed run $round" killed killed.jsonl
    tidy "killed run $round" killed
done

# SIGTERM and SIGINT: a checkpoint, 75, the same bits afterwards
for name in TERM INT; do
    FAKE_SLEEP=20 $train --out sig$name --log sig$name.jsonl 2> last.err &
    pid=$!
    sleep 0.3
    kill -$name $pid
    wait $pid
    equal "SIG$name" $? 75
    says "SIG$name" "stopped by SIG$name after step"
    check "resumed" $train --out sig$name --log sig$name.jsonl --resume
    same_run "SIG$name" sig$name sig$name.jsonl
    tidy "SIG$name" sig$name
done

# in an evaluation: abandoned, then made up for
FAKE_EVAL_SLEEP=200 $train --out sige --log sige.jsonl 2> /dev/null &
pid=$!
sleep 0.4
kill -TERM $pid
wait $pid
equal "signal in an evaluation" $? 75
equal "is due" "$(./tool member sige/step-10/state.json evaluation_due)" true
equal "not logged" "$(grep -c eval_loss sige.jsonl)" 0
FAKE_EVAL_SLEEP=200 $train --out sige --log sige.jsonl --resume 2> /dev/null &
pid=$!
sleep 0.3
kill -TERM $pid
wait $pid
equal "signal again" $? 75
check "resumed" $train --out sige --log sige.jsonl --resume
same_run "signal in an evaluation" sige sige.jsonl

# a second signal ends at once
FAKE_SLEEP=3000 $train --out sig2 &
pid=$!
sleep 0.3
kill -TERM $pid
sleep 0.1
kill -TERM $pid
wait $pid 2> /dev/null
equal "second signal" $? 143

# before step 1, here while a large file is hashed: nothing to save
truncate -s 3G sparse.txt
./fake train --data sparse.txt --out early --quiet 2> last.err &
pid=$!
sleep 0.3
kill -TERM $pid
wait $pid
equal "signal before step 1" $? 75
says "signal before step 1" "after step 0"
equal "nothing is made" "$(ls -d early 2> /dev/null)" ""
rm -f sparse.txt

# two runs in one directory
FAKE_SLEEP=50 $train --out locked 2> /dev/null &
pid=$!
sleep 0.3
status "locked" 1 $train --out locked --resume
says "locked" "another run"
kill -TERM $pid
wait $pid

# damage: one bit, a missing part, a torn state; then all of it
copy() { rm -rf broken; cp -r straight broken; cp straight.jsonl broken.jsonl; }
damage() { # DESCRIPTION TEXT
    status "$1" 0 $train --out broken --log broken.jsonl --resume
    says "$1" "step-40 is damaged"
    says "$1" "$2"
    same_run "$1" broken broken.jsonl
    check "$1: set aside" test -d broken/step-40.damaged
}
copy; ./tool flip broken/step-40/model.safetensors -5
damage "a bit of the weights" "model.safetensors is not what was written"
copy; ./tool flip broken/step-40/optimizer.safetensors 20
damage "a bit of the moments" "optimizer.safetensors is not what was written"
copy; rm broken/step-40/optimizer.safetensors
damage "no moments" "optimizer.safetensors"
copy; rm broken/step-40/state.json
damage "no state" "state.json"
copy; truncate -s 100 broken/step-40/state.json
damage "torn state" "state.json"
copy; truncate -s 5000 broken/step-40/model.safetensors
damage "short weights" "model.safetensors"
copy; sed -i 's/"step": 40/"step": 41/' broken/step-40/state.json
damage "another step" "state.json is not what was written"
copy; sed -i 's/"step": 40/"step": -40/' broken/step-40/state.json
damage "a negative step" "state.json is not what was written"
copy; sed -i 's/"updates": 40/"updates": 39/' broken/step-40/state.json
damage "a digit" "state.json is not what was written"
seal() { # FILE: gives a state.json that was meddled with its checksum again
    head -c -83 "$1" > sealed
    printf ',\n  "sha256": "%s"\n}\n' "$(sha256sum < sealed | cut -d' ' -f1)" \
        >> sealed
    cp sealed "$1"
}
copy; sed -i 's/"step": 40/"step": 41/' broken/step-40/state.json
seal broken/step-40/state.json
damage "another step, sealed" "state.json is of step 41"
copy; sed -i 's/"step": 40/"step": -4/' broken/step-40/state.json
seal broken/step-40/state.json
damage "a negative step, sealed" "no good step"
copy; sed -i 's/"model.safetensors"/"..\/..\/data.txt"/' broken/step-40/state.json
seal broken/step-40/state.json
damage "a path in state.json" "names a file badly"
copy; : > broken/step-40/state.json
damage "empty state" "state.json"
copy; rm -r broken/step-40/model.safetensors; mkdir broken/step-40/model.safetensors
damage "a directory" "model.safetensors"
copy
for step in 30 40; do ./tool flip broken/step-$step/model.safetensors -9; done
status "all damaged" 1 $train --out broken --resume
says "all damaged" "step-40 is damaged"
says "all damaged" "step-30 is damaged"
status "damaged weights" 1 ./fake eval --weights broken --data data.txt
check "run.json damaged" sh -c 'rm -rf broken; cp -r two broken
    echo "{" > broken/run.json
    ./fake train --data data.txt --quiet --out broken --resume --steps 43'

# full disks: status 3, older checkpoints stand, nothing half-written
check "10 steps" $train --out full --steps 10
status "file-size limit" 3 sh -c "ulimit -f 60; $train --out full --resume"
tidy "file-size limit" full
equal "older stands" "$(ls full | tr '\n' ' ')" "run.json step-10 "
check "goes on" $train --out full --log full.jsonl --resume
same "goes on" full/step-40/model.safetensors straight/step-40/model.safetensors
status "full log" 3 $train --out fulllog --log /dev/full --steps 3
mkdir disk
if mount -t tmpfs -o size=400k tmpfs disk 2> /dev/null; then
    status "full disk" 3 $train --out disk/run --set train.checkpoint.keep=9
    says "full disk" "No space left"
    tidy "full disk" disk/run
    check "older is whole" ./fake eval --weights disk/run --data data.txt
    check "with room again" sh -c "mount -o remount,size=4m disk &&
        $train --out disk/run --resume"
    same "full disk" disk/run/step-40/model.safetensors \
        straight/step-40/model.safetensors
    umount disk
else
    echo "skipped: no tmpfs can be mounted here (full disk)"
fi
status "unwritable out" 1 $train --out /proc/nothing
status "out is a file" 1 $train --out data.txt
