"""The training loop of the contract: data order, schedule, optimizers.

Float64, one rank, sequential order, no dropout. `train` returns the lines that
a program's `--log` should hold; read it first.
"""
import math
from fractions import Fraction

import numpy as np
import torch

import model


def exact(number):
    """The decimal as the spec has it, not its nearest binary fraction."""
    return Fraction(repr(number))


def read_tokens(path):
    """Bytes of a text, or the uint16 tokens of a nanoGPT .bin; int64 [n]."""
    kind = "<u2" if str(path).endswith(".bin") else "|u1"
    return np.fromfile(path, kind).astype(np.int64)


def split_tokens(spec, tokens, held_out):
    """Training and evaluation tokens; `held_out` is an eval file or None."""
    split = exact(spec["train"]["data"]["split"])
    if held_out is not None:
        return tokens, held_out
    kept = len(tokens) - math.floor(len(tokens) * split)
    return tokens[:kept], tokens[kept:]


def training_batch(spec, tokens, step):
    """tokens, targets [B,T] of step 1, 2, …; indices wrap."""
    train = spec["train"]
    batch, length = train["batch"], train["sequence"]
    window = (step - 1) * batch + np.arange(batch)
    index = window[:, None] * length + np.arange(length + 1)
    rows = torch.from_numpy(tokens[index % len(tokens)])
    return rows[:, :-1], rows[:, 1:]


def evaluation_loss(spec, p, tokens):
    """Mean nll over the first eval.steps batches' windows; none wraps."""
    train = spec["train"]
    length = train["sequence"]
    most = train["eval"]["steps"] * train["batch"]
    total, count = 0.0, 0
    for start in range(0, min(most * length, len(tokens) - 1), length):
        window = torch.from_numpy(tokens[start:start + length + 1])[None]
        outputs = model.logits(spec, p, window[:, :-1])
        part, scored = model.loss_sum(outputs, window[:, 1:], None, 0.0)
        total, count = total + float(part), count + scored
    return total / count


def learning_rate(spec, step):
    """The rate of step 1, 2, …; past the last step, the last one's."""
    train, schedule = spec["train"], spec["train"]["schedule"]
    rate, least = train["optimizer"]["lr"], schedule["min_lr"]
    steps, warmup = train["steps"], schedule["warmup"]
    step = min(step, steps)
    if step <= warmup:
        return rate * step / warmup
    t = (step - warmup) / (steps - warmup)
    if schedule["type"] == "linear":
        return rate + (least - rate) * t
    if schedule["type"] == "cosine":
        return least + (rate - least) * (1 + math.cos(math.pi * t)) / 2
    if schedule["type"] == "inverse-sqrt":
        return max(least, rate * math.sqrt(max(warmup, 1) / step))
    if schedule["type"] == "wsd":
        into = max(step - (steps - schedule["decay"]), 0)
        return rate + (least - rate) * into / schedule["decay"]
    assert schedule["type"] == "constant"
    return rate


def decayed(name, tensor):
    return tensor.dim() >= 2 and not name.endswith("bias")


def update(options, rate, step, p, gradients, moments):
    """One update in place. `gradients` are clipped; `moments` starts {}."""
    first, second = options["betas"]
    for name, g in gradients.items():
        decay = options["weight_decay"] if decayed(name, p[name]) else 0.0
        if options["type"] != "adamw":
            g = g + decay * p[name]
        if options["type"] == "sgd":
            buffer = moments.get(name, 0.0)
            moments[name] = options["momentum"] * buffer + g
            p[name] = p[name] - rate * moments[name]
            continue
        m, v = moments.get(name, (0.0, 0.0))
        m = first * m + (1 - first) * g
        v = second * v + (1 - second) * g * g
        moments[name] = m, v
        m = m / (1 - first ** step)
        v = v / (1 - second ** step)
        change = m / (v.sqrt() + options["eps"])
        if options["type"] == "adamw":
            change = change + decay * p[name]
        p[name] = p[name] - rate * change


def gradient_norm(gradients):
    return math.sqrt(sum(float(g.square().sum()) for g in gradients.values()))


def train(spec, p, tokens, held_out, steps):
    """The log of `steps` steps: a map a line. Changes p."""
    options = spec["train"]["optimizer"]
    every = spec["train"]["eval"]["every"]
    training, evaluation = split_tokens(spec, tokens, held_out)
    moments, log = {}, []
    for step in range(1, steps + 1):
        batch = training_batch(spec, training, step)
        loss, _, gradients = model.loss_and_gradients(spec, p, *batch)
        rate, norm = learning_rate(spec, step), gradient_norm(gradients)
        log.append({"step": step, "loss": float(loss), "lr": rate,
                    "grad_norm": norm})
        if options["clip"] > 0 and norm > options["clip"]:
            scale = options["clip"] / norm
            gradients = {name: g * scale for name, g in gradients.items()}
        update(options, rate, step, p, gradients, moments)
        if step % every == 0 and len(evaluation) >= 2:
            loss = evaluation_loss(spec, p, evaluation)
            log.append({"eval_loss": loss, "step": step})
    return log
