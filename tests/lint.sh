#!/bin/sh
# Checks of the source that no compiler makes: which directory includes which,
# lengths, widths, nesting, globals and words. tests/lint.pl has the rules.
#
#     tests/lint.sh             every file
#     tests/lint.sh FILE…       some
#     tests/lint.sh --measure   a line a file and rule that is over: FILE RULE N
#
# tests/lint.known lists what stood over a limit when the rule was written: a
# file may be shorter of it, never longer. A file is a test: `N passed, M failed`.
set -u
cd "$(dirname "$0")/.." || exit 1
measure=
if [ "${1:-}" = --measure ]; then
    measure=--measure
    shift
fi
if [ $# -eq 0 ]; then
    set -- $(find .ci compiler ir passes runtime models tests examples docs \
        completions Makefile README.md deps.sh trainwright.1 -type f \( \
        -name '*.[chS]' -o -name '*.def' -o -name '*.sh' -o -name '*.awk' -o \
        -name '*.p[ly]' -o -name '*.md' -o -name Makefile -o -name run -o \
        -name '*.1' -o -path 'models/*' -o -path 'examples/*' -o \
        -path 'completions/*' \) ! -path 'tests/docs/wrong/*' | LC_ALL=C sort)
fi
exec perl tests/lint.pl $measure "$@"
