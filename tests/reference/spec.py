"""Reads a spec and fills in its defaults, for decoders with head lm.

`load` gives plain dictionaries with every key present, in one spelling each:
`position` is {"type": ...}, `ff` is a map or None, `norm` is a map. The reader
knows YAML 1.2's core schema (`1e-5` is a number; `yes`, `on` and `none` are
text). It trusts its input: refusing bad specs is the compiler's work.
"""
import copy
import re

import yaml

MODEL = {
    "kind": "decoder", "input": "tokens", "position": "learned",
    "attention": {
        "mask": "causal", "projections": True, "scale": True, "bias": True,
        "output": True, "dropout": 0.0, "window": 0, "qk_norm": False,
        "residual": True},
    "ff": {"activation": "gelu-tanh", "gated": False, "bias": True},
    "experts": "none",
    "norm": {"type": "layernorm", "place": "pre", "eps": 1e-5, "bias": True},
    "dropout": 0.0, "embedding_scale": False, "embedding_norm": False,
    "token_types": 0, "tie_embeddings": True, "head": "lm"}

TRAIN = {
    "objective": "next-token", "batch": 8, "steps": 1000, "seed": 1337,
    "data": {"eval": "none", "format": "auto", "tokenizer": "bytes",
             "order": "shuffled", "split": 0.1},
    "label_smoothing": 0.0,
    "optimizer": {"type": "adamw", "lr": 6e-4, "betas": [0.9, 0.95],
                  "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0,
                  "momentum": 0.0},
    "schedule": {"type": "cosine", "warmup": 100, "min_lr": 6e-5},
    "freeze": [], "eval": {"every": 250, "steps": 20}}

LLAMA3 = {"factor": 8, "low": 1, "high": 4, "original": 8192}


class CoreLoader(yaml.SafeLoader):
    """YAML 1.2, core schema; only `true` and `false` are booleans."""
    yaml_implicit_resolvers = {}


def add_type(tag, pattern, first, construct):
    tag = "tag:yaml.org,2002:" + tag
    CoreLoader.add_implicit_resolver(tag, re.compile(pattern), list(first))
    CoreLoader.add_constructor(
        tag, lambda loader, node: construct(loader.construct_scalar(node)))


DIGITS = "-+0123456789"
add_type("bool", r"^(?:true|false)$", "tf", lambda text: text == "true")
add_type("int", r"^[-+]?[0-9]+$", DIGITS, int)
add_type("float",
         r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$",
         DIGITS + ".", float)


def merge(defaults, given):
    """`given` over `defaults`, map by map."""
    result = copy.deepcopy(defaults)
    for key, value in given.items():
        inner = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if inner else value
    return result


def position_of(given):
    """{"type": ...}, for rotary with base and scaling (None or a map)."""
    if isinstance(given, str):
        given = {given: {}}
    (kind, options), = given.items()
    position = {"type": kind}
    if kind == "rotary":
        position["base"] = options.get("base", 10000)
        scaling = options.get("scaling", "none")
        position["scaling"] = None
        if scaling != "none":
            position["scaling"] = LLAMA3 | scaling["llama3"]
    return position


def resolve(given):
    """A spec with its defaults, from the map that the YAML file holds."""
    model = dict(given["model"])
    if isinstance(model.get("norm"), str):
        model["norm"] = {"type": model["norm"]}
    model = merge(MODEL, model)
    model.setdefault("kv_heads", model["heads"])
    model.setdefault("head_dim", model["dim"] // model["heads"])
    model["position"] = position_of(model["position"])
    if model["ff"] == "none":
        model["ff"] = None
    else:
        model["ff"].setdefault("dim", 4 * model["dim"])
    train = merge(TRAIN, given.get("train", {}))
    train.setdefault("sequence", model["context"])
    assert model["kind"] == "decoder" and model["head"] == "lm"
    assert model["input"] == "tokens" and model["experts"] == "none"
    return {"name": given["name"], "model": model, "train": train}


def load(path):
    """The resolved spec of a YAML file."""
    with open(path, encoding="utf-8") as file:
        return resolve(yaml.load(file, CoreLoader))
