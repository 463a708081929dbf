"""How often do the intervals cover and the tests reject? Simulated models with known success rates.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py [--repeats 1000] [--start 0] [--only nulls support]

A 95 % interval should cover in 93 to 97 % of the repeats, one of few questions in no fewer, and a 5 % test of a true
null reject in 4 to 6 %. Tests of small counts (marked "discrete") cannot come closer to 5 % from below; they are right
if they do not exceed it. Nothing asserts.
"""
import argparse, time

import numpy as np
import pandas as pd

from rlvd_nb.paper import judge as j
from rlvd_nb.stats import comparison as c, estimators as e

N, SAMPLES = 500, 256    # questions and samples a question, as in the papers
BETA, ZERO = (0.3, 0.5), 0.1 # spread of success rates: U-shaped, every tenth question impossible


def rates(rng, questions=N, zero=ZERO):
    "Success rates of questions drawn from the population."
    return rng.beta(*BETA, size=questions) * (rng.random(questions) >= zero)


def changed(p):
    "What training does to a success rate in these studies: easier gets easier, harder harder."
    return np.where(p > 0.05, p**0.8, p / 2)


POPULATION = rates(np.random.default_rng(0), 2_000_000)


def inside(low, high, truth):
    "Whether the interval, or the whole band, holds the truth."
    return bool(np.all((low <= truth + 1e-12) & (truth - 1e-12 <= high)))


def proportions(rng, seed):
    for questions, p in ((30, 0.57), (500, 0.97)):
        k = rng.binomial(questions, p)
        yield f"wilson {questions}", inside(*e.wilson(k, questions), p)
        yield f"clopper_pearson {questions} (discrete)", inside(*e.clopper_pearson(k, questions), p)
    p = rng.beta(0.5, 0.5)
    yield "beta_posterior", inside(*e.beta_posterior(rng.binomial(SAMPLES, p), SAMPLES), p)
    bound = e.zero_success_bound(SAMPLES)
    yield "zero_success_bound, rate at the bound", rng.binomial(SAMPLES, bound) > 0


KS = 2 ** np.arange(9)
TRUE_CURVE = np.array([(1 - (1 - POPULATION)**k).mean() for k in KS])
TRUE_GAP = np.array([(1 - (1 - changed(POPULATION))**k).mean() for k in KS]) - TRUE_CURVE


def means(rng, seed):
    for questions in (6, 30, 100, 500):
        counts = rng.binomial(SAMPLES, rates(rng, questions))
        for place in (0, 4, 8):
            values = e.pass_at_k_curve(counts, SAMPLES, KS[place])[:, 0]
            found, other = e.share_interval(values), e.mean_interval(values, 2000, seed=seed)
            yield f"share_interval pass@{KS[place]}, {questions}", inside(found.low, found.high, TRUE_CURVE[place])
            if np.isfinite(other.low): # of values that are all alike it gives none
                yield f"mean_interval pass@{KS[place]}, {questions}", inside(other.low, other.high, TRUE_CURVE[place])


def bands(rng, seed):
    for questions in (30, 100, 500):
        p = rates(rng, questions)
        a, b = (e.pass_at_k_curve(rng.binomial(SAMPLES, x), SAMPLES, KS) for x in (p, changed(p)))
        band, gap = e.simultaneous_band(a, KS, 2000, seed=seed, clip=(0, 1)), c.paired_band(a, b, KS, 2000, seed=seed)
        yield f"simultaneous_band, whole curve, {questions}", inside(band.low, band.high, TRUE_CURVE)
        yield f"paired_band, whole curve, {questions}", inside(gap.low, gap.high, TRUE_GAP)


def pairs(rng, seed):
    for questions in (30, 500):
        p = rates(rng, questions)
        a, same, b = (rng.binomial(SAMPLES, x) for x in (p, p, changed(p)))
        gap = c.paired_difference(a / SAMPLES, b / SAMPLES, 1000, seed)
        null = c.paired_difference(a / SAMPLES, same / SAMPLES, 1000, seed)
        hits = c.mcnemar(a > 0, same > 0)
        yield f"paired_difference interval, {questions}", inside(gap.low, gap.high, TRUE_GAP[0])
        yield f"reject: paired t, {questions}", null.p_t <= 0.05
        yield f"reject: sign flip, {questions}", null.p_sign_flip <= 0.05
        yield f"reject: McNemar, {questions} (discrete)", hits.p <= 0.05
    tests = [c.paired_difference(rng.normal(size=50), rng.normal(size=50), 1000, seed).p_t for _ in range(5)]
    yield "reject: any of 5 after Holm", c.holm(tests).min() <= 0.05


def nulls(rng, seed):
    p = rates(rng)
    a, second, b = (rng.binomial(SAMPLES, p) for _ in range(3))
    fit = c.fit_beta_binomial(a, SAMPLES, refits=40, seed=seed)
    moved = c.transitions(a, b, SAMPLES, fit=fit, simulations=400, seed=seed)
    for label, down, up in zip(moved.labels, moved.p_down, moved.p_up):
        yield f"reject: transitions down {label} (discrete)", down <= 0.05
        yield f"reject: transitions up {label} (discrete)", up <= 0.05
    yield "reject: transitions, any row after Holm (discrete)", np.nanmin(moved.p_holm) <= 0.05
    for name, control in (("fitted null", None), ("second draw", second)):
        table = c.change_by_bin(a, b, SAMPLES, second_counts=control, fit=fit, simulations=400, seed=seed)
        for row in table.itertuples():
            yield f"reject: change_by_bin {row.bin}, {name}", row.p <= 0.05
            yield f"change_by_bin interval {row.bin}, {name}", inside(row.difference_low, row.difference_high, 0)
        yield f"reject: change_by_bin, any bin after Holm, {name}", table.p_holm.min() <= 0.05
    support = c.support_change(a, b, SAMPLES, fit, 1000, 400, seed=seed)
    for name, p_value in support.p.items(): yield f"reject: support {name} (discrete)", p_value <= 0.05


def no_impossible_questions(rng, seed):
    p = rates(rng, zero=0) # the hardest case for the point mass: there is none, and an estimate can only be too high
    moved = c.transitions(*(rng.binomial(SAMPLES, p) for _ in range(2)), SAMPLES, simulations=400, seed=seed)
    yield "reject: transitions up [0] (discrete)", moved.p_up[0] <= 0.05
    yield "reject: transitions, any row after Holm (discrete)", np.nanmin(moved.p_holm) <= 0.05


BOTH = (1 - (1 - POPULATION)**SAMPLES), (1 - (1 - changed(POPULATION))**SAMPLES)
KEPT, ONLY_B, ONLY_A = ((x * y).mean() for x, y in (BOTH, (1 - BOTH[0], BOTH[1]), (BOTH[0], 1 - BOTH[1])))


def support(rng, seed):
    truth = {"retention": KEPT / (KEPT + ONLY_A), "discovery": ONLY_B / (KEPT + ONLY_B),
             "net": (ONLY_B - ONLY_A) / (KEPT + ONLY_B + ONLY_A)}
    for questions in (100, 500):
        p = rates(rng, questions)
        found = c.support_change(
            rng.binomial(SAMPLES, p), rng.binomial(SAMPLES, changed(p)), replicates=2000, seed=seed
        )
        for x in (found.retention, found.discovery, found.net):
            yield f"support {x.label}, {questions}", inside(x.low, x.high, truth[x.label])


def extrapolation(rng, seed):
    for zero in (0.0, ZERO):
        truth = [(1 - zero) * c.BetaBinomialFit(*BETA, 0.0, 0.0).pass_at_k(k) for k in (64, 256, 1024)]
        band = c.extrapolated_band(rng.binomial(64, rates(rng, zero=zero)), 64, [64, 256, 1024], 100, seed=seed)
        yield f"extrapolated_band 64 to 1024, zero={zero}", inside(band.low, band.high, np.array(truth))


def training_seeds(rng, seed):
    for seeds in (3, 5, 10):
        for name, sd in (("alike", 0.0), ("as uncertain as questions", 0.03), ("dominate", 0.1)):
            here = rng.normal(0, 0.3, 200)
            values = rng.normal(0, sd, (seeds, 1)) + here + rng.normal(0, 0.2, (seeds, 200))
            one, two = c.seed_effect(values), c.two_way_bootstrap(values, 1000, seed)
            yield f"seed_effect, these questions, {seeds} seeds, {name}", inside(one.low, one.high, here.mean())
            yield f"two_way_bootstrap, {seeds} seeds, {name}", inside(two.low, two.high, 0)


def verdicts(rng, seed):
    """Claims judged over replicates: with the true effect at the threshold a verdict is wrong, whichever it is; and
    how often a claim is supported whose true effect lies one standard deviation of replicates inside its side."""
    for direction, threshold, inward in (("above", 0., 1), ("below", 2., -1), ("within", 2., -2)):
        claim = j.Claim(*[""] * 6, "sign flip", direction, threshold, "", "", None)
        for replicates in (3, 12):
            for name, truth in (("reject, effect at the threshold", threshold), ("power", threshold + inward)):
                effects = [j.ClaimEffect(value, *[np.nan] * 4) for value in rng.normal(truth, 1, replicates)]
                found = j.combine(claim, effects)
                told = j.judge(claim, *found.decides, found.p)
                wanted = told == "supported" if name == "power" else told != "inconclusive"
                yield f"{name}, {direction}, {replicates} replicates", wanted


STUDIES = {
    f.__name__: f
    for f in (proportions, means, bands, pairs, nulls, no_impossible_questions, support, extrapolation, training_seeds,
              verdicts)
}


def study(run, repeats: int, start: int = 0) -> pd.DataFrame:
    "A row an interval or test: share of repeats that covered or rejected, with its Monte Carlo error."
    outcomes = {}
    for seed in range(start, start + repeats):
        for name, outcome in run(np.random.default_rng(seed + 1), seed): outcomes.setdefault(name, []).append(outcome)
    rows = [(name, "rejects" if name.startswith("reject") else "covers", np.mean(hits),
             np.sqrt(np.mean(hits) * (1 - np.mean(hits)) / len(hits))) for name, hits in outcomes.items()]
    return pd.DataFrame(rows, columns=["what", "does", "share", "±"])


def main():
    "Run the studies and print their tables."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="simulated comparisons a study")
    parser.add_argument("--start", type=int, default=0, help="seed of the first, to run a study in parts")
    parser.add_argument("--only", choices=STUDIES, nargs="*", default=list(STUDIES), help="studies to run")
    options = parser.parse_args()
    for name in options.only:
        start = time.perf_counter()
        table = study(STUDIES[name], options.repeats, options.start)
        print(f"\n{name}: {options.repeats} repeats, {time.perf_counter() - start:.0f} s")
        print(table.to_string(index=False, formatters={"share": "{:.3f}".format, "±": "{:.3f}".format}), flush=True)


if __name__ == "__main__": main()
