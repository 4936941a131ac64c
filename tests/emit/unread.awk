# Constants of enums and fields of records that stand nowhere else in a C file, not
# even in a comment.
/^enum \{$/ { open = 1 }
/^typedef struct/ { open = 2 }
/^\}/ { open = 0 }
{
    name = $0
    if (open == 1)
        sub(/ *=.*/, "", name)
    else
        sub(/;.*/, "", name)
    sub(/.*[ *]/, "", name)
    if ((open == 1 && / = /) || (open == 2 && /;/))
        declared[name] = FILENAME ":" FNR ": " name
    rest = $0
    while (match(rest, /[A-Za-z_0-9]+/)) {
        seen[substr(rest, RSTART, RLENGTH)]++
        rest = substr(rest, RSTART + RLENGTH)
    }
}
END {
    for (name in declared)
        if (seen[name] < 2)
            print declared[name]
}
