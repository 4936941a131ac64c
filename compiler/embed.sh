#!/bin/sh
# embed.sh NAME=PATH…: prints assembler that holds the files' bytes and the table
# embed_files (embed.h), sorted by name whatever the order of the arguments.
set -eu
export LC_ALL=C
names=$(printf '%s\n' "$@" | sort)

echo '    .section .rodata'
number=0
for pair in $names; do
    printf '    .p2align 4\nname%d:  .asciz "%s"\n' "$number" "${pair%%=*}"
    printf '    .p2align 4\nstart%d: .incbin "%s"\nend%d:\n' "$number" "${pair#*=}" "$number"
    number=$((number + 1))
done
echo '    .section .data.rel.ro, "aw"'
echo '    .globl embed_files'
echo '    .p2align 3'
echo 'embed_files:'
number=0
for pair in $names; do
    echo "    .quad name$number, start$number, end$number - start$number"
    number=$((number + 1))
done
echo '    .quad 0, 0, 0'
echo '    .section .note.GNU-stack, "", @progbits'
