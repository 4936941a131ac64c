#!/bin/sh
# make_data.sh: what the tests' specs read, into this directory. English enough:
# the first 9000 bytes of files that every machine has alike; the same as
# sentences of documents, as pairs, labelled, and as answers to prefer.
#
#     tests/bits/make_data.sh FILE…
head -q -c 9000 "$@" | tr -d '\r' >text.txt
LC_ALL=C tr -cd '\nA-Za-z0-9 .,:;' <text.txt | tr -s ' ' |
    grep '[a-z].*[a-z]' >lines.txt
awk '{ print } NR % 7 == 0 { print "" }' lines.txt >sentences.txt
awk 'length > 24 { print substr($0, 1, 20) "\t" substr($0, 21, 15) }' \
    lines.txt >pairs.tsv
awk '{ print NR % 4 "\t" substr($0, 1, 30) }' lines.txt >labelled.tsv
awk 'length > 24 {
    printf "{\"prompt\": \"%s\", \"chosen\": \"%s\", \"rejected\": \"%s\"}\n",
        substr($0, 1, 9), substr($0, 10, 5 + NR % 9), substr($0, 20, 2 + NR % 7)
}' lines.txt >preferences.jsonl
