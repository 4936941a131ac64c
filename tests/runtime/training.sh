# training.sh: straight runs, their log, resuming and --init (sourced).

check "straight" $train --out straight --log straight.jsonl --threads 2
./tool log straight.jsonl > straight.cut
equal "lines" "$(wc -l < straight.jsonl)" 44
equal "evaluations" "$(grep -c eval_loss straight.jsonl)" 4
equal "kept" "$(ls straight | tr '\n' ' ')" "run.json step-30 step-40 "
check "a line's form" grep -qE '^\{"step":1,"loss":[0-9.]+,"lr":0.002,"grad_norm":[0-9.]+,"tokens":64,"seconds":[0-9.e-]+,"tokens_per_s":[0-9.]+,"skipped":false\}$' straight.jsonl
equal "run.json checkpoints" "$(./tool member straight/run.json checkpoints)" 4
equal "run.json data" "$(./tool member straight/run.json data)" 1
equal "run.json binary" "$(./tool member straight/run.json binary_hash)" \
    "$(sha256sum fake | cut -d' ' -f1)"
equal "sha256" "$(./tool member straight/step-40/state.json files/model.safetensors)" \
    "$(sha256sum straight/step-40/model.safetensors | cut -d' ' -f1)"
for threads in 1 3 7; do
    check "threads $threads" $train --out t$threads --log t.jsonl \
        --threads $threads
    same_run "threads $threads" t$threads t.jsonl
done
check "directories above" $train --out deep/er/run --steps 1
check "seed" $train --out seed --seed 7 --steps 2
if cmp -s seed/step-2/model.safetensors straight/step-40/model.safetensors
then fail "a seed changes nothing"; else pass; fi
status "out holds a run" 1 $train --out straight
says "out holds a run" "--resume"
status "no data" 1 ./fake train --quiet --out x
status "missing data" 1 ./fake train --data nothing.txt --quiet --out x
status "directory as data" 1 ./fake train --data . --quiet --out x

# Stopping early and going on: the horizon stays.
check "20 steps" $train --out two --log two.jsonl --steps 20
check "20 more" $train --out two --log two.jsonl --resume
same_run "two starts" two two.jsonl
equal "resumed at" "$(./tool member two/run.json resumed)" 1
equal "marks" "$(./tool member two/run.json checkpoints)" 4
check "nothing to do" $train --out two --log two.jsonl --resume
same_run "nothing to do" two two.jsonl
status "afresh" 0 $train --out fresh --log fresh.jsonl --resume
says "afresh" "starting afresh"
same_run "afresh" fresh fresh.jsonl
check "fewer steps" $train --out two --resume --steps 5
check "differences" $train --out two --resume --steps 41 --seed 3 \
    --set train.optimizer.lr=3e-3
says "differences" "differs: train.optimizer.lr was 1e-2, is 3e-3"
says "differences" "differs: train.seed was 1337, is 3"
status "another model" 1 ./other train --data data.txt --quiet --out two --resume
says "another model" "another model"

# The log is cut at the checkpoint's step, torn lines too.
check "25 steps" $train --out cut --log cutlog.jsonl --steps 25
rm -r cut/step-25
printf '{"step":26,"lo' >> cutlog.jsonl
check "cut" $train --out cut --log cutlog.jsonl --resume
grep -v '"step":25}' cutlog.jsonl > cutlog2.jsonl
same_run "cut log" cut cutlog2.jsonl
check "foreign" $train --out foreign --steps 10
printf 'my notes\n' > notes
status "foreign log" 1 $train --out foreign --log notes --resume
equal "foreign log stands" "$(cat notes)" "my notes"
printf 'my notes' > notes
status "foreign log without a newline" 1 $train --out foreign --log notes --resume
equal "foreign log stands" "$(cat notes)" "my notes"
head -c 9000 /dev/zero | tr '\0' x > notes
status "foreign log of one line" 1 $train --out foreign --log notes --resume
equal "foreign log stands" "$(wc -c < notes)" 9000

# --init
check "init" $train --out init --init straight/step-40 --steps 1
check "init from a run" $train --out init2 --init straight --steps 1
same "init" init/step-1/model.safetensors init2/step-1/model.safetensors
check "init from a file" $train --out init3 \
    --init straight/step-40/model.safetensors --steps 1
same "init" init/step-1/model.safetensors init3/step-1/model.safetensors
./tool tensor some.safetensors blocks.1.ff.bias f32 1 2 3 4 5 6 7 8 9 10 11 12 \
    13 14 15 16
status "init lacks" 1 $train --out init4 --init some.safetensors
says "init lacks" "lacks embed.token.weight"
check "init partial" $train --out init4 --init some.safetensors \
    --init-partial --steps 1 --resume
says "init partial" "1 of 6 parameters taken"
says "init partial" "not in some.safetensors: head.weight"
./tool tensor wide.safetensors blocks.1.ff.bias f32 1 2 3
status "init shape" 1 $train --out init5 --init wide.safetensors
says "init shape" "is [3], not [16]"
./tool tensor odd.safetensors strange f32 1
check "init partial, unused" $train --out init5 --init odd.safetensors \
    --init-partial --steps 1 --resume
says "init partial, unused" "not used: strange"
status "init other" 0 ./other train --data data.txt --quiet --out init6 \
    --init straight --steps 1
says "init other" "another model"

# Shards with an index, as above 5 GB
sharded="./sharded train --data data.txt --quiet --out shards"
check "shards" $sharded --steps 20
equal "shards" "$(ls shards/step-20 | tr '\n' ' ')" \
    "model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json optimizer-00001-of-00004.safetensors optimizer-00002-of-00004.safetensors optimizer-00003-of-00004.safetensors optimizer-00004-of-00004.safetensors optimizer.safetensors.index.json state.json "
cp -r shards shards2
check "shards resumed" $sharded --resume
equal "shards: state" "$(./tool member shards/step-40/state.json state_hash)" \
    "$(./tool member straight/step-40/state.json state_hash)"
rm shards2/step-20/model-00002-of-00002.safetensors
check "a shard is missing" ./sharded eval --weights shards2 --data data.txt
says "a shard is missing" "step-20 is damaged"
check "shards as weights" ./fake eval --weights shards --data data.txt

# A reader that leaves does not end the run.
FAKE_SLEEP=20 ./fake train --data data.txt --out piped | head -1 > /dev/null
same "a closed pipe" piped/step-40/model.safetensors \
    straight/step-40/model.safetensors

# Steps that are not finite
check "skipping" env FAKE_NAN=5-8 $train --out skip --log skip.jsonl
equal "skipped" "$(grep -c '"skipped":true' skip.jsonl)" 4
equal "null" "$(grep -c '"loss":null' skip.jsonl)" 4
equal "record" "$(./tool member skip/run.json skipped_steps)" 4
equal "updates" "$(./tool member skip/step-40/state.json updates)" 36
status "diverged" 5 env FAKE_NAN=5-30 $train --out diverge --log diverge.jsonl
says "diverged" "diverged"
equal "diverged at" "$(tail -1 diverge.jsonl | cut -c1-10)" '{"step":24'
equal "older stand" "$(ls diverge | tr '\n' ' ')" "run.json step-10 step-20 "
status "goes on diverging" 5 env FAKE_NAN=5-30 $train --out diverge \
    --log diverge.jsonl --resume
equal "diverged at the same" "$(tail -1 diverge.jsonl | cut -c1-10)" '{"step":24'
