"""batch.py: windows of a text as a batch for `forward`.

    python3 batch.py TEXT WINDOWS LENGTH >batch.safetensors

The tensor is `tokens`, i32[WINDOWS,LENGTH]: bytes from evenly spread places of
the text. Only Python's own library is used.
"""
import json
import struct
import sys


def main():
    path, windows, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(path, "rb") as file:
        text = file.read()
    step = (len(text) - length) // windows
    tokens = b"".join(text[i * step:i * step + length] for i in range(windows))
    data = struct.pack(f"<{len(tokens)}i", *tokens)
    header = json.dumps({"tokens": {
        "dtype": "I32", "shape": [windows, length],
        "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    sys.stdout.buffer.write(struct.pack("<Q", len(header)) + header + data)


main()
