"""Random valid specs, and reference cases of them to judge a compiler by.

    random_specs.py N DIR [--seed S] [--big]

writes DIR/random-S-0 … DIR/random-S-(N-1), each what make.py writes for its
own cases. The same seed gives the same specs. `--big` draws sizes of some
hundreds, past every tile, where the default stays below fifty.

Each draw takes a value of every key that the contract lets stand together; a
rule that forbids a combination is beside the line that respects it.
"""
import argparse
import itertools
import random
from pathlib import Path

import make
from model import matches, parameter_shapes
from spec import resolve

SMALL = {"heads": (1, 4), "head_dim": (3, 9), "blocks": (1, 2), "ff": (5, 40),
         "vocab": (11, 59), "sequence": (1, 19), "batch": (1, 4)}
BIG = {"heads": (1, 9), "head_dim": (7, 70), "blocks": (1, 4), "ff": (30, 700),
       "vocab": (97, 2003), "sequence": (20, 180), "batch": (1, 6)}


def divisors(number):
    return [part for part in range(1, number + 1) if number % part == 0]


def random_position(rng, head_dim, dim):
    kinds = ["none", "learned", "alibi"]
    kinds += ["sinusoidal"] * (dim % 2 == 0)
    kinds += ["rotary"] * 2 * (head_dim % 2 == 0)
    kind = rng.choice(kinds)
    if kind != "rotary" or rng.random() < 0.3:
        return kind
    options = {"base": rng.choice([100, 10000, 500000])}
    if rng.random() < 0.5:
        options["scaling"] = {"llama3": {
            "factor": rng.choice([2, 8]), "low": 1,
            "high": rng.choice([2, 4]), "original": rng.choice([16, 64])}}
    return {"rotary": options}


def random_attention(rng, sizes, length):
    """Options of attention; may fix sizes["dim"], kv_heads and head_dim."""
    heads, head_dim = sizes["heads"], sizes["head_dim"]
    options = {}
    if rng.random() < 0.25:
        options["mask"] = "full"
    if rng.random() < 0.25:
        options["window"] = rng.randint(1, length + 2)
    if rng.random() < 0.2:
        options["scale"] = False
    if rng.random() < 0.1:
        options["residual"] = False
    sizes["dim"] = heads * head_dim
    if rng.random() < 0.12:
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


def random_freeze(rng, spec):
    """Mostly nothing; only globs that match a parameter."""
    glob = rng.choice([None, None, None, "*norm*", "embed.*", "blocks.0.*",
                       "*.bias"])
    names = parameter_shapes(resolve(spec))
    if glob and any(matches(glob, name) for name in names):
        return [glob]
    return []


def random_spec(rng, name, ranges=None):
    """A spec as a map, and the traits of its batch (see make.write_case)."""
    sizes = {key: rng.randint(*extent)
             for key, extent in (ranges or SMALL).items()}
    length, batch = sizes.pop("sequence"), sizes.pop("batch")
    ff_dim = sizes.pop("ff")
    head_dim = sizes["head_dim"]
    attention = random_attention(rng, sizes, length)
    if sizes["dim"] == sizes["heads"] * head_dim:
        sizes.pop("head_dim", None)     # leave it to the default
    norm = {"type": rng.choice(["layernorm", "layernorm", "rmsnorm", "none"]),
            "place": rng.choice(["pre", "pre", "post"]),
            "bias": rng.random() < 0.7,
            "eps": rng.choice([1e-5, 1e-6, 0.01])}
    if norm["type"] == "none":
        norm = rng.choice(["none", {"type": "none"}])
    has_norm = isinstance(norm, dict) and norm["type"] != "none"
    ff = {"dim": ff_dim, "gated": rng.random() < 0.4,
          "bias": rng.random() < 0.6,
          "activation": rng.choice(["relu", "gelu", "gelu-tanh", "silu"])}
    model = sizes | {
        "context": length + rng.choice([0, 0, 3]),
        "position": random_position(rng, head_dim, sizes["dim"]),
        "attention": attention,
        "ff": "none" if rng.random() < 0.1 else ff,
        "norm": norm,
        "embedding_scale": rng.random() < 0.2,
        "embedding_norm": has_norm and rng.random() < 0.25,
        "tie_embeddings": rng.random() < 0.5}
    train = {"batch": batch, "sequence": length,
             "micro_batch": rng.choice(divisors(batch)),
             "label_smoothing": rng.choice([0.0, 0.0, 0.1, 0.3])}
    traits = {"lengths": rng.random() < 0.3, "wide_ids": rng.random() < 0.2}
    spec = {"name": name, "model": model, "train": train}
    freeze = random_freeze(rng, spec)
    if freeze:
        train["freeze"] = freeze
    return spec, traits


def write_random_case(directory, ranges=None):
    """Writes a case named after its directory, drawn until it judges fairly."""
    name = directory.name
    for attempt in itertools.count():
        rng = random.Random(f"{name} {attempt}")
        spec, traits = random_spec(rng, name, ranges)
        if make.write_case(directory, spec, traits) <= make.FAIR:
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--big", action="store_true")
    options = parser.parse_args()
    for index in range(options.count):
        name = f"random-{options.seed}-{index}"
        write_random_case(options.directory / name,
                          BIG if options.big else SMALL)


if __name__ == "__main__":
    main()
