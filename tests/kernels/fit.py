#!/usr/bin/env python3
"""fit.py: the coefficients of runtime/kernels/elementary.h. Each polynomial minimises
the largest weighted error over its range (Lawson's iteration: least squares, reweighted
by the error, on Chebyshev points). Needs mpmath and numpy."""
import mpmath as mp
import numpy as np

POINTS, ROUNDS = 1500, 400
mp.mp.dps = 30


def fit(name, function, weight, count, low, high, variable=lambda x: x):
    """count coefficients in ascending powers of variable(x), low <= x <= high."""
    low, high = mp.mpf(low), mp.mpf(high)
    xs = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (i + 0.5) / POINTS)
          for i in range(POINTS)]
    wanted = np.array([float(function(x)) for x in xs])
    weights = np.array([abs(float(weight(x))) for x in xs])
    values = np.array([float(variable(x)) for x in xs])
    scale = np.max(np.abs(values))
    powers = np.stack([(values / scale)**k for k in range(count)], 1)
    measure, best = np.ones(POINTS) / POINTS, None
    for _ in range(ROUNDS):
        root = np.sqrt(measure) * weights
        found = np.linalg.lstsq(powers * root[:, None], wanted * root, rcond=None)[0]
        error = np.abs(powers @ found - wanted) * weights
        if best is None or error.max() < best[0]:
            best = error.max(), found
        measure = measure * error
        measure /= measure.sum()
    print(f"{name}: relative error {best[0]:.2g}")
    for k in range(count):
        print(f"    {np.float32(best[1][k] / scale**k):.9g}f")


half_ln2 = mp.log(2) / 2 * mp.mpf("1.001")
root_half = mp.sqrt(mp.mpf(1) / 2)
fit("exp: (exp r - 1 - r) / r²", lambda r: (mp.exp(r) - 1 - r) / r**2,
    lambda r: r * r * mp.exp(-r), 5, -half_ln2, half_ln2)
fit("log: (log(1 + f) - f + f²/2) / f³", lambda f: (mp.log1p(f) - f + f * f / 2) / f**3,
    lambda f: f**3 / mp.log1p(f), 9, root_half - 1, 2 * root_half - 1)
fit("tanh: (tanh x - x) / x³", lambda x: (mp.tanh(x) - x) / x**3,
    lambda x: x**3 / mp.tanh(x), 5, "1e-3", "0.63", lambda x: x * x)
fit("erf, small: erf x / x - 1", lambda x: mp.erf(x) / x - 1,
    lambda x: x / mp.erf(x), 7, "1e-3", "0.93", lambda x: x * x)
fit("erf, large: log erfc x", lambda x: mp.log(mp.erfc(x)),
    lambda x: mp.erfc(x) / mp.erf(x), 8, "0.91", "3.95")
