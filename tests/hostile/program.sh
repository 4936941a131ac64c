# program.sh: a program that the compiler made (sourced by run.sh).

expect 0 "small: cpu" "$tw" build small.yaml -o small
expect 0 "saved" ./small train --data data.txt --out run

# ---- nothing is trained ---------------------------------------------------------
for freeze in "['*']" "['embed.*', 'blocks.*', 'norm.*']"; do
    for groups in 1 4; do
        expect 0 "cpu" "$tw" build small.yaml -o frozen \
            --set "train.freeze=$freeze" --set reproducible.groups=$groups
        rm -rf frozen-run
        expect 0 "norm 0 " ./frozen train --data data.txt --steps 2 \
            --out frozen-run
        expect 0 "resumed at step 2" ./frozen train --data data.txt --steps 3 \
            --out frozen-run --resume
        for step in 2 3; do     # the header holds the step; 10944 floats follow
            tail -c 43776 frozen-run/step-$step/model.safetensors >weights-$step
        done
        [ -s weights-2 ] && cmp -s weights-2 weights-3 && pass ||
            fail "weights of a frozen model changed ($freeze)"
    done
done

# ---- the same blocks of two stacks frozen, and nothing trained between them -----
cat >alike.yaml <<'END'
name: alike
model:
  kind: encoder-decoder
  vocab: 300
  context: 16
  dim: 8
  heads: 2
  blocks: {encoder: 2, decoder: 2}
  position: sinusoidal
  norm: {place: post}
  ff: {dim: 11}
train: {batch: 4, freeze: ["*.blocks.0.*"]}
END
printf 'a b\tc d\nhello\tworld\nx y\tz\nq\tr\n' >alike.tsv
for plan in data=1 data=2 "pipeline={stages: 2}"; do
    expect 0 "cpu" "$tw" build alike.yaml -o alike --set "parallel.$plan"
    rm -rf alike-run
    expect 0 "saved" ./alike train --data alike.tsv --steps 2 --out alike-run
done

# ---- the command line -----------------------------------------------------------
expect 1 "generate continues a text" ./small predict --weights run --data data.txt
expect 1 "score reads TSV and JSONL" ./small score --weights run --data data.txt
expect 2 "needs --weights" ./small eval
expect 2 "to 4611686018427387904" ./small train --seed 9223372036854775807
expect 1 "there is no data" ./small train --out none
expect 1 "there is no data" ./small train --out none --set train.data.path=none
expect 1 "cannot open none" ./small train --out none \
    --set 'train.data.path="none"'
expect 1 "fewer than 2 tokens" ./small eval --weights run --data one

# Keys that contradict each other, as in a spec; the one that was set is named.
contradiction() { # WORDS SET…
    local words=$1
    shift
    expect 1 "$words" ./small train --data data.txt --out none "${@/#/--set=}"
}
contradiction "--set train.schedule.type:1:1: error" train.schedule.type=wsd
contradiction "--set train.schedule.decay:1:1: error" train.schedule.decay=5
contradiction "--set train.schedule.decay:1:1: error" \
    train.schedule.type=wsd train.schedule.decay=13
contradiction "--set train.data.tokenizer:1:1: error" \
    train.data.tokenizer=words.json
contradiction "--set train.batch:1:1: error" train.batch=4

# ---- where it writes ------------------------------------------------------------
expect 1 "notes.txt is no log" ./small train --data data.txt --log notes.txt \
    --out none
cmp -s notes.txt data.txt && pass || fail "a file that is no log was changed"
expect 1 "cannot write pipe" ./small train --data data.txt --log pipe --out none
expect 1 "a directory" ./small train --data data.txt --log folder --out none
[ -e none ] && fail "a run that was refused left its directory" || pass
expect 0 "" ./small train --data data.txt --quiet --log log.jsonl --out logged
rm -rf logged
expect 0 "" ./small train --data data.txt --quiet --log log.jsonl --out logged \
    --steps 3
[ "$(grep -c lr log.jsonl)" = 3 ] && pass || fail "an old log was not replaced"
expect 0 '"step":3' sh -c "./small train --data data.txt --quiet --steps 3 \
    --log /dev/stdout --out piped | cat"

for command in info "eval --weights run --data data.txt" \
    "generate --weights run --prompt a" "bench --steps 1"; do
    expect 3 "cannot write the output" sh -c "./small $command >/dev/full"
done

# A log that takes a closed descriptor's number holds lines of a log alone.
sh -c "./small train --data data.txt --log closed.jsonl --out closed --resume \
    <&- >&- 2>&-"
[ "$(grep -c '^{.*}$' closed.jsonl)" = "$(wc -l <closed.jsonl)" ] &&
    [ -s closed.jsonl ] && pass || fail "a log took in what was printed"

# A signal while the data is hashed: no step, no wait, nothing left.
truncate -s 200G sparse.txt
./small train --data sparse.txt --out early --quiet 2>err &
sleep 0.5
kill -TERM $!
wait $!
[ $? = 75 ] && grep -q "after step 0" err && pass ||
    fail "a signal before step 1: $(cat err)"
[ -e early ] && fail "a run without a step left its directory" || pass
rm -f sparse.txt
