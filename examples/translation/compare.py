"""compare.py: how well words were translated.

    python3 compare.py NAME PAIRS.tsv PREDICTIONS [EXAMPLES]

PAIRS has a source, a tab and the dictionary's target a line, PREDICTIONS what
`predict` wrote for each. Printed are the share of targets written exactly, and
the character error: edits (letters to insert, delete or change) from what was
written to the target, over the targets' letters. Both are given for all words,
for relatives, those whose source and target are spelt alike (at most 4 edits
for 10 letters, accents not counted), and for the others; after a slash, what
copying the source reaches. With EXAMPLES, that many relatives and that many
others follow, from the beginning of the file.
"""
import sys
import unicodedata


def edits(a, b):
    """Levenshtein's distance, a row of its table after the other."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1,
                                         before + (x != y))
    return row[-1]


def plain(word):
    return "".join(c for c in unicodedata.normalize("NFD", word)
                   if not unicodedata.combining(c))


def related(source, target):
    longest = max(len(source), len(target))
    return edits(source, plain(target)) <= 0.4 * longest


def line(name, rows):
    """Rows of source, target, written."""
    letters = sum(len(target) for _, target, _ in rows)
    for which in 2, 0:
        exact = sum(row[which] == row[1] for row in rows) / len(rows)
        wrong = sum(edits(row[which], row[1]) for row in rows) / letters
        if which == 2:
            print(f"{name:<22}{len(rows):>6}", end="")
        print(f"{'' if which == 2 else ' / '}{100 * exact:5.1f}%  "
              f"{100 * wrong:6.1f}%", end="")
    print()


def main():
    name, pairs, predictions = sys.argv[1:4]
    with open(pairs, encoding="utf-8") as file:
        rows = [text.rstrip("\n").split("\t") for text in file]
    with open(predictions, encoding="utf-8", errors="replace") as file:
        rows = [(*row, text.rstrip("\n")) for row, text in zip(rows, file)]
    alike = [row for row in rows if related(row[0], row[1])]
    others = [row for row in rows if not related(row[0], row[1])]
    line(f"{name}, all", rows)
    line(f"{name}, relatives", alike)
    line(f"{name}, others", others)
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    for row in alike[:count] + others[:count]:
        print("  {} → {}{}".format(
            row[0], row[2], "" if row[2] == row[1] else f"  ({row[1]})"))


main()
