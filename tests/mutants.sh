#!/bin/bash
# make mutants: do the tests notice? In a copy of the tree, passes, kernels and
# the runtime are broken one at a time, and a test that should notice is run. A
# mutant is killed if that test, which passes on the whole tree, fails.
#
#     tests/mutants.sh            all of them
#     tests/mutants.sh NAME…      some
#     tests/mutants.sh --list
#
# Ends with `N mutants, M killed`, and fails if one survives, no longer applies to
# the source, or does not compile.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
unset MAKEFLAGS MFLAGS MAKELEVEL
chosen=" $* "

# ---- tests ---------------------------------------------------------------------
# Those that take the compiler; the others compile what they test.
takes_compiler() { [ "$1" = reference ] || [ "$1" = bits ]; }
reference() { # CASE…
    local cases=() case
    for case in "$@"; do cases+=("tests/reference/cases/$case"); done
    tests/reference/run.sh ./trainwright "${cases[@]}"
}
kernels() { # TEST
    TESTS=$1 COMPILERS=gcc LEVELS=x86-64-v3 tests/kernels/run.sh
}
bits() { # SPEC
    SPECS=$1 tests/bits/run.sh
}
battery() { # NAME
    "tests/$1/run.sh"
}

# ---- mutants -------------------------------------------------------------------
# NAME | FILE | what is changed (a Perl substitution) | the test
mutants() {
    cat <<'END'
autodiff-drops-a-residual | passes/autodiff.c | s/int i = 0; (i < c->terms.count; i\+\+\)\n +sum)/int i = c->terms.count > 1; $1/ | reference gpt2
autodiff-forgets-a-product | passes/autodiff.c | s/(int last = -1, )i = 0;/$1i = c->products.count > 1;/ | reference gpt2
simplify-merges-unequal-nodes | passes/simplify.c | s/i < a->inputs(; i\+\+\)\n +if \(a->in)/i + 1 < a->inputs$1/ | reference gpt2
recompute-draws-elsewhere | passes/recompute.c | s/(&v->type, origin\);\n)/$1    made->attrs.site += node->op == OP_dropout;\n/ | bits learned
fuse-forgets-a-bias | compiler/lower/calls.c | s/(k->nodes.count >) 1(\s*\? pointer_to)/$1 2$2/ | reference gpt2
place-overlaps-two-values | passes/place.c | s/if \(share_time\(p, v, w\) && at < end/if (at > end \&\& share_time(p, v, w) \&\& at < end/ | reference gpt2
schedule-drops-a-micro-batch | passes/schedule.c | s/micros->count = group \/ step->micro;/micros->count = (group \/ step->micro + 1) \/ 2;/ | reference micro-batch
adam-without-correction | passes/autodiff.c | s/up2\(u, OP_mul, "unbiased1", m1, scalar\(u, "correction1"\)\)/m1/ | reference train-adamw
clip-the-wrong-way | compiler/lower/norms.c | s/px_div\(p, clip, n\)/px_div(p, n, clip)/ | reference train-clip
matmul-skips-the-last-step | runtime/kernels/gemm.c | s/for \(; k < steps; k\+\+, next_a/for (; k + 1 < steps; k++, next_a/ | kernels gemm
attention-sees-one-ahead | runtime/kernels/attention_block.h | s/least\(to, at \+ 1\)/least(to, at + 2)/ | kernels attention
top-k-takes-the-later-of-equals | runtime/kernels/experts.c | s/p\[e\] > p\[best\]/p[e] >= p[best]/ | reference experts-ties
capacity-rounds-down | runtime/kernels/experts.c | s/middle \* by >= whole/middle * by + by > whole/ | reference experts-capacity-exact
aux-loss-counts-choices-twice | compiler/build/experts.c | s/weight \/ \(double\)s->model_experts_top_k/weight/ | reference experts
relative-forgets-a-query | passes/gradients.c | s/ad_add\(ad, n->in\[n->inputs - 2\], back->out\[3\]\);// | reference relative
mean-pool-sums | runtime/kernels/pool.c | s/if \(kind == POOL_MEAN\)/if (kind == POOL_MAX)/ | reference classify-mean
memory-of-one-block-alone | passes/autodiff.c | s/if \(looped \|\| is_made\(b, name\)\)/if (is_made(b, name) \&\& !looped)/ | reference seq2seq
preference-prefers-the-rejected | runtime/kernels/reduce.c | s/beta \* \(chosen - rejected\)/beta * (rejected - chosen)/ | reference preference
scatter-add-drops-repeats | runtime/kernels/index.c | s/if \(ids\[r\] >= 0/if (ids[r] >= 0 \&\& !(r > 0 \&\& ids[r] == ids[0])/ | reference gpt2
tanh-a-little-wrong | runtime/kernels/elementary.h | s/0\.133313313f/0.1333f/ | kernels elementary
warmup-one-step-late | runtime/schedule.c | s/lr \* \(double\)s \/ \(double\)warmup/lr * (double)(s - 1) \/ (double)warmup/ | battery runtime_files
checkpoint-forgets-a-moment | runtime/checkpoint.c | s/state \+ moment \* program/state + 0 * moment * program/ | battery runtime
END
}
names=$(mutants | cut -d' ' -f1)
if [ "${1:-}" = --list ]; then
    echo "$names"
    exit 0
fi
for name in "$@"; do
    echo "$names" | grep -qxF -- "$name" || { echo "no mutant $name" >&2; exit 2; }
done

# ---- the copy --------------------------------------------------------------------
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir "$work/tree" || exit 1
(cd "$root" && tar -c --exclude=./.git .) | tar -x -C "$work/tree" || exit 1
cd "$work/tree" || exit 1
build() { make -s -j2 all >"$work/said" 2>&1; }
build || { cat "$work/said"; exit 1; }

# A test that fails on the whole tree kills nothing.
declare -A sound
is_sound() { # TEST…
    local test="$*"
    if [ -z "${sound[$test]:-}" ]; then
        takes_compiler "$1" && build    # without the mutant before
        if "$@" >"$work/said" 2>&1; then sound[$test]=yes; else sound[$test]=no; fi
    fi
    [ "${sound[$test]}" = yes ]
}

first_complaint() {
    grep -m 1 -E 'FAIL|[0-9] times its limit|error' "$work/said" | cut -c 1-90
}

# A space in what is looked for stands for any, so that a line may be broken anew.
loose() {
    perl -e 'my ($from, $rest) = $ARGV[0] =~ m{^ *s/((?:[^/\\]|\\.)*)(/.*?) *$};
        $from =~ s/ \+?/\\s+/g;
        print "s/$from$rest"' "$1"
}

total=0 killed=0
survives() { echo "$1: $2"; }
try() { # NAME FILE CHANGE TEST…
    local name=$1 file=$2 change=$3
    shift 3
    total=$((total + 1))
    is_sound "$@" || { survives "$name" "\`$*\` fails without it"; return; }
    cp "$file" "$work/whole" || return
    perl -0pi -e "$change" "$file"
    if cmp -s "$file" "$work/whole"; then
        survives "$name" "the change no longer applies to $file"
    elif takes_compiler "$1" && ! build; then
        survives "$name" "does not compile: $(grep -m 1 error "$work/said")"
    elif "$@" >"$work/said" 2>&1; then
        survives "$name" "SURVIVED \`$*\`"
    else
        killed=$((killed + 1))
        echo "$name: killed by \`$*\`: $(first_complaint)"
    fi
    cp "$work/whole" "$file"
}

while IFS='|' read -r name file change test; do
    name=${name// /} file=${file// /}
    [ $# -eq 0 ] || [[ $chosen == *" $name "* ]] || continue
    change=$(loose "$change")
    # shellcheck disable=SC2086  # a test is words
    try "$name" "$file" "$change" $test </dev/null
done < <(mutants)
echo "$total mutants, $killed killed"
[ "$killed" -eq "$total" ]
