"""Random valid specs, and reference cases of them to judge a compiler by.

    random_specs.py N DIR [--seed S] [--big] [--task NAME]

writes DIR/random-S-0 … DIR/random-S-(N-1), each what make.py writes for its
own cases. The same seed gives the same specs. `--big` draws sizes of some
hundreds, past every tile, where the default stays below fifty; `--task` draws
one row of TASKS alone.

Each draw takes a task, then a value of every key that the contract lets stand
together; a rule that forbids a combination is beside the line that respects it.
"""
import argparse
import random
from pathlib import Path

import make
from parameters import matches, parameter_shapes
from spec import resolve

SMALL = {"heads": (1, 4), "head_dim": (3, 9), "blocks": (1, 3), "ff": (5, 40),
         "vocab": (11, 59), "sequence": (1, 19), "batch": (1, 4),
         "grid": (1, 4), "patch": (1, 4)}
BIG = {"heads": (1, 9), "head_dim": (7, 70), "blocks": (1, 4), "ff": (30, 700),
       "vocab": (97, 2003), "sequence": (20, 180), "batch": (1, 6),
       "grid": (3, 11), "patch": (2, 9)}

# name: (how often, kinds, input, head, objective; None: the default)
NEXT_SENTENCE = "masked-token+next-sentence"
TASKS = {
    "next-token": (4, ["decoder"], "tokens", "lm", None),
    "preference": (2, ["decoder"], "tokens", "lm", "preference"),
    "masked-token": (2, ["encoder", "encoder", "decoder"], "tokens", "lm",
                     "masked-token"),
    "mlm": (2, ["encoder", "encoder", "decoder"], "tokens", "mlm", None),
    "next-sentence": (2, ["encoder"], "tokens", "mlm", NEXT_SENTENCE),
    "next-sentence-lm": (1, ["encoder"], "tokens", "lm", NEXT_SENTENCE),
    "classify": (3, ["encoder", "encoder", "decoder"], "tokens", "classify",
                 None),
    "image": (3, ["encoder", "encoder", "encoder", "decoder"], "image",
              "classify", None),
    "graph": (3, ["encoder", "encoder", "encoder", "decoder"], "graph",
              "classify", None),
    "seq2seq": (5, ["encoder-decoder"], "tokens", "lm", None),
}
POOLS = ["mean", "sum", "max", "cls", "first", "last"]
GLOBS = ["*norm*", "embed.*", "blocks.0.*", "*.bias", "*attn*", "encoder.*",
         "decoder.blocks.0.*", "head.*", "*experts*", "*.router.weight",
         "*.cross.*", "*.relative.*"]


def divisors(number):
    return [part for part in range(1, number + 1) if number % part == 0]


def random_position(rng, head_dim, projected):
    kinds = ["none", "learned", "alibi", "sinusoidal"]
    kinds += ["rotary"] * 2 * (head_dim % 2 == 0)
    if projected:
        kinds += ["relative", "relative-learned"]
    kind = rng.choice(kinds)
    if kind != "rotary" or rng.random() < 0.3:
        return kind
    options = {"base": rng.choice([100, 10000, 500000])}
    if rng.random() < 0.5:
        options["scaling"] = {"llama3": {
            "factor": rng.choice([2, 8]), "low": 1,
            "high": rng.choice([2, 4]), "original": rng.choice([16, 64])}}
    return {"rotary": options}


def random_attention(rng, sizes, length, kind):
    """Options of attention; may fix sizes["dim"], kv_heads and head_dim."""
    heads, head_dim = sizes["heads"], sizes["head_dim"]
    options = {}
    if rng.random() < 0.25:
        options["mask"] = rng.choice(["full", "causal"])
    if rng.random() < 0.25:
        options["window"] = rng.randint(1, length + 2)
    if rng.random() < 0.2:
        options["scale"] = False
    if rng.random() < 0.1:
        options["residual"] = False
    sizes["dim"] = heads * head_dim
    if kind != "encoder-decoder" and rng.random() < 0.12:
        # no projections: kv_heads, head_dim and qk_norm have no meaning
        options["projections"] = False
        del sizes["head_dim"]
        return options
    options["bias"] = rng.choice([True, True, False, "qkv"])
    options["qk_norm"] = rng.random() < 0.25
    sizes["kv_heads"] = rng.choice(divisors(heads))
    if rng.random() < 0.15:
        options["output"] = False   # the heads side by side are dim wide
    elif rng.random() < 0.4:
        # a width of its own, which heads must still divide
        sizes["dim"] = heads * max(1, head_dim + rng.randint(-3, 4))
    return options


def random_norm(rng, needed):
    """A norm; `none` only where nothing needs one."""
    kinds = ["layernorm", "layernorm", "rmsnorm"] + ["none"] * (not needed)
    norm = {"type": rng.choice(kinds),
            "place": rng.choice(["pre", "pre", "post"]),
            "bias": rng.random() < 0.7,
            "eps": rng.choice([1e-5, 1e-6, 0.01])}
    if norm["type"] == "none":
        return rng.choice(["none", {"type": "none"}])
    return norm


def random_experts(rng):
    count = rng.randint(1, 6)
    return {"count": count, "top_k": rng.randint(1, min(count, 3)),
            "aux_loss": rng.choice([0, 0.01, 0.3]),
            "capacity": rng.choice([0, 0, 0.5, 1, 1.3])}


def random_blocks(rng, kind, most):
    def one():
        return 0 if rng.random() < 0.07 else rng.randint(1, most)
    if kind == "encoder-decoder":
        return {"encoder": one(), "decoder": one()}
    return one()


def random_input(rng, kind, sizes, pool):
    """The input, sizes["sequence"] with it, and keys that only it has."""
    length = sizes["sequence"]
    if kind == "tokens":
        return {"vocab": sizes["vocab"],
                "context": length + rng.choice([0, 0, 3])}
    if kind == "graph":
        return {"input": {"graph": {"nodes": length,
                                    "features": rng.randint(1, 9)}}}
    grid, patch = sizes["grid"], sizes["patch"]
    sizes["sequence"] = grid ** 2 + (pool == "cls")
    return {"input": {"image": {"size": grid * patch, "patch": patch,
                                "channels": rng.randint(1, 3)}}}


def random_head(rng, head):
    """A value of model.head."""
    if head != "classify":
        return head
    options = {"classes": rng.randint(2, 7), "pooler": rng.random() < 0.3}
    if rng.random() < 0.9:
        options["pool"] = rng.choice(POOLS)
    return {"classify": options}


def random_model(rng, task, kind, sizes):
    _, _, given, head_kind, _ = TASKS[task]
    head = random_head(rng, head_kind)
    pool = head["classify"].get("pool") if head_kind == "classify" else None
    model = {"kind": kind}
    model |= random_input(rng, given, sizes, pool)
    shape = {key: sizes[key] for key in ("heads", "head_dim")}
    attention = random_attention(rng, shape, sizes["sequence"], kind)
    position = random_position(rng, sizes["head_dim"],
                               attention.get("projections", True))
    if shape["dim"] == sizes["heads"] * sizes["head_dim"]:
        shape.pop("head_dim", None)     # leave it to the default
    norm = random_norm(rng, head_kind == "mlm")
    has_norm = isinstance(norm, dict) and norm["type"] != "none"
    ff = {"dim": sizes["ff"], "gated": rng.random() < 0.4,
          "bias": rng.random() < 0.6,
          "activation": rng.choice(["relu", "gelu", "gelu-tanh", "silu"])}
    model |= shape | {
        "blocks": random_blocks(rng, kind, sizes["blocks"]),
        "position": position, "attention": attention, "ff": ff, "norm": norm,
        "embedding_norm": has_norm and rng.random() < 0.25,
        "embedding_scale": rng.random() < 0.2,
        "tie_embeddings": rng.random() < 0.5, "head": head}
    other = rng.random()
    if other < 0.1:
        model["ff"] = "none"
    elif other < 0.35:
        model["experts"] = random_experts(rng)
    if given == "tokens" and kind != "encoder-decoder" and rng.random() < 0.3:
        model["token_types"] = rng.randint(1, 3)
    return model


def random_freeze(rng, spec):
    """Mostly nothing; only globs that match a parameter."""
    names = parameter_shapes(resolve(spec))
    globs = [glob for glob in GLOBS
             if any(matches(glob, name) for name in names)]
    if not globs or rng.random() < 0.7:
        return []
    return [rng.choice(globs)]


def random_spec(rng, name, ranges, task=None):
    """A spec as a map, and the traits of its batch (see batches.py)."""
    if task is None:
        task = rng.choices(list(TASKS), [row[0] for row in TASKS.values()])[0]
    kind, objective = rng.choice(TASKS[task][1]), TASKS[task][4]
    sizes = {key: rng.randint(*extent) for key, extent in ranges.items()}
    model = random_model(rng, task, kind, sizes)
    batch = sizes["batch"]
    train = {"batch": batch, "micro_batch": rng.choice(divisors(batch)),
             "label_smoothing": rng.choice([0.0, 0.0, 0.1, 0.3])}
    if "context" in model:
        train["sequence"] = sizes["sequence"]
    if objective:
        train["objective"] = objective
    if objective == "preference":
        train["preference"] = {"beta": rng.choice([0.1, 0.5])}
    traits = {"wide_ids": rng.random() < 0.2,
              "lengths": "image" not in model.get("input", "")
                         and rng.random() < 0.4,
              "types": rng.random() < 0.8, "edges": rng.random() < 0.8,
              "unscored": rng.choice([0.15, 0.5])}
    if kind == "encoder-decoder":
        traits["source_lengths"] = rng.random() < 0.4
    spec = {"name": name, "model": model, "train": train}
    freeze = random_freeze(rng, spec)
    if freeze:
        train["freeze"] = freeze
    return spec, traits


def write_random_case(directory, ranges=None, task=None):
    """Writes a case named after its directory, drawn until it judges fairly."""
    def draw(seed):
        spec, traits = random_spec(random.Random(seed), directory.name,
                                   ranges or SMALL, task)
        return make.draw_case(directory, spec, traits, seed + 1)
    make.draw_until_fair(directory.name, draw)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--task", choices=TASKS)
    options = parser.parse_args()
    for index in range(options.count):
        name = f"random-{options.seed}-{index}"
        write_random_case(options.directory / name,
                          BIG if options.big else SMALL, options.task)


if __name__ == "__main__":
    main()
