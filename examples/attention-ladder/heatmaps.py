#!/usr/bin/env python3
"""Draws attention matrices as an SVG: a row of maps a rung, a map a head.

    heatmaps.py BLANKS RUNG.safetensors… >OUT.svg

A file is what `forward` saved of one sentence: attn.weights [1, H, T, T] and
logits
[1, T, vocab]. Row i of a map is what position i attends to, the darker the
more;
rows of blanks are blue. Above a map is what the model fills in. Nothing but
Python's own library is needed.
"""
import json
import os
import struct
import sys
from xml.sax.saxutils import escape

CELL = 6            # pixels of a weight
SHADES = 8          # of a weight from 0 to 1; the lightest is not drawn
LEFT, TOP, GAP = 14, 44, 24
COLUMNS = 4
GREY = ["%02x%02x%02x" % ((255 - 255 * s // SHADES,) * 3) for s in range(9)]
BLUE = ["%02x%02xff" % ((235 - 235 * s // SHADES,) * 2) for s in range(9)]


def tensors(path):
    """{name: (shape, numbers)} of a safetensors file of float32."""
    with open(path, "rb") as file:
        data = file.read()
    size, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        found[name] = (entry["shape"], struct.unpack_from(
            f"<{(end - start) // 4}f", data, 8 + size + start))
    return found


def ending(values, name):
    return next(v for key, v in values.items() if key.endswith(name))


def shade(weight):
    """0: not drawn. The square root shows small weights."""
    return min(SHADES, int(SHADES * weight ** 0.5 + 0.5))


def cells(weights, length, blank):
    """The squares of a map: a path a colour."""
    paths = {}
    for i in range(length):
        for j in range(length):
            s = shade(weights[i * length + j])
            if s > 0:
                colour = (BLUE if i in blank else GREY)[s]
                paths.setdefault(colour, []).append(f"M{j} {i}h1v1h-1z")
    return "".join(f'<path fill="#{colour}" d="{"".join(squares)}"/>'
                   for colour, squares in sorted(paths.items()))


def letters(blanks):
    """The sentence above a map and down its left side."""
    out = []
    for i, letter in enumerate(blanks):
        at = (i + 0.5) * CELL
        colour = ' fill="#00f"' if letter == "_" else ""
        shown = escape(letter)
        out.append(f'<text x="{at:g}" y="-3"{colour}>{shown}</text>'
                   f'<text x="-6" y="{at + 2:g}"{colour}>{shown}</text>')
    return "".join(out)


def filled(logits, vocab, blanks):
    """The sentence with the likeliest letter in each blank."""
    out = []
    for i, letter in enumerate(blanks):
        if letter == "_":
            row = logits[i * vocab:i * vocab + 256]
            letter = chr(row.index(max(row)))
        out.append(letter if letter.isprintable() else "?")
    return "".join(out)


def rung(path, blanks):
    """The maps of one file, from left to right, with a title; their number."""
    values = tensors(path)
    shape, weights = ending(values, "attn.weights")
    (_, _, vocab), logits = ending(values, "logits")
    length, heads = len(blanks), shape[1]
    blank = {i for i, letter in enumerate(blanks) if letter == "_"}
    name = os.path.basename(path).split(".")[0].replace("-", " ")
    out = [f'<text class="t" y="14">{escape(name)}</text>'
           f'<text class="f" y="28" xml:space="preserve">'
           f'{escape(filled(logits, vocab, blanks))}</text>']
    for head in range(heads):
        part = weights[head * length ** 2:(head + 1) * length ** 2]
        at = head * (length * CELL + GAP)
        out.append(f'<g transform="translate({at},{TOP})"><use href="#s"/>'
                   f'<g transform="scale({CELL})">'
                   f'{cells(part, length, blank)}</g></g>')
    return "".join(out), heads


def main():
    blanks, paths = sys.argv[1], sys.argv[2:]
    side = len(blanks) * CELL
    column, line, body = 0, 0, []
    for path in paths:
        drawn, heads = rung(path, blanks)
        if column + heads > COLUMNS:
            column, line = 0, line + 1
        x, y = LEFT + column * (side + GAP), line * (TOP + side + GAP)
        body.append(f'<g transform="translate({x},{y})">{drawn}</g>')
        column += heads
    width = LEFT + COLUMNS * (side + GAP)
    height = (line + 1) * (TOP + side + GAP)
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} '
        f'{height}" font-family="monospace" font-size="7" text-anchor="middle">'
        f'<style>.t,.f{{text-anchor:start;font-size:9px}}'
        f'.t{{font:bold 12px sans-serif}}</style>'
        f'<defs><g id="s"><rect width="{side}" height="{side}" fill="none" '
        f'stroke="#ccc"/>{letters(blanks)}</g></defs>'
        f'<rect width="100%" height="100%" fill="#fff"/>')
    print("\n".join(body))
    print("</svg>")


main()
