"""pairs.py: a dictionary of the dict server as pairs of words, split in two.

    python3 pairs.py NAME.index NAME.dict.dz DIRECTORY

The index has a headword a line, with the offset and length of its entry in the
text, in base 64. An entry is a line of the headword and how it is said, then
its senses: "1. first, second". Kept are headwords of small letters, one word
each, with the first translation of the first sense where both fit in 15 bytes.
They are sorted by a hash, and the first tenth is held out: no headword is in
both parts. Written are train.tsv and heldout.tsv in DIRECTORY, source tab
target, and seen.tsv: as many pairs of train.tsv as are held out. Only Python's
own library is used.
"""
import gzip
import hashlib
import re
import sys

DIGITS = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
MOST = 15           # bytes of a word


def number(text):
    value = 0
    for digit in text:
        value = 64 * value + DIGITS.index(digit)
    return value


def first_translation(entry):
    """Of an entry's lines; None where the first sense is not plain words."""
    for line in entry.split("\n")[1:]:
        line = re.sub(r"^\s*(\d+\.\s*)?", "", line)
        line = re.sub(r"<[^>]*>|\[[^]]*\]|\([^)]*\)", "", line)
        line = line.replace("\u2010", "-").split(",")[0].split(";")[0].strip()
        if line:
            return line
    return None


def pairs(index, text):
    found = {}
    for line in index.decode().splitlines():
        word, offset, length = line.split("\t")[:3]
        if not re.fullmatch(r"[a-z]+", word) or len(word) > MOST:
            continue
        at = number(offset)
        entry = text[at:at + number(length)].decode()
        target = first_translation(entry)
        if target and len(target.encode()) <= MOST \
                and re.fullmatch(r"[^\W\d_]+([ -][^\W\d_]+)*", target):
            found.setdefault(word, target.lower())
    return found


def mix(word):
    return hashlib.sha256(word.encode()).digest()


def write(path, words, found):
    with open(path, "w", encoding="utf-8") as file:
        for word in words:
            file.write(f"{word}\t{found[word]}\n")


def main():
    index, text, directory = sys.argv[1:]
    with open(index, "rb") as file:
        index = file.read()
    with gzip.open(text) as file:
        found = pairs(index, file.read())
    words = sorted(found, key=mix)
    held = len(words) // 10
    write(f"{directory}/heldout.tsv", words[:held], found)
    write(f"{directory}/train.tsv", words[held:], found)
    write(f"{directory}/seen.tsv", words[held:2 * held], found)
    print(f"{len(words) - held} words to train on, {held} held out")


main()
