"""Reads a spec and fills in its defaults.

`load` gives plain dictionaries with every key present, in one spelling each:
`input`, `position` and `head` are {"type": ...} with their options beside it,
`ff` and `experts` are a map or None, `norm` is a map, and `blocks` is {prefix
of a stack's parameter names: how many}. The reader knows YAML 1.2's core schema
(`1e-5` is a number; `yes`, `on` and `none` are text). It trusts its input:
refusing bad specs is the compiler's work.
"""
import copy
import re

import yaml

MODEL = {
    "kind": "decoder", "input": "tokens", "position": "learned",
    "attention": {
        "projections": True, "scale": True, "bias": True,
        "output": True, "dropout": 0.0, "window": 0, "qk_norm": False,
        "residual": True},
    "ff": {"activation": "gelu-tanh", "gated": False, "bias": True},
    "experts": "none",
    "norm": {"type": "layernorm", "place": "pre", "eps": 1e-5, "bias": True},
    "dropout": 0.0, "embedding_scale": False, "embedding_norm": False,
    "token_types": 0, "tie_embeddings": True, "head": "lm"}

TRAIN = {
    "preference": {"beta": 0.1}, "batch": 8, "steps": 1000, "seed": 1337,
    "data": {"eval": "none", "format": "auto", "tokenizer": "bytes",
             "order": "shuffled", "split": 0.1},
    "label_smoothing": 0.0,
    "optimizer": {"type": "adamw", "lr": 6e-4, "betas": [0.9, 0.95],
                  "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0,
                  "momentum": 0.0},
    "schedule": {"type": "cosine", "warmup": 100, "min_lr": 6e-5},
    "freeze": [], "eval": {"every": 250, "steps": 20}}

LLAMA3 = {"factor": 8, "low": 1, "high": 4, "original": 8192}
EXPERTS = {"top_k": 2, "aux_loss": 0.01, "capacity": 0, "buffer": 0}
CLASSIFY = {"pool": "mean", "pooler": False}


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


def choice(given):
    """`name` or {name: options} as {"type": name} with the options."""
    if isinstance(given, str):
        given = {given: {}}
    (kind, options), = given.items()
    return {"type": kind} | options


def position_of(given):
    """{"type": ...}, for rotary with base and scaling (None or a map)."""
    position = choice(given)
    if position["type"] == "rotary":
        position.setdefault("base", 10000)
        scaling = position.get("scaling", "none")
        position["scaling"] = None
        if scaling != "none":
            position["scaling"] = LLAMA3 | scaling["llama3"]
    return position


def head_of(given):
    head = choice(given)
    return CLASSIFY | head if head["type"] == "classify" else head


def context_of(model):
    """The default context, of images and graphs."""
    given = model["input"]
    if given["type"] == "graph":
        return given["nodes"]
    extra = int(model["head"].get("pool") == "cls")
    return (given["size"] // given["patch"]) ** 2 + extra


def blocks_of(kind, given):
    """{prefix: how many}; one number is both stacks' of an encoder-decoder."""
    if kind != "encoder-decoder":
        return {"": given}
    if isinstance(given, int):
        given = {"encoder": given, "decoder": given}
    return {"encoder.": given["encoder"], "decoder.": given["decoder"]}


def objective_of(model):
    """The default objective, by kind and head."""
    if model["head"]["type"] == "classify":
        return "classify"
    if model["kind"] == "encoder-decoder":
        return "seq2seq"
    masked = model["head"]["type"] == "mlm" or model["kind"] == "encoder"
    return "masked-token" if masked else "next-token"


def resolve_model(given):
    model = dict(given)
    if isinstance(model.get("norm"), str):
        model["norm"] = {"type": model["norm"]}
    model = merge(MODEL, model)
    model["input"] = {"channels": 1} | choice(model["input"])
    model["head"] = head_of(model["head"])
    model["position"] = position_of(model["position"])
    if model["input"]["type"] != "tokens":
        model.setdefault("context", context_of(model))
    model.setdefault("kv_heads", model["heads"])
    model.setdefault("head_dim", model["dim"] // model["heads"])
    full = model["kind"] == "encoder"
    model["attention"].setdefault("mask", "full" if full else "causal")
    if model["ff"] == "none":
        model["ff"] = None
    else:
        model["ff"].setdefault("dim", 4 * model["dim"])
    experts = model["experts"]
    model["experts"] = None if experts == "none" else EXPERTS | experts
    model["blocks"] = blocks_of(model["kind"], model["blocks"])
    return model


def resolve(given):
    """A spec with its defaults, from the map that the YAML file holds."""
    model = resolve_model(given["model"])
    train = merge(TRAIN, given.get("train", {}))
    graph = model["input"]["type"] == "graph"
    train.setdefault("sequence",
                     model["input"]["nodes"] if graph else model["context"])
    train.setdefault("objective", objective_of(model))
    return {"name": given["name"], "model": model, "train": train}


def load(path):
    """The resolved spec of a YAML file."""
    with open(path, encoding="utf-8") as file:
        return resolve(yaml.load(file, CoreLoader))
