"""The cases that make.py writes, as tables of what differs from a small GPT-2.

A row of GRADIENT, which is about decoders, and of zoo.GRADIENT, about the rest,
is (name, model keys, train keys, batch traits); a row of TRAINING is (name,
model keys, train keys, data, steps), one of zoo.TRAINING has random examples
and their traits in place of data. A value None takes a key away. Sizes are
chosen so that no tile, vector or lane count divides them.
"""
import copy
import dataclasses
import json
import random

import numpy as np

import spec as specs
import zoo

MODEL = {"vocab": 37, "context": 19, "dim": 18, "heads": 3, "blocks": 1,
         "ff": {"dim": 26}}
BATCH = {"batch": 2, "sequence": 13}


def attention(**options):
    return {"attention": options}


def ff(**options):
    return {"ff": options}


def norm(**options):
    return {"norm": options}


LLAMA3 = {"llama3": {"factor": 8, "low": 1, "high": 4, "original": 16}}
ROTARY = {"position": "rotary"}

LLAMA = {"dim": 36, "heads": 6, "kv_heads": 2, "blocks": 2,
         "position": {"rotary": {"base": 500000, "scaling": LLAMA3}},
         "attention": {"bias": False},
         "ff": {"dim": 50, "activation": "silu", "gated": True, "bias": False},
         "norm": {"type": "rmsnorm", "eps": 1e-6}, "tie_embeddings": False}
VASWANI = {"dim": 36, "position": "sinusoidal",
           "ff": {"dim": 50, "activation": "relu"},
           "norm": {"place": "post"}, "embedding_scale": True}
LECTURE = {"position": "none", "ff": "none", "norm": "none",
           "attention": {"projections": False, "mask": "full",
                         "residual": False},
           "tie_embeddings": False}

GRADIENT = [
    ("gpt2", {"dim": 36, "blocks": 2, "vocab": 83, "ff": {"dim": 50}}, {}, {}),
    ("blocks-three", {"blocks": 3}, {}, {}),
    # positions
    ("position-none", {"position": "none"}, {}, {}),
    ("position-learned-whole-context", {}, {"sequence": 19}, {}),
    ("position-sinusoidal", {"position": "sinusoidal"}, {}, {}),
    ("position-sinusoidal-odd", {"position": "sinusoidal", "dim": 21}, {}, {}),
    ("position-rotary", ROTARY, {}, {}),
    ("position-rotary-base",
     {"position": {"rotary": {"base": 100}}}, {}, {}),
    ("position-rotary-llama3",
     {"position": {"rotary": {"base": 500000, "scaling": LLAMA3}}}, {}, {}),
    ("position-alibi", {"position": "alibi"}, {}, {}),
    ("position-alibi-full",
     {"position": "alibi"} | attention(mask="full"), {}, {}),
    # attention
    ("mask-full", attention(mask="full"), {}, {}),
    ("window", attention(window=4), {}, {}),
    ("window-one", attention(window=1), {}, {}),
    ("window-full", attention(window=4, mask="full"), {}, {}),
    ("window-alibi", {"position": "alibi"} | attention(window=5), {}, {}),
    ("kv-heads", {"heads": 6, "kv_heads": 2}, {}, {}),
    ("kv-heads-one", {"kv_heads": 1}, {}, {}),
    ("heads-one", {"heads": 1}, {}, {}),
    ("head-dim-wide", {"head_dim": 11}, {}, {}),
    ("head-dim-narrow-rotary", {"head_dim": 4} | ROTARY, {}, {}),
    ("qk-norm", attention(qk_norm=True), {}, {}),
    ("qk-norm-rotary-kv-heads",
     {"kv_heads": 1} | attention(qk_norm=True) | ROTARY, {}, {}),
    ("projections-false", attention(projections=False), {}, {}),
    ("projections-false-rotary",
     attention(projections=False) | ROTARY, {}, {}),
    ("output-false", attention(output=False), {}, {}),
    ("scale-false", attention(scale=False), {}, {}),
    ("scale-false-alibi",
     {"position": "alibi"} | attention(scale=False), {}, {}),
    ("attention-bias-false", attention(bias=False), {}, {}),
    ("attention-bias-qkv", attention(bias="qkv"), {}, {}),
    ("residual-false", attention(residual=False), {}, {}),
    ("residual-false-post",
     attention(residual=False) | norm(place="post"), {}, {}),
    # feed-forward
    ("ff-none", {"ff": "none"}, {}, {}),
    ("ff-relu", ff(activation="relu"), {}, {}),
    ("ff-gelu", ff(activation="gelu"), {}, {}),
    ("ff-silu", ff(activation="silu"), {}, {}),
    ("ff-gated-silu", ff(activation="silu", gated=True), {}, {}),
    ("ff-gated-relu", ff(activation="relu", gated=True, bias=False), {}, {}),
    ("ff-gated-gelu", ff(activation="gelu", gated=True), {}, {}),
    ("ff-gated-gelu-tanh", ff(gated=True), {}, {}),
    ("ff-bias-false", ff(bias=False), {}, {}),
    ("ff-default-dim", {"dim": 12, "ff": {"dim": None}}, {}, {}),
    # norms
    ("norm-rmsnorm", norm(type="rmsnorm"), {}, {}),
    ("norm-rmsnorm-post", norm(type="rmsnorm", place="post"), {}, {}),
    ("norm-post", norm(place="post") | {"blocks": 2}, {}, {}),
    ("norm-none", {"norm": "none"}, {}, {}),
    ("norm-none-map", norm(type="none"), {}, {}),
    ("norm-bias-false", norm(bias=False), {}, {}),
    ("norm-eps", norm(eps=0.1), {}, {}),
    ("norm-rmsnorm-eps", norm(type="rmsnorm", eps=0.1), {}, {}),
    # embeddings and head
    ("untied", {"tie_embeddings": False}, {}, {}),
    ("embedding-scale", {"embedding_scale": True}, {}, {}),
    ("embedding-norm", {"embedding_norm": True}, {}, {}),
    ("embedding-norm-scale-rmsnorm-untied",
     {"embedding_norm": True, "embedding_scale": True,
      "tie_embeddings": False} | norm(type="rmsnorm"), {}, {}),
    # batches
    ("lengths", {}, {"batch": 3}, {"lengths": [5, 13, 1]}),
    ("lengths-full", attention(mask="full"), {"batch": 3},
     {"lengths": [5, 13, 1]}),
    ("lengths-zero", attention(mask="full"), {"batch": 3},
     {"lengths": [0, 13, 4]}),
    ("lengths-window-full-alibi",
     {"position": "alibi"} | attention(mask="full", window=3), {"batch": 3},
     {"lengths": [5, 12, 2]}),
    ("nothing-scored", {}, {}, {"unscored": 1}),
    ("ids-int64", {}, {}, {"wide_ids": True}),
    ("sequence-one", {}, {"sequence": 1, "batch": 5}, {}),
    ("batch-one", {}, {"batch": 1}, {}),
    ("micro-batch", {}, {"batch": 6, "micro_batch": 2, "sequence": 5}, {}),
    ("micro-batch-lengths", {}, {"batch": 3, "micro_batch": 1},
     {"lengths": [2, 13, 7], "unscored": 0.5}),
    # training keys that gradients feel
    ("label-smoothing", {}, {"label_smoothing": 0.1}, {}),
    ("freeze", {}, {"freeze": ["*.attn.*", "norm.bias"]}, {}),
    ("freeze-tied-embedding", {}, {"freeze": ["embed.token.weight"]}, {}),
    ("freeze-first-block", {"blocks": 2},
     {"freeze": ["embed.*", "blocks.0.*"]}, {}),
    # models that people use
    ("llama", LLAMA, {}, {}),
    ("vaswani", VASWANI, {}, {}),
    ("mistral", LLAMA | {"position": "rotary", "blocks": 1,
                         "attention": {"bias": False, "window": 5}}, {}, {}),
    ("qwen", LLAMA | {"position": "rotary", "blocks": 1, "head_dim": 8,
                      "attention": {"bias": "qkv", "qk_norm": True},
                      "tie_embeddings": True}, {}, {}),
    ("lecture", LECTURE, {}, {}),
    ("lecture-projected",
     LECTURE | {"position": "sinusoidal", "dim": 24,
                "attention": {"output": False, "bias": False,
                              "residual": False}}, {}, {}),
]

# --- training ----------------------------------------------------------------

TRAIN = {"batch": 4, "sequence": 11, "steps": 24,
         "data": {"order": "sequential", "split": 0.1},
         "optimizer": {"lr": 3e-3},
         "schedule": {"warmup": 5, "min_lr": 3e-4},
         "eval": {"every": 12, "steps": 2}}
BYTES = {"vocab": 256}


def optimizer(**options):
    return {"optimizer": options}


def schedule(**options):
    return {"schedule": options}


def data(**options):
    return {"data": options}


TRAINING = [
    ("train-adamw", BYTES, {}, "text", 24),
    ("train-adamw-eps-betas", {},
     optimizer(betas=[0.8, 0.99], eps=1e-3, weight_decay=0.5), "ids", 24),
    ("train-adam", {}, optimizer(type="adam", weight_decay=0.02), "ids", 24),
    ("train-sgd", {}, optimizer(type="sgd", lr=0.05), "ids", 24),
    ("train-sgd-momentum", {},
     optimizer(type="sgd", lr=0.02, momentum=0.9, clip=0.5), "ids", 24),
    ("train-clip-off", {}, optimizer(type="sgd", lr=0.05, clip=0), "ids", 24),
    ("train-clip", {}, optimizer(clip=0.25), "ids", 24),
    ("train-schedule-linear", {}, schedule(type="linear"), "ids", 24),
    ("train-schedule-constant", {},
     schedule(type="constant", warmup=0), "ids", 24),
    ("train-schedule-inverse-sqrt", {},
     schedule(type="inverse-sqrt", min_lr=2e-3), "ids", 24),
    ("train-schedule-inverse-sqrt-no-warmup", {},
     schedule(type="inverse-sqrt", warmup=0, min_lr=0), "ids", 24),
    ("train-schedule-wsd", {},
     schedule(type="wsd", decay=8, warmup=3), "ids", 24),
    ("train-schedule-warmup-only", {}, schedule(warmup=100), "ids", 20),
    ("train-stops-early", {}, {}, "ids", 20),
    ("train-past-horizon", {}, {}, "ids", 30),
    ("train-label-smoothing", {}, {"label_smoothing": 0.2}, "ids", 24),
    ("train-freeze", {}, {"freeze": ["embed.*", "*.ff.up.*"]}, "ids", 24),
    ("train-accumulation", {}, {"micro_batch": 1}, "ids", 24),
    ("train-split-exact", {}, data(split=0.35), "ids", 24),
    ("train-split-none", BYTES, data(split=0), "text", 24),
    ("train-eval-file", BYTES, {"eval": {"every": 6, "steps": 50}},
     "text and eval", 24),
    ("train-data-shorter-than-window", {}, data(split=0), "few ids", 20),
    ("train-llama", LLAMA | {"vocab": 61, "blocks": 1}, {}, "ids", 24),
]

WORDS = ("a the small large river stone bird window lamp slow green "
         "walks sings falls turns over under near with and").split()


def text(name, length):
    """ASCII bytes with some order to learn, the same for a name."""
    rng = random.Random(name)
    words = []
    while len(" ".join(words)) < length:
        words.append(rng.choice(WORDS) + rng.choice(["", "", "", ",", "\n"]))
    return " ".join(words)[:length].encode()


def ids(name, length, vocab):
    """A nanoGPT .bin: uint16 ids, each near a function of the one before."""
    rng = random.Random(name)
    tokens = [rng.randrange(vocab)]
    while len(tokens) < length:
        tokens.append((tokens[-1] * 3 + rng.randrange(4)) % vocab)
    return np.array(tokens, "<u2").tobytes()


def line_files(name, kind):
    """A .tsv or .jsonl of 21 lines; one ends with a carriage return, one is
    blank, some are longer than a sequence."""
    rng = random.Random(name)

    def words(most):
        return " ".join(rng.choices(WORDS + ["\u00e9t\u00e9"],
                                    k=rng.randint(1, most)))

    lines = []
    for _ in range(21):
        label = rng.choice(["stone", "river", "Lamp"])
        columns = {"labels": [label, words(4)],
                   "pairs": [str(rng.randrange(3)), words(3), words(3)],
                   "source and target": [words(3), words(3)],
                   "chat": {"prompt": words(2), "response": words(2)},
                   "preference": {"prompt": words(2), "chosen": words(2),
                                  "rejected": words(3), "note": words(1)}}
        line = columns[kind]
        lines.append("\t".join(line) if isinstance(line, list)
                     else json.dumps(line, ensure_ascii=rng.random() < 0.5))
    lines[3] += "\r"
    lines.insert(7, "")
    suffix = "jsonl" if kind in ("chat", "preference") else "tsv"
    return {"data." + suffix: ("\n".join(lines) + "\n").encode()}


def idx_file(array):
    header = bytes([0, 0, 8, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def image_files(name):
    rng = np.random.default_rng(len(name))
    images = rng.integers(0, 256, (21, 6, 6)).astype(np.uint8)
    labels = rng.integers(0, 5, 21).astype(np.uint8)
    return {"data.images-idx3-ubyte": idx_file(images),
            "data.labels-idx1-ubyte": idx_file(labels)}


def data_files(name, kind, vocab):
    if kind == "images":
        return image_files(name)
    if kind in ("labels", "pairs", "source and target", "chat", "preference"):
        return line_files(name, kind)
    if kind == "ids":
        return {"data.bin": ids(name, 700, vocab)}
    if kind == "few ids":
        return {"data.bin": ids(name, 7, vocab)}
    files = {"data.txt": text(name, 1203)}
    if kind == "text and eval":
        files["eval.txt"] = text(name + " eval", 317)
    return files


@dataclasses.dataclass
class TrainingCase:
    spec: dict          # as YAML has it
    steps: int
    files: dict         # {name: bytes} of data
    examples: dict      # {name: how many} of data that batches.py draws
    traits: dict        # of those


def pruned(given):
    """Without the keys whose value is None."""
    return {key: pruned(value) if isinstance(value, dict) else value
            for key, value in given.items() if value is not None}


def spec_of(name, model, train):
    return {"name": name, "model": pruned(model), "train": pruned(train)}


def gradient_cases():
    """Yields (spec map, batch traits)."""
    tables = (MODEL, BATCH, GRADIENT), (zoo.MODEL, zoo.BATCH, zoo.GRADIENT)
    for base_model, base_train, rows in tables:
        for name, model, train, traits in rows:
            yield spec_of(name, specs.merge(base_model, model),
                          specs.merge(base_train, train)), copy.deepcopy(traits)


def training_cases():
    """Yields TrainingCase."""
    for name, model, train, kind, steps in TRAINING:
        model = specs.merge(MODEL, model)
        given = spec_of(name, model, specs.merge(TRAIN, train))
        files = data_files(name, kind, model["vocab"])
        yield TrainingCase(given, steps, files, {}, {})
    for name, model, train, examples, traits in zoo.TRAINING:
        given = spec_of(name, specs.merge(zoo.MODEL, model),
                        specs.merge(zoo.TRAIN, train))
        yield TrainingCase(given, 24, {}, examples, traits)
    for name, model, train in zoo.TRAINING_IDS:
        model = specs.merge(zoo.MODEL, model)
        given = spec_of(name, model, specs.merge(TRAIN, train))
        files = data_files(name, "ids", model["vocab"])
        yield TrainingCase(given, 24, files, {}, {})
    for name, model, train, kind in zoo.TRAINING_FILES:
        given = spec_of(name, specs.merge(zoo.MODEL, model),
                        specs.merge(zoo.FILES, train))
        yield TrainingCase(given, 24, data_files(name, kind, 0), {}, {})
