#!/usr/bin/env python3
"""bench_attention.py THREADS SAMPLES: PyTorch's scaled_dot_product_attention on the
shapes of bench_attention.c, forward and backward, to stand beside ours."""
import sys
import time

import torch
import torch.nn.functional as F

SHAPES = [(4, 64, 12, 64), (8, 256, 6, 64), (4, 256, 12, 64), (1, 1024, 12, 64),
          (8, 64, 12, 32), (4, 256, 12, 32), (1, 1024, 12, 32)]


def timed(clock, samples, calls, work):
    times = []
    work()
    for _ in range(samples):
        start = clock()
        for _ in range(calls):
            work()
        times.append((clock() - start) / calls)
    return sorted(times)[len(times) // 2]


def main():
    threads, samples = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    for batch, length, heads, head_dim in SHAPES:
        shape = (batch, length, heads, head_dim)
        q, k, v = (torch.rand(shape).mul(2).sub(1).transpose(1, 2).requires_grad_()
                   for _ in range(3))
        calls = int(2e9 / (2 * batch * heads * length * length * head_dim)) + 1
        with torch.no_grad():
            forward = timed(clock, samples, calls,
                            lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        grad = torch.rand_like(out)
        backward = timed(clock, samples, calls, lambda: torch.autograd.grad(
            out, (q, k, v), grad, retain_graph=True))
        print(f"B={batch} T={length} heads={heads} D={head_dim}: "
              f"PyTorch forward {forward * 1e3:.3f} ms, backward {backward * 1e3:.3f} ms",
              flush=True)


main()
