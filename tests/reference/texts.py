"""Files of lines and of images as examples: what a batch holds, a row a line.

`read` gives {name: array} as a safetensors file of examples would. A token is a
byte; special tokens are the ids behind the bytes. Rows are `train.sequence`
long and padded; a file of IDX images is read with its labels' beside it.
"""
import json

import numpy as np

PAD, BOS, EOS, UNK, CLS, SEP, MASK = range(256, 263)


# --- lines -------------------------------------------------------------------

def fields(path):
    """The fields of every line that is not blank, as bytes."""
    lines = [line.removesuffix(b"\r") for line in
             path.read_bytes().split(b"\n")]
    if path.suffix == ".tsv":
        return [line.split(b"\t") for line in lines if line]
    return [{name: text.encode() for name, text in json.loads(line).items()}
            for line in lines if line]


def padded(rows, length, padding):
    """int32 [n,length] of lists of ids."""
    found = np.full((len(rows), length), padding, np.int32)
    for index, row in enumerate(rows):
        found[index, :len(row)] = row
    return found


def lengths_of(rows):
    return np.array([len(row) for row in rows], np.int32)


# --- encoders ----------------------------------------------------------------

def cut(texts, room):
    """The texts without as many of their ends as do not fit; the longer one
    loses first, of two that are as long the second."""
    texts = [list(text) for text in texts]
    while sum(map(len, texts)) > room:
        longest = max(reversed(texts), key=len)
        longest.pop()
    return texts


def encoder_row(texts, length, cls):
    """(ids, types): `text`, `text sep text`, or with cls each with its sep."""
    ends = len(texts) if cls else len(texts) - 1
    texts = cut(texts, length - ends - cls)
    ids, types = [CLS] * cls, [0] * cls
    for index, text in enumerate(texts):
        part = text + [SEP] * (index < ends)
        ids, types = ids + part, types + [index] * len(part)
    if len(texts) == 2 and not cls:
        types[len(texts[0])] = 0
    return ids, types


def label_ids(labels):
    """Integers are themselves; names are numbered in their bytes' order."""
    if all(label.isdigit() for label in labels):
        return np.array([int(label) for label in labels], np.int32)
    names = sorted(set(labels))
    return np.array([names.index(label) for label in labels], np.int32)


def classified(spec, lines):
    model, length = spec["model"], spec["train"]["sequence"]
    head = model["head"]
    cls = head["pooler"] or head["pool"] in ("cls", "first")
    cls = cls and model["vocab"] > SEP
    rows = [encoder_row(line[1:], length, cls) for line in lines]
    ids = [row[0] for row in rows]
    found = {"tokens": padded(ids, length, PAD), "lengths": lengths_of(ids),
             "labels": label_ids([line[0] for line in lines])}
    if model["token_types"]:
        found["types"] = padded([row[1] for row in rows], length, 0)
    return found


# --- decoders ----------------------------------------------------------------

def decoder_rows(rows, length):
    """tokens, targets, lengths of (ids, scored): each id but the first is
    predicted, and scored from number `scored` on."""
    tokens = [ids[:-1][:length] for ids, _ in rows]
    targets = [([-1] * max(scored - 1, 0) + ids[max(scored, 1):])[:length]
               for ids, scored in rows]
    return {"tokens": padded(tokens, length, PAD),
            "targets": padded(targets, length, -1),
            "lengths": lengths_of(tokens)}


def answer(prompt, response):
    return list(prompt) + list(response) + [EOS], len(prompt)


def translated(spec, pairs):
    length = spec["train"]["sequence"]
    sources = [list(source)[:length - 1] + [EOS] for source, _ in pairs]
    found = decoder_rows([([BOS] + list(target) + [EOS], 1)
                          for _, target in pairs], length)
    return found | {"source": padded(sources, length, PAD),
                    "source_lengths": lengths_of(sources)}


def preferred(spec, lines):
    """Chosen and rejected side by side, [n,2,T]."""
    sides = [decoder_rows([answer(line["prompt"], line[side])
                           for line in lines], spec["train"]["sequence"])
             for side in ("chosen", "rejected")]
    return {name: np.stack([side[name] for side in sides], 1)
            for name in sides[0]}


# --- images ------------------------------------------------------------------

def idx_array(path):
    """uint8 of an IDX file: 0, 0, 8, rank, sizes of four bytes, the data."""
    content = path.read_bytes()
    rank = content[3]
    shape = np.frombuffer(content[4:4 + 4 * rank], ">u4")
    return np.frombuffer(content[4 + 4 * rank:], np.uint8).reshape(shape)


def idx_examples(path):
    images = idx_array(path).astype(np.float32) / np.float32(255)
    labels = path.with_name(
        path.name.replace("images-idx3", "labels-idx1"))
    return {"images": images.reshape(len(images), -1, *images.shape[-2:]),
            "labels": idx_array(labels).astype(np.int32)}


# --- any ---------------------------------------------------------------------

def read(spec, path):
    objective = spec["train"]["objective"]
    if path.name.endswith("ubyte"):
        return idx_examples(path)
    lines = fields(path)
    if objective == "classify":
        return classified(spec, lines)
    if objective == "preference":
        return preferred(spec, lines)
    pairs = [line if isinstance(line, list)
             else (line["prompt"], line["response"]) for line in lines]
    if objective == "seq2seq":
        return translated(spec, pairs)
    return decoder_rows([answer(*pair) for pair in pairs],
                        spec["train"]["sequence"])
