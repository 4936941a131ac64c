"""The training loop of the contract: data order, schedule, optimizers.

Float64, one rank, sequential order, no dropout. `train` returns the lines that
a program's `--log` should hold; read it first. Data is one of two classes with
the same methods: Windows of a stream of tokens, or Examples, of which a file
has one a line, an image or a row.
"""
import math
from fractions import Fraction

import numpy as np
import torch

import objectives
import tensors
import texts


def exact(number):
    """The decimal as the spec has it, not its nearest binary fraction."""
    return Fraction(repr(number))


def kept_of(spec, count):
    """How many of `count` tokens or examples are trained on."""
    split = exact(spec["train"]["data"]["split"])
    return count - math.floor(count * split)


class Windows:
    """Next-token data: bytes of a text, or the uint16 tokens of a .bin."""

    def __init__(self, spec, paths):
        streams = {path.stem: self.read(path) for path in paths}
        self.spec, self.training = spec, streams["data"]
        self.held_out = streams.get("eval")
        if self.held_out is None:
            kept = kept_of(spec, len(self.training))
            self.held_out = self.training[kept:]
            self.training = self.training[:kept]

    @staticmethod
    def read(path):
        kind = "<u2" if path.suffix == ".bin" else "|u1"
        return np.fromfile(path, kind).astype(np.int64)

    def batch(self, step):
        """tokens, targets [B,T] of step 1, 2, …; indices wrap."""
        train = self.spec["train"]
        batch, length = train["batch"], train["sequence"]
        window = (step - 1) * batch + np.arange(batch)
        index = window[:, None] * length + np.arange(length + 1)
        rows = torch.from_numpy(self.training[index % len(self.training)])
        return {"tokens": rows[:, :-1], "targets": rows[:, 1:]}

    def evaluation(self):
        """The first eval.steps batches' windows, one at a time; none wraps,
        the last is padded."""
        train = self.spec["train"]
        length = train["sequence"]
        most = train["eval"]["steps"] * train["batch"] * length
        for start in range(0, min(most, len(self.held_out) - 1), length):
            window = self.held_out[start:start + length + 1]
            scored = len(window) - 1
            window = np.pad(window, (0, length - scored))
            window = torch.from_numpy(window)[None]
            yield {"tokens": window[:, :-1], "targets": window[:, 1:],
                   "lengths": torch.tensor([scored])}


class Examples:
    """Lines, images, or the tensors of a batch with examples in place of its
    sequences.

    A preference's reference is what the first weights, `p`, give."""

    def __init__(self, spec, paths, p):
        self.spec = spec
        dtype = next(iter(p.values())).dtype
        files = {path.stem: batch_tensors(read_examples(spec, path), dtype)
                 for path in paths}
        self.training = files["data"]
        if spec["train"]["objective"] == "preference":
            for file in files.values():
                sums = objectives.reference_sums(spec, p, file)
                file["reference"] = sums
        count = len(next(iter(self.training.values())))
        kept = count if "eval" in files else kept_of(spec, count)
        self.held_out = files.get(
            "eval", rows_of(self.training, torch.arange(kept, count)))
        self.training = rows_of(self.training, torch.arange(kept))
        self.count = kept

    def batch(self, step):
        size = self.spec["train"]["batch"]
        index = (step - 1) * size + torch.arange(size)
        return rows_of(self.training, index % self.count)

    def evaluation(self):
        train = self.spec["train"]
        most = train["eval"]["steps"] * train["batch"]
        held_out = len(next(iter(self.held_out.values())))
        for index in range(min(most, held_out)):
            yield rows_of(self.held_out, torch.tensor([index]))


def read_examples(spec, path):
    if path.suffix == ".safetensors":
        return tensors.read(path)
    return texts.read(spec, path)


def rows_of(batch, index):
    return {name: value[index] for name, value in batch.items()}


def batch_tensors(arrays, dtype):
    """A batch's tensors: ids int64, numbers of `dtype`."""
    found = {}
    for name, value in arrays.items():
        real = value.dtype.kind == "f"
        found[name] = torch.from_numpy(np.array(value)).to(
            dtype if real else torch.int64)
    return found


def open_data(spec, directory, p):
    """The data files of a case."""
    paths = [path for path in directory.iterdir()
             if path.stem in ("data", "eval") and "labels" not in path.name]
    if all(path.suffix in (".txt", ".bin") for path in paths):
        return Windows(spec, paths)
    return Examples(spec, paths, p)


def evaluation_loss(spec, p, data):
    """The sum of the means over what is held out; None: nothing is."""
    sums = {}
    for batch in data.evaluation():
        _, found = objectives.evaluate(spec, p, batch)
        for index, (total, count) in enumerate(found):
            before = sums.get(index, (0.0, 0))
            sums[index] = before[0] + float(total), before[1] + count
    if not sums:
        return None
    return sum(total / max(count, 1) for total, count in sums.values())


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


def train(spec, p, data, steps):
    """The log of `steps` steps, a map a line, and the narrowest decision that
    any of them made (model.py). Changes p."""
    options = spec["train"]["optimizer"]
    every = spec["train"]["eval"]["every"]
    moments, log, gap = {}, [], math.inf
    for step in range(1, steps + 1):
        loss, outputs, gradients = objectives.loss_and_gradients(
            spec, p, data.batch(step))
        gap = min(gap, outputs.gap)
        rate, norm = learning_rate(spec, step), gradient_norm(gradients)
        log.append({"step": step, "loss": float(loss), "lr": rate,
                    "grad_norm": norm})
        if options["clip"] > 0 and norm > options["clip"]:
            scale = options["clip"] / norm
            gradients = {name: g * scale for name, g in gradients.items()}
        update(options, rate, step, p, gradients, moments)
        if step % every == 0:
            loss = evaluation_loss(spec, p, data)
            if loss is not None:
                log.append({"eval_loss": loss, "step": step})
    return log, gap
