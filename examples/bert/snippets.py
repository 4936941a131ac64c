"""Makes text to pre-train on, and snippets to classify, out of fortunes.

    python3 snippets.py FOLDER LANGUAGE FILE... [LANGUAGE FILE...]...

What has a slash is a file, of the language named before it. A saying becomes a
line, without its author (`-- Cicero`); those of fewer than 40 bytes are left
out, and so is what has come before. Every tenth is held out. In FOLDER are
written

    text.txt, heldout.txt   the sayings, those held out apart; no labels
    labels-S.tsv            snippets with labels for seed S, not held out: its
                            first N lines serve where N are wanted
    heldout.tsv             snippets to judge by, of the sayings held out

A snippet is a line of LANGUAGE, a tab, and up to 24 bytes of a saying from
where a word begins, broken off where they end. Languages take turns, so that
there are as many snippets of each; no two are of one saying.
"""
import random
import sys

SHORTEST = 40       # bytes of a saying
BYTES = 24          # of a snippet, at most
JUDGED = 400        # snippets of a language to judge by
LABELLED = 80       # snippets of a language for a seed
SEEDS = 1, 2, 3


def by_language(words):
    """The files of each language."""
    files = {}
    for word in words:
        if "/" in word:
            files[language].append(word)
        else:
            language = word
            files[language] = []
    return files


def sayings(paths):
    """The sayings of the files, each on one line, none twice."""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8", errors="ignore") as file:
            lines = file.read().splitlines()
        kept = []
        for line in lines + ["%"]:
            if line.startswith("%"):
                found[" ".join(" ".join(kept).split())] = True
                kept = []
            elif not line.lstrip().startswith("--"):
                kept.append(line)
    return [said for said in found if len(said.encode()) >= SHORTEST]


def snippet(saying, draw):
    """Up to BYTES bytes of a saying, whole characters, from a word's start."""
    data = saying.encode()
    last = len(data) - BYTES
    starts = [0] + [i + 1 for i in range(last) if data[i] == ord(" ")]
    start = draw.choice(starts)
    return data[start:start + BYTES].decode(errors="ignore").strip()


def snippets(groups, count, draw):
    """Lines of `count` snippets of each language."""
    chosen = {language: draw.sample(group, count)
              for language, group in groups.items()}
    return [f"{language}\t{snippet(group[i], draw)}"
            for i in range(count) for language, group in chosen.items()]


def write(path, lines):
    """Writes lines to a file."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def shuffled(groups, draw):
    """The sayings of all languages, in any order."""
    lines = [saying for group in groups.values() for saying in group]
    draw.shuffle(lines)
    return lines


def main(folder, words):
    groups = {language: sayings(paths)
              for language, paths in by_language(words).items()}
    train = {language: [said for i, said in enumerate(group) if i % 10 != 9]
             for language, group in groups.items()}
    heldout = {language: group[9::10] for language, group in groups.items()}
    draw = random.Random(1337)
    write(f"{folder}/text.txt", shuffled(train, draw))
    write(f"{folder}/heldout.txt", shuffled(heldout, draw))
    write(f"{folder}/heldout.tsv", snippets(heldout, JUDGED, draw))
    for seed in SEEDS:
        write(f"{folder}/labels-{seed}.tsv",
              snippets(train, LABELLED, random.Random(seed)))
    for language in groups:
        length = sum(len(said.encode()) for said in train[language])
        print(f"{language}: {len(train[language])} sayings of {length} bytes,"
              f" {len(heldout[language])} held out")


main(sys.argv[1], sys.argv[2:])
