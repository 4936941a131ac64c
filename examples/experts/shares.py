"""shares.py: which tokens each expert takes, as a table and as an SVG picture.

    python3 shares.py BATCH PROBABILITIES PICTURE.svg

BATCH is what batch.py wrote, PROBABILITIES what `forward --save
'*ff.probabilities'` said of it: the router's, f32[windows,length,experts] a
block. A token goes to the two likeliest experts. The table has, for each
block and expert, its share of all such choices (even: 1/experts) and the bytes
that come to it most beyond that share, with the part of them that do. The
picture is the text of a few windows, each byte on the colour of its likeliest
expert. The last line is the smallest and the largest share.
"""
import json
import struct
import sys
from collections import Counter

TOP_K, BYTES = 2, 7                 # experts a token; bytes that are listed
WINDOWS, WIDTH, LINE = 3, 7.3, 18   # of the picture: texts, a byte's pixels
COLOURS = ("#f7b6b2", "#b5d3f3", "#b9e3b5", "#f5dca0", "#d9bfee", "#a9e2dd",
           "#e3c6a8", "#d5d5d5")


def read(path):
    """A safetensors file: for each tensor its shape and its numbers."""
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, tensor in header.items():
        first, last = (8 + size + at for at in tensor["data_offsets"])
        kind = {"I32": "i", "F32": "f"}[tensor["dtype"]]
        tensors[name] = tensor["shape"], struct.unpack(
            f"<{(last - first) // 4}{kind}", data[first:last])
    return tensors


def choices(probabilities, tokens, experts):
    """Each token's experts, the likeliest first; ties to the lower."""
    rows = (probabilities[i * experts:(i + 1) * experts]
            for i in range(tokens))
    return [sorted(range(experts), key=lambda e: -row[e])[:TOP_K]
            for row in rows]


def show(byte):
    if byte == 32:
        return "space"
    return {10: "newline", 9: "tab"}.get(byte) or (
        chr(byte) if 32 < byte < 127 else f"x{byte:02x}")


def table(block, tokens, chosen, experts):
    """Prints a block's table; the shares of its experts."""
    every, taken = Counter(tokens), Counter()
    for token, mine in zip(tokens, chosen):
        taken.update((e, token) for e in mine)
    shares = []
    print(f"block {block}  share  likes")
    for e in range(experts):
        count = sum(n for (x, _), n in taken.items() if x == e)
        shares.append(count / (TOP_K * len(tokens)))
        even = count / len(tokens)
        more = {b: taken[e, b] - every[b] * even for b in every}
        liked = sorted((b for b in more if more[b] > 0),
                       key=lambda b: (-more[b], b))
        likes = (f"{show(b)} {100 * taken[e, b] // every[b]}%"
                 for b in liked[:BYTES])
        print(f"expert {e}  {100 * shares[e]:4.1f}%  {'  '.join(likes)}")
    return shares


def escape(byte):
    text = {10: "¶", 9: " "}.get(byte) or (
        chr(byte) if 32 <= byte < 127 else "·")
    return {"<": "&lt;", "&": "&amp;", " ": "\u00a0"}.get(text, text)


def draw(file, tokens, length, blocks):
    """The first windows' texts, once a block."""
    half, rows = length // 2, WINDOWS * 2
    height = LINE * (rows + 2) * len(blocks) + 20
    file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="'
               f'{half * WIDTH + 20:.0f}" height="{height}" '
               'font-family="monospace" font-size="12">\n'
               '<rect width="100%" height="100%" fill="#fff"/>\n')
    for b, chosen in enumerate(blocks):
        top = 10 + LINE * (rows + 2) * b
        file.write(f'<text x="10" y="{top + 12}" font-weight="bold">block {b}'
                   '</text>\n')
        for e, colour in enumerate(COLOURS):
            file.write(f'<rect x="{90 + 36 * e}" y="{top}" width="32" '
                       f'height="16" fill="{colour}"/><text y="{top + 12}" '
                       f'x="{102 + 36 * e}">{e}</text>\n')
        for row in range(rows):
            first = row // 2 * length * 8 + row % 2 * half
            draw_row(file, tokens[first:first + half],
                     chosen[first:first + half], top + LINE * (row + 1) + 4)
    file.write("</svg>\n")


def draw_row(file, tokens, chosen, y):
    runs = []
    for i, (first, *_) in enumerate(chosen):
        if runs and runs[-1][0] == first:
            runs[-1][2] = i + 1
        else:
            runs.append([first, i, i + 1])
    for e, first, last in runs:
        file.write(f'<rect x="{10 + first * WIDTH:.1f}" y="{y}" width="'
                   f'{(last - first) * WIDTH:.1f}" height="{LINE - 1}" '
                   f'fill="{COLOURS[e % len(COLOURS)]}"/>\n')
    text = "".join(escape(token) for token in tokens)
    file.write(f'<text x="10" y="{y + 13}" textLength="'
               f'{len(tokens) * WIDTH:.1f}">{text}</text>\n')


def main():
    batch, probabilities, picture = sys.argv[1:]
    (_, length), tokens = read(batch)["tokens"]
    blocks, shares = [], []
    for name, (shape, values) in sorted(read(probabilities).items()):
        chosen = choices(values, len(tokens), shape[2])
        shares += table(name.split(".")[1], tokens, chosen, shape[2])
        blocks.append(chosen)
    with open(picture, "w", encoding="utf-8") as file:
        draw(file, tokens, length, blocks)
    print(f"shares from {100 * min(shares):.1f}% to {100 * max(shares):.1f}%")


main()
