"""The peer: a float32 training step of a GPT-2 in PyTorch on the CPU.

    pytorch_step.py [--model gpt2 | small | all] [--mode eager | compile | best]
                    [--threads N] [--steps N] [--clip X] [--batch B]
                    [--sequence T]

A step is forward, loss, backward, gradient norm and clipping (`--clip 0`
leaves them out) and AdamW, on one fixed random batch. Each model and mode is
timed in a process of its own, so that neither warms the other; a line of JSON
each on stdout, in ms: median, fastest, quartiles. With `best` a last line
repeats the faster mode of each model.

The settings are the fastest found: MKL products, fused AdamW, scaled dot
product attention, one product for q, k and v, huge pages, no memory given back
to the system between steps, denormals flushed, threads bound to cores.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

MODELS = {
    "gpt2": {"blocks": 12, "dim": 768, "heads": 12, "vocab": 50257,
             "context": 1024, "batch": 4, "sequence": 64},
    "small": {"blocks": 6, "dim": 384, "heads": 6, "vocab": 256,
              "context": 256, "batch": 8, "sequence": 256},
}
WARM_UP = 3


def environment(threads):
    """What has to stand before a process starts."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
        "OMP_PROC_BIND": "close", "OMP_PLACES": "threads",
        "THP_MEM_ALLOC_ENABLE": "1",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 34),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
        "MALLOC_TOP_PAD_": str(1 << 28)}


def build(torch, sizes):
    """The model as a module from tokens, targets [B,T] to the mean loss."""
    nn, functional = torch.nn, torch.nn.functional
    dim, heads = sizes["dim"], sizes["heads"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.qkv = nn.Linear(dim, 3 * dim)
            self.out = nn.Linear(dim, dim)
            self.up = nn.Linear(dim, 4 * dim)
            self.down = nn.Linear(4 * dim, dim)

        def forward(self, x):
            batch, length, _ = x.shape
            parts = self.qkv(self.norm1(x)).split(dim, dim=2)
            q, k, v = (part.view(batch, length, heads, -1).transpose(1, 2)
                       for part in parts)
            y = functional.scaled_dot_product_attention(q, k, v,
                                                        is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(batch, length, dim))
            hidden = functional.gelu(self.up(self.norm2(x)),
                                     approximate="tanh")
            return x + self.down(hidden)

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Embedding(sizes["vocab"], dim)
            self.position = nn.Parameter(torch.zeros(sizes["context"], dim))
            self.blocks = nn.ModuleList(Block()
                                        for _ in range(sizes["blocks"]))
            self.norm = nn.LayerNorm(dim)
            nn.init.normal_(self.token.weight, std=0.02)
            nn.init.normal_(self.position, std=0.02)

        def forward(self, tokens, targets):
            x = self.token(tokens) + self.position[:tokens.shape[1]]
            for block in self.blocks:
                x = block(x)
            logits = self.norm(x) @ self.token.weight.T
            return functional.cross_entropy(logits.flatten(0, 1),
                                            targets.flatten())

    return Decoder()


def time_steps(options):
    """Times one model in one mode in this process; the JSON line."""
    import torch
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    sizes = MODELS[options.model]
    shape = options.batch or sizes["batch"], \
        options.sequence or sizes["sequence"]
    module = build(torch, sizes)
    decayed = [p for p in module.parameters() if p.dim() >= 2]
    others = [p for p in module.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1},
         {"params": others, "weight_decay": 0.0}],
        lr=6e-4, betas=(0.9, 0.95), fused=True)
    run = torch.compile(module) if options.mode == "compile" else module
    tokens = torch.randint(sizes["vocab"], shape)
    targets = torch.randint(sizes["vocab"], shape)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = run(tokens, targets)
        loss.backward()
        if options.clip > 0:
            torch.nn.utils.clip_grad_norm_(module.parameters(), options.clip,
                                           foreach=True)
        optimizer.step()
        return float(loss.detach())

    losses, seconds = [], []
    for _ in range(WARM_UP + options.steps):
        start = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - start)
    times = [1000 * second for second in seconds[WARM_UP:]]
    low, _, high = statistics.quantiles(times, n=4)
    return {"format": 1, "model": options.model, "mode": options.mode,
            "batch": shape[0], "sequence": shape[1],
            "threads": options.threads, "clip": options.clip,
            "steps": options.steps,
            "median_ms": round(statistics.median(times), 2),
            "fastest_ms": round(min(times), 2),
            "quartiles_ms": [round(low, 2), round(high, 2)],
            "first_loss": losses[0], "last_loss": losses[-1],
            "mkl": torch.backends.mkl.is_available(),
            "torch": torch.__version__}


def run_apart(options, model, mode):
    """Times a model and mode in a new process; its line, or None."""
    command = [sys.executable, __file__, "--here", "--model", model,
               "--mode", mode, "--threads", str(options.threads),
               "--steps", str(options.steps), "--clip", str(options.clip),
               "--batch", str(options.batch),
               "--sequence", str(options.sequence)]
    done = subprocess.run(command, env=environment(options.threads),
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(f"{model}, {mode}: failed, status {done.returncode}",
              file=sys.stderr)
        return None
    line = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(line), flush=True)
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=[*MODELS, "all"], default="all")
    parser.add_argument("--mode", choices=["eager", "compile", "best"],
                        default="best")
    parser.add_argument("--threads", type=int,
                        default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--sequence", type=int, default=0)
    parser.add_argument("--here", action="store_true",
                        help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(time_steps(options)))
        return 0
    models = list(MODELS) if options.model == "all" else [options.model]
    modes = ["eager", "compile"] if options.mode == "best" else [options.mode]
    failed = False
    for model in models:
        lines = [run_apart(options, model, mode) for mode in modes]
        good = [line for line in lines if line]
        failed = failed or not good
        if options.mode == "best" and good:
            best = min(good, key=lambda line: line["median_ms"])
            print(json.dumps({"best": best["mode"]} | best), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
