#!/bin/sh
# make bless: rewrites the expected outputs that differ from what the compiler
# gives today, and shows every difference. Read it before you commit it.
cd "$(dirname "$0")/.." || exit 1
status=0
for battery in "spec bless" "ir bless" "emit build bless" "docs bless"; do
    set -- $battery
    name=$1
    shift
    echo "== $name"
    "tests/$name/run.sh" "$@" || status=1
done
exit $status
