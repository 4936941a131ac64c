#!/bin/sh
# The examples that take less than a minute, as a newcomer runs them: each checks
# its own claims. Data that cannot be fetched here (no network) is a reason to
# skip one, and is said.
#
#     tests/examples/run.sh [NAME…]
set -u
cd "$(dirname "$0")/../.." || exit 1
[ $# -gt 0 ] || set -- graph digits plans
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
passed=0 failed=0
for name in "$@"; do
    if timeout 600 "examples/$name/run.sh" >"$log" 2>&1; then
        echo "ok $name: $(tail -n 1 "$log" | cut -c 1-70)"
        passed=$((passed + 1))
    elif grep -qE 'Unable to fetch|Temporary failure resolving|Could not resolve' \
        "$log"; then
        echo "skipped $name: its data cannot be fetched here"
    else
        echo "FAILED $name"
        tail -n 5 "$log"
        failed=$((failed + 1))
    fi
done
echo "examples: $passed passed, $failed failed"
[ "$failed" = 0 ]
