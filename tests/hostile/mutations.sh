# mutations.sh: specs with random mistakes (sourced by run.sh). The compiler
# accepts a spec or says what is wrong with it; nothing else. Perl draws, since
# its generator is the same everywhere for a seed.

most=${MUTATIONS:-200} seed=${MUTATION_SEED:-1} accepted=0
for ((i = seed; i < seed + most; i++)); do
    perl "$here/mutate.pl" $i "$root"/models/*.yaml \
        "$root"/tests/spec/*.want >mutant.yaml
    timeout -s KILL 60 "$tw" emit mutant.yaml -o mutant >out 2>err
    status=$?
    case $status in
    0) accepted=$((accepted + 1)) ;;
    1) grep -q 'error: ' err || fail "mutation $i: no diagnostic" ;;
    *) fail "mutation $i: status $status: $(head -n 1 err)" ;;
    esac
done
left=$(find . -name '*.tmp-*' | head -n 1)
[ -z "$left" ] && pass || fail "a mutation left $left"
[ $((20 * accepted)) -ge "$most" ] && pass ||
    fail "only $accepted of $most mutations were accepted: these test little"
