"""Writes the reference cases into cases/.

    make.py [--to DIR] [NAME…]

A gradient case is a directory with

    spec.yaml              the model; train.batch and train.sequence are B, T
    weights.safetensors    every parameter, float32
    batch.safetensors      tokens, targets, sometimes lengths
    expect.safetensors     loss [1], logits [B,T,vocab], grad.NAME, in float64

and a training case, `train-…`, with

    spec.yaml, weights.safetensors
    data.txt or data.bin   bytes, or nanoGPT's uint16 tokens
    eval.txt               where evaluation has a file of its own
    expect.jsonl           the log: a line a step, a line an evaluation

cases.py says which: one value of one key a case, models that people use, and
training; random ones come on top. Weights are large enough that every part of
the model moves the logits. Files are the same bytes whenever the same versions
of PyTorch and numpy write them.
"""
import argparse
import json
import zlib
from pathlib import Path

import numpy as np
import torch
import yaml

import cases
import compare
import model
import random_specs
import spec as specs
import tensors
import training

RANDOM_CASES = 12
FAIR = 0.3


def seed_of(name):
    return zlib.crc32(name.encode())


def weight_gains(spec):
    """Factors on matrices and biases whose names hold these parts."""
    model_spec = spec["model"]
    gains = {".attn.q.": 0.15, ".attn.k.": 6.0}
    if spec["train"]["sequence"] == 1 or model_spec["attention"]["window"] == 1:
        gains[".attn.k."] = 0.15
    if model_spec["norm"]["type"] == "none":
        gains[".ff.up."] = 0.2
    return gains


def random_weights(shapes, spec, seed):
    """float32 arrays: norms near 1, biases and matrices far from 0.

    Queries are small and keys large. The gradient of k's bias is often zero by
    mathematics, and its rounding noise, which the judge measures against the
    other gradients, is proportional to the queries. Where a query sees one key
    alone, all of q's gradients are zero too, and keys are small. Without norms
    a gated feed-forward squares its input, so there it is small."""
    gains = weight_gains(spec)
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        normal = rng.standard_normal(shape)
        gain = next((g for part, g in gains.items() if part in name), 1.0)
        if name.endswith("bias"):
            value = 0.2 * gain * normal
        elif len(shape) == 1:
            value = 1 + 0.2 * normal
        elif name == "embed.token.weight":
            scaled = spec["model"]["embedding_scale"]
            value = (0.2 if scaled else 0.5) * normal
        elif name == "embed.position.weight":
            value = 0.4 * normal
        else:
            value = gain * normal / np.sqrt(shape[1])
        weights[name] = value.astype(np.float32)
    return weights


def random_batch(spec, traits, seed):
    """tokens and targets [B,T], with lengths [B] where the traits say so."""
    rng = np.random.default_rng(seed)
    train, vocab = spec["train"], spec["model"]["vocab"]
    shape = train["batch"], train["sequence"]
    kind = np.int64 if traits.get("wide_ids") else np.int32
    targets = rng.integers(0, vocab, shape)
    unscored = traits.get("unscored", 0.15)
    targets[rng.random(shape) < unscored] = -1
    batch = {"tokens": rng.integers(0, vocab, shape).astype(kind),
             "targets": targets.astype(kind)}
    lengths = traits.get("lengths")
    if lengths:
        if lengths is True:
            lengths = rng.integers(1, shape[1] + 1, shape[0])
        batch["lengths"] = np.array(lengths, kind)
    return batch


def as_tensors(arrays, dtype):
    return {name: torch.from_numpy(np.array(value)).to(dtype)
            for name, value in arrays.items()}


def expected(spec, weights, batch, dtype=torch.float64):
    """What `BIN grad` should write, as arrays of dtype."""
    ids = as_tensors(batch, torch.int64)
    loss, logits, gradients = model.loss_and_gradients(
        spec, as_tensors(weights, dtype), ids["tokens"], ids["targets"],
        ids.get("lengths"))
    result = {"loss": loss.reshape(1), "logits": logits}
    for name, gradient in gradients.items():
        result["grad." + name] = gradient
    return {name: value.numpy() for name, value in result.items()}


def write_spec(directory, given):
    directory.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(given, sort_keys=False, default_flow_style=None)
    path = directory / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return specs.load(path)


def write_case(directory, given, traits):
    """Writes a gradient case of the spec `given`, a map as YAML has it.

    traits: lengths (True or a list), wide_ids (int64), unscored (a share).
    Returns how much of the worst limit float32 rounding takes by itself; what
    is above FAIR would judge luck."""
    spec = write_spec(directory, given)
    seed = seed_of(given["name"])
    shapes = model.parameter_shapes(spec)
    weights = random_weights(shapes, spec, seed)
    batch = random_batch(spec, traits, seed + 1)
    tensors.write(directory / "weights.safetensors", weights)
    tensors.write(directory / "batch.safetensors", batch)
    expect = expected(spec, weights, batch)
    tensors.write(directory / "expect.safetensors", expect)
    rounded = expected(spec, weights, batch, torch.float32)
    return max(compare.gradient_ratios(expect, rounded, batch).values())


def log_line(line):
    """JSON with every float at 17 digits."""
    parts = [json.dumps(key) + ":" +
             (f"{value:.17g}" if isinstance(value, float) else str(value))
             for key, value in line.items()]
    return "{" + ",".join(parts) + "}\n"


def write_training_case(directory, given, data, steps):
    """Writes a training case; data: {file name: bytes}."""
    spec = write_spec(directory, given)
    seed = seed_of(given["name"])
    shapes = model.parameter_shapes(spec)
    weights = random_weights(shapes, spec, seed)
    tensors.write(directory / "weights.safetensors", weights)
    streams = {}
    for name, content in data.items():
        (directory / name).write_bytes(content)
        streams[Path(name).stem] = training.read_tokens(directory / name)
    log = training.train(spec, as_tensors(weights, torch.float64),
                         streams["data"], streams.get("eval"), steps)
    text = "".join(log_line(line) for line in log)
    (directory / "expect.jsonl").write_text(text, encoding="utf-8")


def main():
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--to", type=Path, default=here / "cases")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()

    def wanted(name):
        return not options.names or name in options.names

    torch.set_num_threads(1)
    for given, traits in cases.gradient_cases():
        name = given["name"]
        if wanted(name) and write_case(options.to / name, given, traits) > FAIR:
            raise SystemExit(f"{name}: float32 rounding is near a limit")
    for index in range(RANDOM_CASES):
        name = f"random-{index}"
        if wanted(name):
            random_specs.write_random_case(options.to / name)
    for given, data, steps in cases.training_cases():
        if wanted(given["name"]):
            directory = options.to / given["name"]
            write_training_case(directory, given, data, steps)


if __name__ == "__main__":
    main()
