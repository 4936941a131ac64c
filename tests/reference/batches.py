"""Random batches: every tensor that a spec's `grad` reads, and their like with
a first dimension of examples, which train.

Traits say what is out of the ordinary:

    lengths, source_lengths   a list, or True: random ones
    unscored                  the share of targets that are -1
    wide_ids                  ids are int64
    types, edges              False: the tensor is left out
"""
import numpy as np


def near(values, seed):
    """float32 values a few units around `values`."""
    rng = np.random.default_rng(seed)
    return (values + 5 * rng.standard_normal(values.shape)).astype(np.float32)


def random_lengths(rng, wanted, shape, longest, kind):
    """int [shape]; `wanted` is True or a flat list."""
    if wanted is True:
        wanted = rng.integers(1, longest + 1, shape)
    return np.array(wanted, kind).reshape(shape)


def random_graph(rng, given, train, traits):
    """nodes [B,N,F], and edges uint8 [B,N,N], any value but 0 an edge."""
    batch, length = train["batch"], train["sequence"]
    shape = batch, length, given["features"]
    found = {"nodes": rng.standard_normal(shape).astype(np.float32)}
    if traits.get("edges", True):
        present = rng.random((batch, length, length)) < 0.3
        value = rng.choice([1, 1, 2, 255], present.shape)
        found["edges"] = (present * value).astype(np.uint8)
    return found


def random_image(rng, given, train):
    shape = train["batch"], given["channels"], given["size"], given["size"]
    return {"images": rng.standard_normal(shape).astype(np.float32)}


def random_tokens(rng, spec, traits, kind):
    """tokens, and targets where positions are scored; shaped [B,T], of a
    preference [B,2,T]."""
    model, train = spec["model"], spec["train"]
    shape = train["batch"], train["sequence"]
    if train["objective"] == "preference":
        shape = shape[0], 2, shape[1]
    found, vocab = {}, model["vocab"]
    if train["objective"] != "classify":
        targets = rng.integers(0, vocab, shape)
        unscored = traits.get("unscored", 0.15)
        targets[rng.random(shape) < unscored] = -1
        found["targets"] = targets.astype(kind)
    found = {"tokens": rng.integers(0, vocab, shape).astype(kind)} | found
    if model["kind"] == "encoder-decoder":
        found["source"] = rng.integers(0, vocab, shape).astype(kind)
    if model["token_types"] and traits.get("types", True):
        types = rng.integers(0, model["token_types"], shape)
        found["types"] = types.astype(kind)
    return found


def classes_of(spec):
    """How many values a label has; 0: there are no labels."""
    if spec["train"]["objective"] == "masked-token+next-sentence":
        return 2
    return spec["model"]["head"].get("classes", 0)


def random_batch(spec, traits, seed):
    """{name: array} of one batch."""
    rng = np.random.default_rng(seed)
    given, train = spec["model"]["input"], spec["train"]
    kind = np.int64 if traits.get("wide_ids") else np.int32
    if given["type"] == "image":
        batch = random_image(rng, given, train)
    elif given["type"] == "graph":
        batch = random_graph(rng, given, train, traits)
    else:
        batch = random_tokens(rng, spec, traits, kind)
    for name in ("lengths", "source_lengths"):
        wanted = traits.get(name)
        if wanted:
            shape = (batch["tokens"].shape[:-1] if "tokens" in batch
                     else (train["batch"],))
            batch[name] = random_lengths(rng, wanted, shape,
                                         train["sequence"], kind)
    if classes_of(spec):
        labels = rng.integers(0, classes_of(spec), train["batch"])
        batch["labels"] = labels.astype(kind)
    return batch


def examples(spec, traits, count, seed):
    """`count` examples as one batch; without a preference's reference, which
    training computes."""
    train = spec["train"] | {"batch": count}
    return random_batch(spec | {"train": train}, traits, seed)
