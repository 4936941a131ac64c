"""Judges a program's numbers against a case's; the same rules as compare.c.

    compare.py CASE OUT.safetensors           what `BIN grad` wrote
    compare.py --train EXPECT.jsonl LOG.jsonl  what `BIN train --log` wrote

Each number's error is divided by what it may be; 1 is the limit:

    loss       1e-5 of the loss; aux_loss alike
    logits     1e-4 of their norm, unpadded positions only
    gradient   1e-4 of its norm, or of 1e-3 of an average parameter's norm for
               its size where that is more (a gradient that is zero by
               mathematics is rounding noise in every program)
    log        loss and eval_loss 1e-5, grad_norm 1e-4, lr 1e-6 of the largest

Prints the worst ratios; exit 0 when all are at most 1 and nothing is missing,
left over, misshapen or not a number.
"""
import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

import tensors

LOSS, LOGITS, GRADIENT, FLOOR, RATE, NORM = 1e-5, 1e-4, 1e-4, 1e-3, 1e-6, 1e-4


def ratio(error, limit):
    """error / limit; no error passes any limit, NaN passes none."""
    if error == 0:
        return 0.0
    if not math.isfinite(error) or limit == 0:
        return math.inf
    return float(error / limit)


def norm(array):
    return float(np.sqrt(np.square(array, dtype=np.float64).sum()))


def same_tensors(expect, actual):
    """Complaints about names, shapes and types."""
    complaints = [f"{name}: missing" for name in expect if name not in actual]
    for name, array in actual.items():
        if name not in expect:
            complaints.append(f"{name}: not expected")
        elif array.shape != expect[name].shape:
            complaints.append(f"{name}: shape {list(array.shape)}, "
                              f"expected {list(expect[name].shape)}")
        elif array.dtype != np.float32:
            complaints.append(f"{name}: not float32")
    return complaints


def unpadded(logits, batch):
    """Logits below the lengths; a classifier has a row a sequence: all."""
    if "lengths" not in batch or logits.ndim == 2:
        return logits
    position = np.arange(logits.shape[-2])
    return logits[position < batch["lengths"][..., None]]


def gradient_ratios(expect, actual, batch):
    """{name: ratio} of a `grad` output whose tensors match."""
    ratios = {}
    for name in ("loss", "aux_loss"):
        if name in expect:
            want, got = float(expect[name][0]), float(actual[name][0])
            ratios[name] = ratio(abs(got - want), LOSS * abs(want))
    want = unpadded(expect["logits"], batch)
    error = norm(unpadded(actual["logits"], batch) - want)
    ratios["logits"] = ratio(error, LOGITS * norm(want))
    names = [name for name in expect if name.startswith("grad.")]
    squares = sum(norm(expect[name]) ** 2 for name in names)
    count = sum(expect[name].size for name in names)
    average = math.sqrt(squares / count) if count else 0.0
    for name in names:
        want = expect[name]
        least = FLOOR * average * math.sqrt(want.size)
        limit = GRADIENT * max(norm(want), least)
        ratios[name] = ratio(norm(actual[name] - want), limit)
    return ratios


def judge(ratios, complaints):
    """Prints the verdict; the exit status."""
    for complaint in complaints:
        print(complaint)
    for name, value in ratios.items():
        if not value <= 1:
            print(f"{name}: {value:.3g} times its limit")
    if ratios:
        name = max(ratios, key=ratios.get)
        print(f"worst: {name} {ratios[name]:.3g}")
    return int(bool(complaints) or not all(v <= 1 for v in ratios.values()))


def compare_case(case, out):
    expect = tensors.read(Path(case) / "expect.safetensors")
    batch = tensors.read(Path(case) / "batch.safetensors")
    actual = tensors.read(out)
    complaints = same_tensors(expect, actual)
    ratios = {} if complaints else gradient_ratios(expect, actual, batch)
    return judge(ratios, complaints)


def read_log(path):
    """{(kind, step): line}, kind "step" or "eval"; complaints."""
    lines, complaints = {}, []
    with open(path, encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            kind = "eval" if "eval_loss" in line else "step"
            key = kind, line["step"]
            if key in lines:
                complaints.append(f"{kind} {key[1]}: twice")
            lines[key] = line
    return lines, complaints


def number(line, key):
    value = line.get(key)
    return math.nan if value is None else float(value)


def compare_logs(expect_path, log_path):
    expect, _ = read_log(expect_path)
    log, complaints = read_log(log_path)
    ratios = {}
    largest = max((line.get("lr", 0.0) for line in expect.values()), default=0)
    for (kind, step), want in expect.items():
        line = log.get((kind, step))
        if line is None:
            complaints.append(f"{kind} {step}: missing")
            continue
        for key, limit in (("loss", LOSS * want.get("loss", 0)),
                           ("eval_loss", LOSS * want.get("eval_loss", 0)),
                           ("lr", RATE * largest),
                           ("grad_norm", NORM * want.get("grad_norm", 0))):
            if key in want:
                error = abs(number(line, key) - want[key])
                ratios[f"step {step} {key}"] = ratio(error, limit)
    for kind, step in log.keys() - expect.keys():
        if kind == "step":
            complaints.append(f"step {step}: not expected")
    return judge(ratios, complaints)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("expect")
    parser.add_argument("actual")
    options = parser.parse_args()
    compare = compare_logs if options.train else compare_case
    try:
        return compare(options.expect, options.actual)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{error!r}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
