#!/usr/bin/env python3
"""Writes a sentence as a batch for `forward`: tokens and targets.

    sentence.py TEXT BLANKS OUT.safetensors

An underscore in BLANKS, which is TEXT otherwise, is a blank: the token 262,
whose
target is the byte of TEXT at its place. Nothing but Python's own library is
needed.
"""
import json
import struct
import sys

MASK = 262


def main():
    text, blanks, out = sys.argv[1:4]
    if len(text) != len(blanks):
        sys.exit("sentence.py: the texts differ in length")
    pairs = list(zip(text.encode(), blanks.encode()))
    tokens = [MASK if shown == ord("_") else shown for _, shown in pairs]
    targets = [true if shown == ord("_") else -1 for true, shown in pairs]
    size = 4 * len(pairs)
    header = json.dumps({
        name: {"dtype": "I32", "shape": [1, len(pairs)], "data_offsets": span}
        for name, span in (("tokens", [0, size]), ("targets", [size, 2 * size]))
    }).encode()
    header += b" " * (-len(header) % 8)
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.write(struct.pack(f"<{2 * len(pairs)}i", *tokens, *targets))


main()
