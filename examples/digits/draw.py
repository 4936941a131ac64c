"""draw.py: digits and what was predicted for them, as an SVG picture.

    python3 draw.py IMAGES LABELS PREDICTIONS >digits.svg

IMAGES and LABELS are IDX files of 8 by 8 pixels; PREDICTIONS has a line an
image, what `predict` prints: label, tab, probability. First come all that were
misread, at most 20, with the prediction and the right digit; then others in
their order, 60 in all. Pixels of one shade are one path, a run of them in a row
one stroke.
"""
import sys

COLUMNS, MOST, WRONG = 12, 60, 20
CELL, GAP, CAPTION = 40, 14, 18     # pixels of the picture


def read(path, header, size):
    with open(path, "rb") as file:
        data = file.read()[header:]
    return [data[i:i + size] for i in range(0, len(data), size)]


def strokes(image):
    """The image's paths: pixels of 1 by 1, white where there is no ink."""
    shades = {}
    for y in range(8):
        for x in range(8):
            shade = image[8 * y + x] // 17
            if shade and shades.get((shade, y), [(0, -1)])[-1][1] == x:
                runs = shades[shade, y]
                runs[-1] = (runs[-1][0], x + 1)
            elif shade:
                shades.setdefault((shade, y), []).append((x, x + 1))
    paths = {}
    for (shade, y), runs in shades.items():
        paths.setdefault(shade, []).extend(
            f"M{a} {y}.5h{b - a}" for a, b in runs)
    for shade, path in sorted(paths.items()):
        grey = "0123456789abcdef"[15 - shade] * 3
        yield f'<path stroke="#{grey}" d="{"".join(path)}"/>'


def draw(image, truth, predicted, x, y):
    wrong = truth != predicted
    text = f"{predicted}, is {truth}" if wrong else str(predicted)
    colour = "#c00" if wrong else "#333"
    print(f'<g transform="translate({x} {y}) scale({CELL // 8})">')
    print("\n".join(strokes(image)))
    print("</g>")
    print(f'<text x="{x + CELL // 2}" y="{y + CELL + 13}" fill="{colour}">'
          f"{text}</text>")


def main():
    images, labels, predictions = sys.argv[1:]
    images = read(images, 16, 64)
    labels = [label[0] for label in read(labels, 8, 1)]
    with open(predictions) as file:
        predicted = [int(line.split("\t")[0]) for line in file]
    wrong = [i for i, p in enumerate(predicted) if p != labels[i]][:WRONG]
    right = [i for i, p in enumerate(predicted) if p == labels[i]]
    shown = wrong + right[:MOST - len(wrong)]
    width = COLUMNS * (CELL + GAP) + GAP
    rows = (len(shown) + COLUMNS - 1) // COLUMNS
    height = rows * (CELL + GAP + CAPTION) + GAP
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
          f'height="{height}" font-family="sans-serif" font-size="11" '
          'text-anchor="middle">')
    print('<rect width="100%" height="100%" fill="#fff"/>')
    for place, i in enumerate(shown):
        row, column = divmod(place, COLUMNS)
        draw(images[i], labels[i], predicted[i], GAP + column * (CELL + GAP),
             GAP + row * (CELL + GAP + CAPTION))
    print("</svg>")


main()
