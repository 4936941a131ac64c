"""Writes the data of examples/preferences: python3 pairs.py DIR

Three tasks on strings of 3 or 4 of the letters a to h: `reverse`, `sort` and
`upper`. The strings are split in three: those of tune.jsonl (prompts and
responses, half of which end in "!" and half in "."), those of prefer.jsonl
(pairs that differ in that last byte alone, the chosen one "!") and those held
out: test.tsv (prompt, answer, no ending), test.jsonl (the pairs again, to
measure). No string is in two of them. Needs Python alone.
"""
import itertools
import json
import random
import sys

LETTERS = "abcdefgh"
TASKS = {
    "reverse": lambda s: s[::-1],
    "sort": lambda s: "".join(sorted(s)),
    "upper": str.upper,
}
PREFER = 300  # strings of prefer.jsonl
TEST = 80     # strings held out


def strings():
    """All strings of 3 or 4 letters, shuffled the same way every time."""
    found = ["".join(letters) for n in (3, 4)
             for letters in itertools.product(LETTERS, repeat=n)]
    random.Random(5).shuffle(found)
    return found


def examples(some):
    """(prompt, answer) of every task on every string."""
    return [(f"{task}: {s}\n", answer(s))
            for s in some for task, answer in TASKS.items()]


def pair(prompt, answer):
    """One line of preference data: the same answer in both styles."""
    return {"prompt": prompt, "chosen": answer + "!",
            "rejected": answer + "."}


def write(path, rows):
    with open(path, "w", encoding="ascii") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")


def main():
    where = sys.argv[1]
    found = strings()
    test = examples(found[:TEST])
    prefer = examples(found[TEST:TEST + PREFER])
    tune = examples(found[TEST + PREFER:])
    # Exactly half of the answers in each style, whatever the task.
    styles = [".!"[i % 2] for i in range(len(tune))]
    random.Random(7).shuffle(styles)
    write(f"{where}/tune.jsonl",
          ({"prompt": p, "response": a + style}
           for (p, a), style in zip(tune, styles)))
    write(f"{where}/prefer.jsonl", (pair(p, a) for p, a in prefer))
    write(f"{where}/test.jsonl", (pair(p, a) for p, a in test))
    with open(f"{where}/test.tsv", "w", encoding="ascii") as out:
        for prompt, answer in test:
            out.write(f"{prompt[:-1]}\t{answer}\n")
    print(f"{len(tune)} answers to imitate, {len(prefer)} preferences,"
          f" {len(test)} prompts held out")


main()
