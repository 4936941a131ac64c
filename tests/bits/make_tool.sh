#!/bin/sh
# make_tool.sh: compiles tool.c, which makes and compares the tests' tensors.
#
#     tests/bits/make_tool.sh OUT
here=$(cd "$(dirname "$0")" && pwd)
runtime=$here/../../runtime
sources=$here/tool.c
for name in elementary error files hash json safetensors safetensors_write sort
do
    sources="$sources $runtime/$name.c"
done
# shellcheck disable=SC2086  # a list
exec gcc -std=gnu11 -O1 -g -Wall -Wextra -Wpedantic -Werror -ffp-contract=off \
    -I"$runtime" $sources -o "$1" -lm
