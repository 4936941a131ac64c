"""Writes the reference cases into cases/.

    make.py [--to DIR] [NAME…]

A gradient case is a directory with

    spec.yaml              the model; train.batch and train.sequence are B, T
    weights.safetensors    every parameter, float32
    batch.safetensors      what the model reads and what is scored
    expect.safetensors     loss [1], logits, grad.NAME and, of experts,
                           aux_loss [1], in float64

and a training case, `train-…`, with

    spec.yaml, weights.safetensors
    data.*                 bytes in a .txt, nanoGPT's uint16 tokens in a .bin,
                           examples in a .tsv, .jsonl, .safetensors or, with
                           their labels, in a .images-idx3-ubyte
    eval.*                 where evaluation has a file of its own
    expect.jsonl           the log: a line a step, a line an evaluation

cases.py says which: one value of one key a case, models that people use, and
training; random ones come on top. Weights are large enough that every part of
the model moves the logits. Files are the same bytes whenever the same versions
of PyTorch and numpy write them.
"""
import argparse
import itertools
import json
import zlib
from pathlib import Path

import numpy as np
import torch
import yaml

import batches
import cases
import compare
import objectives
import random_specs
import spec as specs
import tensors
import training
from parameters import parameter_shapes

RANDOM_CASES = 16
FAIR = 0.3          # of a limit that float32 rounding may take
CLEAR = 1e-4        # what a choice of experts or of a maximum is made by


def seed_of(name):
    return zlib.crc32(name.encode())


def weight_gains(spec):
    """Factors on matrices and biases whose names hold these parts."""
    model_spec = spec["model"]
    gains = {".attn.q.": 0.15, ".attn.k.": 6.0,
             ".cross.q.": 0.15, ".cross.k.": 6.0,
             ".relative.weight": 3.0, ".relative.position_bias": 3.0,
             ".router.": 2.0}
    if spec["train"]["sequence"] == 1 or model_spec["attention"]["window"] == 1:
        gains[".attn.k."] = 0.15
    if model_spec["norm"]["type"] == "none":
        gains |= {".ff.up.": 0.2, ".experts.up.": 0.2}
    return gains


def is_vectors(name):
    """Whether a parameter is added to others as it is, and never multiplied."""
    ends = ("embed.position.weight", "embed.type.weight", "embed.class.weight",
            "relative.table")
    return name.endswith(ends)


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
        elif is_vectors(name):
            value = 0.4 * normal
        elif len(shape) == 1:
            value = 1 + 0.2 * normal
        elif name == "embed.token.weight":
            scaled = spec["model"]["embedding_scale"]
            value = (0.2 if scaled else 0.5) * normal
        else:
            value = gain * normal / np.sqrt(shape[-1])
        weights[name] = value.astype(np.float32)
    return weights


def tie_routers(weights):
    """Every second expert is as likely as the one before it."""
    for name, value in weights.items():
        if name.endswith(".router.weight"):
            value[1::2] = value[0:len(value) - 1:2]


def as_tensors(arrays, dtype):
    return {name: torch.from_numpy(np.array(value)).to(dtype)
            for name, value in arrays.items()}


def expected(spec, weights, batch, dtype=torch.float64):
    """What `BIN grad` should write, as arrays of dtype, and the narrowest
    decision it makes."""
    loss, outputs, gradients = objectives.loss_and_gradients(
        spec, as_tensors(weights, dtype), training.batch_tensors(batch, dtype))
    result = {"loss": loss.reshape(1), "logits": outputs.logits}
    if outputs.auxiliary is not None:
        result["aux_loss"] = outputs.auxiliary.reshape(1)
    for name, gradient in gradients.items():
        result["grad." + name] = gradient
    arrays = {name: value.detach().numpy() for name, value in result.items()}
    return arrays, outputs.gap


def write_spec(directory, given):
    directory.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(given, sort_keys=False, default_flow_style=None)
    path = directory / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return specs.load(path)


def drawn_weights(spec, traits, seed):
    weights = random_weights(parameter_shapes(spec), spec, seed)
    if traits.get("tied_routers"):
        tie_routers(weights)
    return weights


def draw_case(directory, given, traits, seed):
    """Writes a gradient case of the spec `given`, a map as YAML has it; traits:
    see batches.random_batch, and tied_routers. Whether it judges fairly:
    float32 rounding by itself takes little of any limit and turns no choice."""
    spec = write_spec(directory, given)
    weights = drawn_weights(spec, traits, seed)
    batch = batches.random_batch(spec, traits, seed + 1)
    if spec["train"]["objective"] == "preference":
        sums = objectives.reference_sums(
            spec, as_tensors(weights, torch.float64),
            training.batch_tensors(batch, torch.float64))
        batch["reference"] = batches.near(sums.numpy(), seed + 2)
    tensors.write(directory / "weights.safetensors", weights)
    tensors.write(directory / "batch.safetensors", batch)
    expect, gap = expected(spec, weights, batch)
    tensors.write(directory / "expect.safetensors", expect)
    rounded, _ = expected(spec, weights, batch, torch.float32)
    worst = max(compare.gradient_ratios(expect, rounded, batch).values())
    return worst <= FAIR and gap >= CLEAR


def log_line(line):
    """JSON with every float at 17 digits."""
    parts = [json.dumps(key) + ":" +
             (f"{value:.17g}" if isinstance(value, float) else str(value))
             for key, value in line.items()]
    return "{" + ",".join(parts) + "}\n"


def training_log(spec, directory, weights, steps, dtype):
    """The log of a training case, and its narrowest decision."""
    p = as_tensors(weights, dtype)
    data = training.open_data(spec, directory, p)
    return training.train(spec, p, data, steps)


def draw_training_case(directory, case, seed):
    """Writes a training case; whether every choice in it is clear."""
    spec = write_spec(directory, case.spec)
    weights = drawn_weights(spec, {}, seed)
    tensors.write(directory / "weights.safetensors", weights)
    for name, content in case.files.items():
        (directory / name).write_bytes(content)
    for name, count in case.examples.items():
        tensors.write(directory / name,
                      batches.examples(spec, case.traits, count,
                                       seed_of(name + spec["name"])))
    log, gap = training_log(spec, directory, weights, case.steps,
                            torch.float64)
    text = "".join(map(log_line, log))
    (directory / "expect.jsonl").write_text(text, encoding="utf-8")
    return gap >= CLEAR / 10


def draw_until_fair(name, draw):
    """Calls draw(seed) with seeds of `name` until it says that all is fair."""
    for attempt in itertools.count():
        if attempt == 20:
            raise SystemExit(f"{name}: rounding is near a limit in every draw")
        if draw(seed_of(f"{name} {attempt}" if attempt else name)):
            return


def write_gradient_case(directory, given, traits):
    draw_until_fair(given["name"],
                    lambda seed: draw_case(directory, given, traits, seed))


def write_training_case(directory, case):
    draw_until_fair(case.spec["name"],
                    lambda seed: draw_training_case(directory, case, seed))


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
        if wanted(given["name"]):
            write_gradient_case(options.to / given["name"], given, traits)
    for index in range(RANDOM_CASES):
        name = f"random-{index}"
        if wanted(name):
            random_specs.write_random_case(options.to / name)
    for case in cases.training_cases():
        name = case.spec["name"]
        if wanted(name):
            write_training_case(options.to / name, case)


if __name__ == "__main__":
    main()
