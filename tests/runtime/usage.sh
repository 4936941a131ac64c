# usage.sh: the command line and --set (sourced by run.sh).

status "no command" 2 ./fake
status "unknown command" 2 ./fake trian
says "unknown command" "did you mean 'train'?"
status "help" 0 ./fake --help
says "help" "generate"
for command in info train eval generate forward grad bench predict score; do
    status "$command --help" 0 ./fake $command --help
    says "$command --help" "usage: fake $command"
done
status "score without files" 2 ./fake score --weights x
status "unknown flag" 2 ./fake train --stepz 3
says "unknown flag" "did you mean --steps?"
status "another command's flag" 2 ./fake eval --out x
status "word" 2 ./fake train 3
status "missing value" 2 ./fake train --steps
status "flag with a value" 2 ./fake train --resume=yes
for bad in 0 -1 x 1e3 99999999999999999999 ''; do
    status "--steps '$bad'" 2 ./fake train --steps "$bad"
done
for bad in 0 1025 x; do
    status "--threads '$bad'" 2 ./fake train --threads "$bad"
done
for bad in x nan inf -1 0x1p3; do
    status "--temperature '$bad'" 2 ./fake generate --temperature "$bad"
done
status "--top-p 1.5" 2 ./fake generate --top-p 1.5
status "--trace" 1 ./fake train --data data.txt --out untraced --trace nowhere/x
says "--trace" "nowhere"
equal "a trace that cannot be written: no run" "$(ls -d untraced 2>/dev/null)" ""
status "--init-partial alone" 2 ./fake train --init-partial
status "eval without weights" 2 ./fake eval --data data.txt
status "grad without files" 2 ./fake grad
status "forward without files" 2 ./fake forward
status "generate without prompt" 2 ./fake generate --weights x
status "predict without files" 2 ./fake predict --weights x
status "predict of a decoder" 1 ./fake predict --weights x --data data.txt
says "predict of a decoder" "generate continues a text"
status "full output" 3 sh -c './fake info > /dev/full'
status "features" 3 ./strange train --data data.txt
says "features" "sse9 amx-fp99"
status "info needs no features" 0 ./strange info
status "more than there is" 3 ./huge train --data data.txt --out none
says "more than there is" "2147483648.3 MiB"
says "more than there is" "available"
case $CFLAGS in
*-fsanitize*)
    echo "skipped: limits on address space, which sanitizers need all of" ;;
*)
    status "memory limit" 3 sh -c 'ulimit -v 200000
        ./large train --data data.txt --out none'
    says "memory limit" "ulimit -v"
    status "thread limit" 3 sh -c 'ulimit -v 200000
        ./fake train --data data.txt --out none --threads 500'
    says "thread limit" "cannot start thread"
    ;;
esac
equal "nothing is made" "$(ls -d none 2> /dev/null)" ""

# Every wrong --set: value, position, words of the message.
set_error() {
    status "--set $1" 1 $train --out none --set "$1"
    says "--set $1" "--set ${1%%=*}:1:$2: error: "
    says "--set $1" "$3"
}
set_error train.steps=x 1 "wanted an integer, got 'x'"
set_error train.steps=0 1 "wanted a value from 1 to"
set_error train.steps=1.5 1 "an integer"
set_error "train.steps='5'" 1 "an integer"
set_error train.steps= 1 "a value is missing"
set_error "train.steps=[1]" 1 "not a list"
set_error train.optimizer.lr=-1 1 "wanted a value"
set_error train.optimizer.lr=.nan 1 "a number"
set_error "train.optimizer.betas=[0.9, x]" 7 "a number"
set_error "train.optimizer.betas=[0.9, 1.5]" 7 "a value from 0"
set_error "train.optimizer.betas=[0.9]" 1 "two numbers"
set_error "train.optimizer.betas=[0.9, 0.95" 11 "ends with ']'"
set_error train.optimizer.betas=0.9 1 "a list is wanted"
set_error "train.optimizer.betas=[0.9, 0.9] x" 12 "nothing after"
set_error train.schedule.type=cosin 1 "one of constant|linear"
set_error "train.data.path='x" 1 "a quote is not closed"
set_error "train.data.path={a: b}" 1 "a value"
for path in '"data\x2etxt"' '"\u0064ata.txt"' "'data.txt'" '[data.txt]'; do
    status "path $path" 0 ./fake train --quiet --steps 1 --out quoted \
        --set "train.data.path=$path"
    rm -rf quoted
done
for path in '"a\q"' '"a\x2"' '"a\x00"' '"a\u12"' '"a\'; do
    set_error "train.data.path=$path" 1 "or an escape is none"
done
status "a newline in a path" 1 ./fake train --set 'train.data.path="a\nb"'
says "a newline in a path" "$(printf 'cannot open a\nb')"
set_error model.dim=3 1 "rebuild"
set_error train.optimizer.lrr=3 1 "no such key"
says "hint" "did you mean train.optimizer.lr?"
status "--set without =" 1 $train --set train.steps
status "wsd without decay" 1 $train --out none --set train.schedule.type=wsd
status "two errors" 1 $train --set train.steps=x --set train.seed=y
equal "both are told" "$(grep -c error last.err)" 2
[ -e none ] && fail "a refused run made its directory" || pass
