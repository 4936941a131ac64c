"""batch.py: a pair of words as a batch for `forward`.

    python3 batch.py SOURCE TARGET >batch.safetensors

The tensors, i32[1,16], are as in training: `source` is the source's bytes and
eos, `tokens` bos and the target's; `source_lengths` and `lengths`, i32[1], say
how many. Only Python's own library is used.
"""
import json
import struct
import sys

SEQUENCE, PAD, BOS, EOS = 16, 256, 257, 258     # as in spec.yaml


def main():
    source, target = (list(word.encode()) for word in sys.argv[1:])
    source, tokens = source + [EOS], [BOS] + target
    tensors = {
        "source": source + [PAD] * (SEQUENCE - len(source)),
        "tokens": tokens + [PAD] * (SEQUENCE - len(tokens)),
        "source_lengths": [len(source)], "lengths": [len(tokens)],
    }
    header, data = {}, b""
    for name, values in tensors.items():
        piece = struct.pack(f"<{len(values)}i", *values)
        header[name] = {
            "dtype": "I32", "data_offsets": [len(data), len(data + piece)],
            "shape": [1] if name.endswith("lengths") else [1, SEQUENCE]}
        data += piece
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    sys.stdout.buffer.write(struct.pack("<Q", len(text)) + text + data)


main()
