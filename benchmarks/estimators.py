"""How long the statistics take, beside the loop one would write first. Timings are printed, never asserted.

    OMP_NUM_THREADS=1 python benchmarks/estimators.py [--questions 500] [--samples 256] [--replicates 10000]

The naive loops resample questions one replicate at a time (with the pass@k of every question already tabulated) and
sample the null one question at a time. They are run for a part of the replicates and scaled up."""
import argparse, itertools, time

import numpy as np
import pandas as pd
from scipy import optimize, stats

from rlvd_nb.stats import comparison as c, estimators as e


def seconds(call, runs: int = 3) -> float:
    "Best wall time of a few runs."
    best = np.inf
    for _ in range(runs):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def scaled(call, part: int, whole: int) -> float:
    "Wall time of `part` iterations, scaled to `whole`."
    return seconds(lambda: [call() for _ in range(part)], runs=1) * whole / part


def naive_replicate(a_curves, b_curves, rng):
    "One bootstrap replicate of the difference of two curves, by indexing."
    drawn = rng.integers(len(a_curves), size=len(a_curves))
    return b_curves[drawn].mean(0) - a_curves[drawn].mean(0)


def naive_null(counts, n: int, fit, rng):
    "One simulated transition matrix, a question at a time."
    edges = c.bin_edges(c.PAPER_BINS, n)
    table = np.zeros((len(edges), len(edges)))
    for x in counts:
        again = rng.binomial(n, rng.beta(fit.a + x, fit.b + n - x))
        row, column = (next(i for i, edge in enumerate(edges) if y <= edge) for y in (x, again))
        table[row, column] += 1
    return table


def naive_flip(differences, rng):
    "The sum of the differences under one choice of signs."
    return (rng.choice([-1, 1], len(differences)) * differences).sum()


def naive_fit(counts, n: int):
    "A beta-binomial fit that finds its slopes by trying."
    loss = lambda log_ab: -stats.betabinom.logpmf(counts, n, *np.exp(log_ab)).sum()
    return optimize.minimize(loss, (0., 0.), method="L-BFGS-B", bounds=[(-9, 9)] * 2)


def main():
    "Time everything and print one table."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--simulations", type=int, default=1000)
    o = parser.parse_args()
    n, rng = o.samples, np.random.default_rng(0)
    rates = rng.beta(0.3, 0.5, o.questions)
    a, b = rng.binomial(n, rates), rng.binomial(n, rates**0.8)
    ks, fit = np.arange(1, n + 1), c.fit_beta_binomial(a, n)
    curves = lambda: (e.pass_at_k_curve(a, n), e.pass_at_k_curve(b, n))
    tabulated = curves()
    flips = scaled(lambda: naive_flip(b - a, rng), 200, o.replicates)
    fits = scaled(lambda: naive_fit(a, n), 3, c.REFITS)
    seeds = itertools.count()  # what was fitted before is remembered
    refit = lambda: c.fit_beta_binomial(a, n, zero_inflated=False, refits=c.REFITS, seed=next(seeds))
    loop = scaled(lambda: naive_replicate(*tabulated, rng), 200, o.replicates)
    nulls = scaled(lambda: naive_null(a, n, fit, rng), 20, o.simulations)
    rows = [
        ("paired difference with sign flips", lambda: c.paired_difference(a, b, o.replicates), flips),
        (f"{c.REFITS} beta-binomial fits to resampled questions", refit, fits),
        ("paired difference of pass@k curves, band", lambda: c.paired_band(*curves(), ks, o.replicates), loop),
        ("transition matrix and its null", lambda: c.transitions(a, b, n, simulations=o.simulations), nulls),
        ("whole comparison", lambda: c.compare_counts(a, b, n, replicates=o.replicates, simulations=o.simulations),
         3 * loop + 3 * nulls),  # two curves and their difference; transitions, bins and support each simulate the null
    ]
    print(
        f"{o.questions} questions x {n} samples, k = 1 to {n}, {o.replicates} replicates, {o.simulations} simulations"
    )
    timed = [(name, seconds(call), naive) for name, call, naive in rows]
    table = pd.DataFrame([(name, quick, naive, naive / quick) for name, quick, naive in timed],
                         columns=["what", "seconds", "naive loop", "ratio"])
    print(table.to_string(index=False, float_format="{:.2f}".format))


if __name__ == "__main__": main()
