"""draw.py: the decoder's attention to the source word, as an SVG picture.

    python3 draw.py WEIGHTS SOURCE TARGET >attention.svg

WEIGHTS is what `forward --save '*cross.weights'` wrote for batch.py's SOURCE
and TARGET, f32[1,heads,16,16] a block. A row of matrices is a block, a matrix a
head; in a matrix a row is a letter about to be written, a column a letter of
the source, and darker is more. The ends are ¶. A letter of two bytes takes two
rows or columns, the second marked with a dot.
"""
import json
import struct
import sys

CELL, LEFT, TOP, GAP, SHADES = 13, 22, 34, 16, 12


def read(path):
    """A safetensors file's tensors of f32: the name, shape and numbers."""
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    for name in sorted(header):
        first, last = (8 + size + at for at in header[name]["data_offsets"])
        yield name, header[name]["shape"], struct.unpack(
            f"<{(last - first) // 4}f", data[first:last])


def letters(word):
    """What is written at each byte of a word and its end."""
    shown = []
    for letter in word:
        shown += [letter] + ["·"] * (len(letter.encode()) - 1)
    return shown + ["¶"]


def matrix(weights, width, size, x, y):
    """Weights of rows of `width`, of which size is to be drawn."""
    rows, columns = size
    paths = {}
    for i in range(rows):
        for j in range(columns):
            shade = round(weights[i * width + j] * SHADES)
            if shade:
                paths.setdefault(shade, []).append(f"M{j} {i}.5h1")
    print(f'<g transform="translate({x} {y}) scale({CELL})">'
          f'<path fill="#f4f4f4" d="M0 0h{columns}v{rows}h-{columns}z"/>')
    for shade, path in sorted(paths.items()):
        print(f'<path stroke="#036" stroke-opacity="{shade / SHADES:.2f}" '
              f'd="{"".join(path)}"/>')
    print("</g>")


def text(x, y, what, more=""):
    print(f'<text x="{x}" y="{y}"{more}>{what}</text>')


def labels(source, target, x, y):
    for j, letter in enumerate(source):
        text(x + CELL * j + CELL // 2, y - 4, letter)
    for i, letter in enumerate(target):
        text(x - 8, y + CELL * i + 10, letter)


def main():
    path, source, target = sys.argv[1:]
    source, target = letters(source), letters(target)
    tensors = list(read(path))
    heads = tensors[0][1][1]
    wide = LEFT + CELL * len(source) + GAP
    high = TOP + CELL * len(target) + GAP
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide * heads}" '
          f'height="{high * len(tensors)}" font-family="sans-serif" '
          'font-size="11" text-anchor="middle" fill="#333">')
    print('<rect width="100%" height="100%" fill="#fff"/>')
    for block, (_, shape, weights) in enumerate(tensors):
        for head in range(heads):
            x, y = LEFT + wide * head, TOP + high * block
            text(x, y - 20, f"block {block}, head {head}",
                 ' text-anchor="start"')
            labels(source, target, x, y)
            size = shape[2] * shape[3]
            matrix(weights[head * size:(head + 1) * size], shape[3],
                   (len(target), len(source)), x, y)
    print("</svg>")


main()
