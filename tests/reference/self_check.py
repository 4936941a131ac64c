"""Judges the reference model itself, run in float32, as if it were a program.

    self_check.py [DIR] [--out DIR]

What this prints is how much of each limit float32 rounding alone uses: a case
near 1 would be a bad judge and should be drawn anew. With --out it keeps what
it wrote, NAME.safetensors or NAME.jsonl, to try compare.c on.
"""
import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import torch

import compare
import make
import spec as specs
import tensors


def run_gradient_case(case, out):
    """Writes out.safetensors; (exit status, the judge's words)."""
    spec = specs.load(case / "spec.yaml")
    weights = tensors.read(case / "weights.safetensors")
    batch = tensors.read(case / "batch.safetensors")
    path = out / (case.name + ".safetensors")
    rounded, _ = make.expected(spec, weights, batch, torch.float32)
    tensors.write(path, rounded)
    return words(compare.compare_case, case, path)


def run_training_case(case, out):
    spec = specs.load(case / "spec.yaml")
    weights = tensors.read(case / "weights.safetensors")
    text = (case / "expect.jsonl").read_text(encoding="utf-8")
    log, _ = make.training_log(spec, case, weights, text.count('"loss"'),
                               torch.float32)
    path = out / (case.name + ".jsonl")
    path.write_text("".join(map(make.log_line, log)), encoding="utf-8")
    return words(compare.compare_logs, case / "expect.jsonl", path)


def words(function, *arguments):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = function(*arguments)
    return status, " ".join(output.getvalue().split("\n"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    here = Path(__file__).parent
    parser.add_argument("cases", type=Path, nargs="?", default=here / "cases")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        for case in sorted(options.cases.iterdir()):
            training_case = (case / "expect.jsonl").exists()
            run = run_training_case if training_case else run_gradient_case
            status, verdict = run(case, out)
            print(f"{case.name}: {verdict}")
            passed, failed = passed + (status == 0), failed + (status != 0)
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
