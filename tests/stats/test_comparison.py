"""comparison: against exact fractions, enumeration, other libraries, and simulated models with known rates."""
import itertools
from fractions import Fraction
from math import comb, factorial

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from rlvd_nb.stats import comparison as c, estimators as e
from rlvd_nb.stats.factorial import crossed_effect

settings.register_profile("comparison", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("comparison")


def draw(seed: int, questions: int = 300, n: int = 64, a: float = 0.3, b: float = 0.5, draws: int = 2) -> list:
    "Independent counts of one model on questions with Beta(a, b) rates."
    rng = np.random.default_rng(seed)
    rates = rng.beta(a, b, questions)
    return [rng.binomial(n, rates) for _ in range(draws)]


def assert_share(hits: int, trials: int, low: float, high: float):
    "A true share between low and high could have given this many hits (each side at one in a thousand)."
    assert stats.binom.cdf(hits, trials, low) > 1e-3, f"{hits}/{trials} is below {low}"
    assert stats.binom.sf(hits - 1, trials, high) > 1e-3, f"{hits}/{trials} is above {high}"


# bins

@given(st.integers(1, 2000), st.sampled_from([c.PAPER_BINS, c.FINE_BINS, (64, 128, 192, 256)]))
def test_bins_cover_every_count_once(n, edges):
    scaled = c.bin_edges(edges, n)
    assert scaled[-1] == n and (np.diff(scaled) > 0).all() and len(scaled) <= len(edges)
    if n % 256 == 0: assert scaled == tuple(edge * n // 256 for edge in edges)
    by_hand = [next(i for i, edge in enumerate(scaled) if x <= edge) for x in range(n + 1)]
    assert c.bin_of(np.arange(n + 1), scaled).tolist() == by_hand
    assert len(c.bin_labels(scaled)) == len(scaled) == len(set(c.bin_labels(scaled)))


def test_bin_labels():
    assert c.bin_labels(c.PAPER_BINS) == ["[0]", "[1–4]", "[5–16]", "[17–64]", "[65–128]", "[129–256]"]
    assert c.bin_labels((64, 128)) == ["[0–64]", "[65–128]"]
    assert c.bin_labels(c.bin_edges(c.PAPER_BINS, 16)) == ["[0]", "[1]", "[2–4]", "[5–8]", "[9–16]"]


# pairs

@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=e.MIN_QUESTIONS, max_size=10))
def test_paired_difference_against_scipy_and_all_signs(pairs):
    a, b = np.array(pairs, dtype=float).T / 8
    assume(a.any() or b.any())
    found = c.paired_difference(a, b, 20_000)
    signs = np.array(list(itertools.product([-1, 1], repeat=len(a)))) @ (b - a)
    assert found.p_sign_flip == pytest.approx((abs(signs) >= abs((b - a).sum()) - 1e-9).mean(), abs=0.015)
    assert found.value == pytest.approx((b - a).mean())
    if np.ptp(b - a) > 0:
        other = stats.ttest_rel(b, a)
        low, high = other.confidence_interval(0.95)
        assert (found.low, found.high, found.p_t) == pytest.approx((low, high, other.pvalue))
        assert found.se == pytest.approx(stats.sem(b - a))


def test_paired_difference_without_spread():
    same, shifted = c.paired_difference([0.5] * 6, [0.5] * 6), c.paired_difference([0.0] * 6, [0.5] * 6)
    for found in (same, shifted):
        assert np.isnan([found.low, found.high, found.p_t]).all()  # t has nothing to judge by,
    assert same.p_sign_flip == 1 and shifted.p_sign_flip == pytest.approx(2 / 2**6, abs=0.005)  # the sign flips have
    assert c.paired_difference([0, 1], [1, 0], label="x").row()["label"] == "x"


@pytest.mark.parametrize("a, b", [
    ([0, 1, 1, 0], [1, 1, 1, 1]), ([0.1] * 5, [0.9] * 5), ([1] * 5, [0] * 5), ([0] * 4, [0] * 4),  # too few
    ([0] * 500, [0] * 500)])  # nothing right in either
def test_nothing_is_told_from_nothing(a, b):
    found = c.paired_difference(a, b)
    assert found.value == pytest.approx(np.mean(b) - np.mean(a)) and "too few to say" in str(found)
    assert np.isnan([found.low, found.high, found.p_t, found.p_sign_flip, c.mcnemar(a, b).p]).all()
    assert np.isnan(c.paired_band(np.array(a)[:, None], np.array(b)[:, None], [1]).low).all()


@pytest.mark.parametrize("questions", [6, 40, 500])
def test_hits_of_which_none_changed_sides_bound_the_share_that_would(questions):
    solved = np.arange(questions) % 3 > 0
    found = c.paired_difference(solved, solved)
    limit = stats.binomtest(0, questions).proportion_ci(0.95, "exact").high
    assert (found.low, found.high) == pytest.approx((-limit, limit)) and found.p_sign_flip == 1
    rates = c.paired_difference(solved / 2, solved / 2)  # success rates may all have moved a little
    assert np.isnan(rates.low)


@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=6, max_size=9))
def test_a_difference_of_shares_is_never_beyond_1(pairs):
    a, b = np.array(pairs).T
    found, table = c.compare_counts(a, b, 4, replicates=50, simulations=20), c.change_by_bin(a, b, 4, second_counts=a)
    ends = [(x.low, x.high) for x in (found.accuracy, found.pass_n)] + [(found.curve.low, found.curve.high)]
    for part in (found.by_bin, table): ends += [(part.low, part.high), (part.difference_low, part.difference_high)]
    for low, high in ends:
        assert (np.isnan(low) | (low >= -1) & (low <= high)).all() and (np.isnan(high) | (high <= 1)).all()
    with pytest.raises(ValueError, match="a must be between 0 and 1"): c.paired_difference(a + 5, b, share=True)


@pytest.mark.parametrize("replicates", [99, 999])
def test_a_simulated_p_at_its_floor_is_told_as_such(replicates):
    found = c.paired_difference(np.zeros(60), np.full(60, 0.5), replicates)
    assert found.p_sign_flip == found.p_floor == 1 / (replicates + 1)
    assert f"p ≤ {found.p_floor:.2g}" in str(found)
    before, after = np.zeros(80, int), np.full(80, 16)
    moved = c.transitions(before, after, 16, simulations=replicates)
    assert 2 * moved.p_up[0] == moved.p_floor == 2 / (replicates + 1) and moved.at_floor().tolist()[0]
    assert (moved.table()["p_floor"] == moved.p_floor).all()
    table = c.change_by_bin(before, after, 16, simulations=replicates)
    assert table["p"][0] == table["p_floor"][0] == moved.p_floor
    assert (c.change_by_bin(before, after, 16, second_counts=before)["p_floor"] == 0).all()  # Student's has none
    base, other = np.repeat([8, 0], 40), np.repeat([0, 8], 40)
    support = c.support_change(base, other, 8, c.fit_beta_binomial(base, 8), simulations=replicates)
    assert support.p["net"] >= support.p_floor == 2 / (replicates + 1)
    assert c.p_value(support.p_floor, support.p_floor) == f"p ≤ {support.p_floor:.2g}"


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=e.MIN_QUESTIONS, max_size=40))
def test_mcnemar_against_statsmodels(pairs):
    a, b = np.array(pairs).T
    assume(a.any() or b.any())
    found = c.mcnemar(a, b)
    table = pd.crosstab(a, b).reindex(index=[True, False], columns=[True, False], fill_value=0).to_numpy()
    assert [found.kept, found.lost, found.gained, found.never] == table.ravel().tolist()
    expected = statsmodels_mcnemar(table, exact=True).pvalue if found.gained + found.lost else 1.0
    assert found.p == pytest.approx(expected)


def test_the_papers_pairs():
    before = np.repeat([1, 0], [486, 14])
    after = before.copy()
    after[:6], after[-5:] = 0, 1
    found = c.mcnemar(before, after)
    assert (found.gained, found.lost, found.p) == (5, 6, 1.0)
    assert (before.mean(), after.mean()) == (0.972, 0.97)
    aime = c.mcnemar(np.repeat([1, 0], [17, 13]), np.repeat([1, 0], [21, 9]))  # the most favourable pairing
    assert aime.gained - aime.lost == 4 and aime.p == pytest.approx(0.125)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_by_hand(p):
    order, running, adjusted = np.argsort(p, kind="stable"), 0.0, np.empty(len(p))
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = running
    assert c.holm(p) == pytest.approx(adjusted)
    assert np.isnan(c.holm([*p, np.nan])[-1]) and c.holm([*p, np.nan])[:-1] == pytest.approx(adjusted)


def test_holm_against_statsmodels():
    for p in np.random.default_rng(0).random((6, 7))**3:
        assert c.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_paired_band_is_the_band_of_the_differences():
    a, b = (e.pass_at_k_curve(x, 64, [1, 8, 64]) for x in draw(0))
    gap, same = c.paired_band(a, b, [1, 8, 64], 500), e.simultaneous_band(b - a, [1, 8, 64], 500)
    assert np.array_equal(gap.low, same.low) and np.array_equal(gap.high, same.high)


# the beta-binomial fit

def test_fit_is_the_maximum_of_scipys_likelihood():
    counts, = draw(1, draws=1)
    fit = c.fit_beta_binomial(counts, 64, zero_inflated=False)
    likelihood = lambda a, b: stats.betabinom.logpmf(counts, 64, a, b).sum()
    assert fit.log_likelihood == pytest.approx(likelihood(fit.a, fit.b), abs=1e-6)
    for da, db in itertools.product((0.97, 1, 1.03), repeat=2):
        assert likelihood(fit.a * da, fit.b * db) <= fit.log_likelihood + 1e-6


@pytest.mark.parametrize("inflated", [False, True])
@pytest.mark.parametrize("edges", [c.PAPER_BINS, tuple(range(257))])
def test_slopes_of_the_fit_are_those_of_its_loss(inflated, edges):
    totals = np.bincount(c.bin_of(draw(4, n=256, draws=1)[0], edges), minlength=len(edges))
    totals[0] += 40
    loss = lambda place: c._loss(place, totals, c._lowest(edges), 256, inflated)
    for place in ([-1., .5], [.3, -.7], [2., 1.]):
        assert loss(place)[1] == pytest.approx(optimize.approx_fprime(place, lambda x: loss(x)[0], 1e-7), abs=1e-5)


def test_point_mass_is_found_profiled_and_dropped():
    rng = np.random.default_rng(3)
    rates = rng.beta(1.0, 1.5, 1500) * (rng.random(1500) > 0.3)
    counts = rng.binomial(64, rates)
    fit = c.fit_beta_binomial(counts, 64)
    assert fit.zero == pytest.approx(0.3, abs=0.04) and (fit.a, fit.b) == pytest.approx((1, 1.5), rel=0.15)
    mixed = lambda z: np.log((1 - z) * stats.betabinom.pmf(counts, 64, fit.a, fit.b) + z * (counts == 0)).sum()
    assert mixed(fit.zero) == pytest.approx(fit.log_likelihood, abs=1e-6)
    assert max(mixed(fit.zero - 0.01), mixed(fit.zero + 0.01)) < fit.log_likelihood
    assert c.fit_beta_binomial(rng.binomial(64, rng.beta(1.0, 1.5, 1500)), 64).zero == 0
    assert c.fit_beta_binomial(counts, 64, zero_inflated=False).zero == 0


def test_binned_fit_agrees_with_the_full_one():
    counts, = draw(4, questions=3000, n=256, draws=1)
    totals = np.bincount(c.bin_of(counts, c.PAPER_BINS), minlength=6)
    full, binned = c.fit_beta_binomial(counts, 256), c.fit_beta_binomial_binned(totals, 256, c.PAPER_BINS)
    assert (binned.a, binned.b) == pytest.approx((full.a, full.b), rel=0.1)
    one_a_bin = c.fit_beta_binomial_binned(np.bincount(counts, minlength=257), 256, range(257))
    assert one_a_bin == full


@pytest.mark.parametrize("counts", [[0, 0, 0], [8, 8, 8], [4, 4, 4], [0, 8], [3]])
def test_fit_survives_degenerate_counts(counts):
    fit = c.fit_beta_binomial(counts, 8, refits=3)
    assert np.isfinite([fit.a, fit.b, fit.zero, fit.log_likelihood]).all() and len(fit.refits) == 3
    assert np.isfinite(fit.null_matrix(8)).all() and 0 <= fit.pass_at_k(100) <= 1


def test_null_matrix_is_exact_for_whole_parameters():
    n, a, b, zero = 6, 2, 3, Fraction(1, 5)
    beta = lambda x, y: Fraction(factorial(x - 1) * factorial(y - 1), factorial(x + y - 1))
    first = lambda x: (1 - zero) * comb(n, x) * beta(a + x, b + n - x) / beta(a, b) + (zero if x == 0 else 0)
    joint = lambda x, y: ((1 - zero) * comb(n, x) * comb(n, y) * beta(a + x + y, b + 2 * n - x - y) / beta(a, b)
                          + (zero if x == y == 0 else 0))
    exact = [[float(joint(x, y) / first(x)) for y in range(n + 1)] for x in range(n + 1)]
    assert np.allclose(c.BetaBinomialFit(a, b, float(zero), 0.0).null_matrix(n), exact, atol=1e-12)


@given(st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0, 0.9), st.integers(1, 40))
def test_two_draws_are_exchangeable(a, b, zero, n):
    fit = c.BetaBinomialFit(a, b, zero, 0.0)
    common = (1 - zero) * stats.betabinom.pmf(np.arange(n + 1), n, a, b)
    common[0] += zero
    joint = common[:, None] * fit.null_matrix(n)
    assert np.allclose(joint, joint.T, atol=1e-10) and np.allclose(joint.sum(0), common, atol=1e-9)


@given(st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0, 0.9), st.integers(1, 500))
def test_extrapolation_is_the_integral(a, b, zero, k):
    log_integral = integrate.quad(lambda p: (1 - p)**k, 0, 1, weight="alg", wvar=(a - 1, b - 1))[0]
    expected = (1 - zero) * (1 - log_integral / integrate.quad(lambda p: 1, 0, 1, weight="alg", wvar=(a - 1, b - 1))[0])
    assert float(c.BetaBinomialFit(a, b, zero, 0.0).pass_at_k(k)) == pytest.approx(expected, abs=1e-5)


def test_the_published_bins():
    totals = [14, 18, 34, 69, 78, 287]
    for allowed, expected in ((True, (0.188, 0.600, 0.212)), (False, (0.188, 0.600, 0.212))):
        null = c.binned_null(c.fit_beta_binomial_binned(totals, 256, c.PAPER_BINS, allowed), 256, c.PAPER_BINS)
        assert (null[1, 0], null[1, 1], null[1, 2:].sum()) == pytest.approx(expected, abs=1e-3)
        assert np.allclose(null.sum(1), 1)
    jeffreys = c.BetaBinomialFit(0.5, 0.5, 0.0, 0.0).null_matrix(256)[1:5].mean(0)
    assert (jeffreys[0], jeffreys[1:5].sum(), jeffreys[5:].sum()) == pytest.approx((0.16, 0.60, 0.24), abs=0.006)
    assert stats.chisquare([3, 11, 4], 18 * np.array([null[1, 0], null[1, 1], null[1, 2:].sum()])).pvalue > 0.9


def test_redraw_follows_the_null_matrix():
    fit = c.BetaBinomialFit(0.4, 0.8, 0.2, 0.0)
    again = c.redraw(fit, [0, 3, 16], 16, 20_000)
    for column, x in zip(again.T, (0, 3, 16)):
        seen = np.bincount(column, minlength=17) / 20_000
        assert np.abs(seen - fit.null_matrix(16)[x]).max() < 0.015


def test_redraw_takes_the_refits_in_turn():
    sure, never = c.BetaBinomialFit(500.0, 0.01, 0.0, 0.0), c.BetaBinomialFit(0.01, 500.0, 0.0, 0.0)
    fit = c.BetaBinomialFit(1.0, 1.0, 0.0, 0.0, refits=(sure, never))
    rows = c.redraw(fit, np.full(50, 4), 8, 4).mean(1)
    assert (rows[::2] > 7).all() and (rows[1::2] < 1).all()


# transitions and bins against the null

def test_transitions_against_pandas_and_the_exact_null():
    base, other = draw(5, n=256)
    fit = c.fit_beta_binomial(base, 256)
    found = c.transitions(base, other, 256, fit=fit)
    bins = [pd.Categorical.from_codes(c.bin_of(x, c.PAPER_BINS), found.labels) for x in (base, other)]
    assert np.array_equal(found.observed, pd.crosstab(*bins, dropna=False))
    again = c.redraw(fit, base, 256, 2000, seed=9)
    simulated = np.mean([pd.crosstab(c.bin_of(base, c.PAPER_BINS), c.bin_of(x, c.PAPER_BINS)).reindex(
        index=range(6), columns=range(6), fill_value=0) for x in again[:150]], axis=0)
    assert np.abs(found.expected - simulated).max() < 1.5
    assert np.allclose(found.difference, found.observed - found.expected)
    table = found.table()
    assert (table[["down", "stay", "up"]].sum(axis=1) == table.questions).all()
    assert np.allclose(table[["down_null", "stay_null", "up_null"]].sum(axis=1), table.questions)


def test_transition_p_values_are_binomial_tails_when_a_row_is_one_count():
    fit = c.BetaBinomialFit(0.5, 0.5, 0.0, 0.0)
    base, other = np.full(40, 2), np.repeat([0, 2, 9], [12, 24, 4])
    found = c.transitions(base, other, 256, fit=fit, simulations=20_000)
    down, up = fit.null_matrix(256)[2, 0], fit.null_matrix(256)[2, 5:].sum()
    p_down, p_up = stats.binom.sf(11, 40, down), stats.binom.sf(3, 40, up)
    assert (found.p_down[1], found.p_up[1]) == pytest.approx((p_down, p_up), abs=0.01)
    assert found.p_holm[1] == pytest.approx(min(1, 2 * min(p_down, p_up)), abs=0.02)
    cell = stats.binom.sf(11, 40, down), stats.binom.cdf(12, 40, down)
    assert found.p_cell[1, 0] == pytest.approx(min(1, 2 * min(cell)), abs=0.02)
    assert np.isnan(found.p_holm[[0, 2, 3, 4, 5]]).all() and found.expected[0].sum() == 0


def test_simulated_p_is_never_zero():
    low, high, both = c._simulated_p(np.zeros((99, 2)), np.array([5, 0]))
    assert high.tolist() == [0.01, 1] and low.tolist() == [1, 1] and both.tolist() == [0.02, 1]


def test_change_by_bin_against_pandas_and_scipy():
    base, second, other = draw(6, draws=3)
    edges = c.bin_edges(c.PAPER_BINS, 64)
    table = c.change_by_bin(base, other, 64, second_counts=second)
    for place, row in enumerate(table.itertuples()):
        here = c.bin_of(base, edges) == place
        change, control = (other - base)[here] / 64, (second - base)[here] / 64
        low, high = stats.ttest_1samp(change, 0).confidence_interval()
        assert row.questions == here.sum() and (row.change, row.low, row.high) == pytest.approx(
            (change.mean(), low, high)
        )
        paired = stats.ttest_rel(change, control)
        low, high = paired.confidence_interval()
        assert row.second_change == pytest.approx(control.mean()) and row.p == pytest.approx(paired.pvalue)
        assert (row.difference_low, row.difference_high) == pytest.approx((low, high))
    assert table.p_holm.to_numpy() == pytest.approx(c.holm(table.p))


def test_change_by_bin_against_its_simulated_null():
    base, other = draw(7)
    fit = c.fit_beta_binomial(base, 64)
    table = c.change_by_bin(base, other, 64, fit=fit)
    again, row = c.redraw(fit, base, 64, 4000, seed=3), c.bin_of(base, c.bin_edges(c.PAPER_BINS, 64))
    for place, found in enumerate(table.itertuples()):
        changes = (again - base)[:, row == place].mean(1) / 64
        assert found.null_change == pytest.approx(changes.mean(), abs=4 * changes.std() / 63)
        assert found.difference == pytest.approx(found.change - found.null_change)
        nearer = min((changes <= found.change + 1e-12).mean(), (changes >= found.change - 1e-12).mean())
        assert found.p == pytest.approx(min(1, 2 * nearer), abs=0.07)
    assert table.second_change.isna().all()


def test_bins_too_small_for_an_interval_have_none():
    base, other = [0] * 6 + [3] * 5 + [64] * 2, [0, 1, 0, 2, 0, 1] + [5, 4, 9, 0, 1] + [64, 30]
    table, moved = c.change_by_bin(base, other, 64), c.transitions(base, other, 64)
    assert table.questions.tolist() == [6, 0, 5, 0, 0, 2]
    assert table.change.notna().tolist() == [True, False, True, False, False, True]
    for column in ("low", "high", "difference_low", "difference_high", "p", "p_holm"):
        assert table[column].notna().tolist() == [True] + [False] * 5, column
    assert np.isfinite(moved.p_holm).tolist() == [True] + [False] * 5
    second = c.change_by_bin(base, other, 64, second_counts=[1, 0, 0, 0, 0, 0] + [3] * 5 + [64] * 2)
    assert second.p.notna().tolist() == [True] + [False] * 5


def test_no_right_answer_at_all_is_no_evidence():
    both = c.compare_counts(np.zeros(50), np.zeros(50), 8, replicates=50, simulations=50)
    assert both.table()[["low", "high", "p"]].isna().all(axis=None) and np.isnan(both.transitions.p_holm).all()
    assert both.by_bin[["low", "difference_low", "p"]].isna().all(axis=None) and np.isnan(both.curve.low).all()
    assert (both.a_curve.low == 0).all() and (both.a_curve.high > 0.05).all()  # the share itself has a limit


def test_a_change_is_found_and_its_size_recovered():
    rng = np.random.default_rng(8)
    rates = rng.beta(0.3, 0.5, 800)
    base, second, after = rng.binomial(256, rates), rng.binomial(256, rates), rng.binomial(256, rates / 3)
    table = c.change_by_bin(base, after, 256, second_counts=second)
    row, true = c.bin_of(base, c.PAPER_BINS), -rates * 2 / 3
    for place, found in enumerate(table.itertuples()):
        assert found.difference_low - 0.01 <= true[row == place].mean() <= found.difference_high + 0.01
    assert (c.transitions(base, after, 256).p_holm[1:] < 0.05).all()


def test_without_a_null_the_hard_bins_would_seem_to_improve():
    table = c.change_by_bin(*draw(9, questions=4000, n=16), 16)
    assert table.low.iloc[0] > 0 and table.high.iloc[-1] < 0  # significant, and nothing was trained
    assert (table.p_holm > 0.05).all()


# support

@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_support_by_sets(pairs):
    a, b = np.array(pairs).T
    before, after = set(np.flatnonzero(a)), set(np.flatnonzero(b))
    found = c.support_change(a, b, replicates=200)
    share = lambda part, whole: part / whole if whole else np.nan
    expected = (share(len(before & after), len(before)), share(len(after - before), len(after)),
                share(len(after) - len(before), len(before | after)))
    values = (found.retention.value, found.discovery.value, found.net.value)
    assert values == pytest.approx(expected, nan_ok=True)
    assert np.isnan(list(found.null.values())).all()


def test_support_interval_is_jeffreys_and_never_empty():
    found = c.support_change(np.ones(40), np.ones(40), replicates=40_000).retention
    assert (found.low, found.high) == pytest.approx(stats.beta.ppf([0.025, 0.975], 40.5, 0.5), abs=0.003)
    assert found.value == found.high == 1
    for counts in itertools.product((0, 1), repeat=4):
        support = c.support_change(counts, counts[::-1], replicates=500)
        for each in (support.retention, support.discovery, support.net):
            assert each.low <= each.value <= each.high or np.isnan([each.value, each.low, each.high]).all()


def test_support_null_by_hand():
    fit, base = c.BetaBinomialFit(0.3, 1.0, 0.1, 0.0), np.repeat([0, 1, 5], [30, 20, 50])
    found = c.support_change(base, base, 8, fit, simulations=4000)
    hit = 1 - fit.null_matrix(8)[base, 0]
    assert found.null["retention"] == pytest.approx(hit[base > 0].mean(), abs=0.005)
    gained = hit[base == 0].sum()
    assert found.null["discovery"] == pytest.approx(gained / hit.sum(), abs=0.01)
    assert found.null["net"] == pytest.approx((gained - (1 - hit)[base > 0].sum()) / (70 + gained), abs=0.01)
    assert found.p["retention"] < 0.01  # a second draw would have lost some


def test_draws_that_solve_nothing_say_nothing_of_discovery(monkeypatch):
    "They are no evidence for either side, so that p is that of the other draws."
    a, b = np.repeat([1, 0], [5, 45]), np.repeat([1, 0], [7, 43])
    some = np.zeros((20, 50), int)
    some[:, :4] = 1
    fit, p = c.BetaBinomialFit(0.3, 1.0, 0.1, 0.0), []
    for again in (some, np.concatenate([some, np.zeros((80, 50), int)])):
        monkeypatch.setattr(c, "redraw", lambda *_: again)
        p.append(c.support_change(a, b, 8, fit).p["discovery"])
    assert p[0] == p[1] == pytest.approx(2 / 21)


# extrapolation

def test_extrapolated_band():
    counts, = draw(10, draws=1)
    band = c.extrapolated_band(counts, 64, [1, 64, 4096], replicates=60)
    fit = c.fit_beta_binomial(counts, 64)
    assert band.value == pytest.approx(fit.pass_at_k([1, 64, 4096]))
    assert band.value[0] == pytest.approx(counts.mean() / 64, abs=0.02)
    assert (np.diff(band.value) > 0).all() and (band.low <= band.value).all() and band.high.max() <= 1
    same = c.extrapolated_band(counts, 64, [1, 64, 4096], replicates=60)
    assert np.array_equal(band.low, same.low)


# seeds

@given(st.lists(st.floats(-1, 1), min_size=e.MIN_REPLICATES, max_size=10).filter(lambda v: np.std(v) > 1e-6))
def test_seed_effect_is_a_t_interval(values):
    found, other = c.seed_effect(values), stats.ttest_1samp(values, 0)
    assert (found.low, found.high) == pytest.approx(tuple(other.confidence_interval()))
    assert found.p == pytest.approx(other.pvalue) and found.between_seed_sd == pytest.approx(np.std(values, ddof=1))
    by_question = np.array(values)[:, None] + np.array([-1, 0, 1])
    assert c.seed_effect(by_question).value == pytest.approx(found.value)


def test_two_way_bootstrap_has_both_kinds_of_spread():
    rng = np.random.default_rng(0)
    only_questions, only_seeds = np.tile(rng.normal(size=400), (3, 1)), np.tile(rng.normal(size=(5, 1)), (1, 400))
    wide = lambda found: (found.high - found.low) / 2
    assert wide(c.two_way_bootstrap(only_questions)) == pytest.approx(1.966 * stats.sem(only_questions[0]), rel=0.03)
    assert wide(c.two_way_bootstrap(only_seeds)) == pytest.approx(2.776 * stats.sem(only_seeds[:, 0]), rel=0.03)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3, 0.1, 1e6])
def test_equal_replicates_are_handled_alike_everywhere(value):
    "Seeds that agree have a mean, and no spread that an interval, a test, or a test of equivalence could come from."
    seeds = np.full((5, 40), value)
    crossed = crossed_effect(seeds)
    for found in (c.seed_effect(seeds), c.seed_effect(seeds[:, 0]), c.two_way_bootstrap(seeds), crossed):
        assert found.value == pytest.approx(value) and np.isnan([found.low, found.high]).all()
    assert np.isnan([c.seed_effect(seeds).p, crossed.p, crossed.beyond(0.5), crossed.equivalent(0.5)]).all()
    paired = c.paired_difference(np.zeros(40), seeds[0])
    assert np.isnan(paired.p_t)


@pytest.mark.parametrize("seeds, questions", [(2, 300), (5, 5), (2, 3)])
def test_too_few_seeds_or_questions_have_a_mean_and_no_interval(seeds, questions):
    values = np.random.default_rng(0).normal(1, 1, (seeds, questions))
    for found in (c.two_way_bootstrap(values), crossed_effect(values)):
        assert found.value == pytest.approx(values.mean()) and np.isnan([found.low, found.high]).all()
    if seeds < e.MIN_REPLICATES: assert np.isnan(c.seed_effect(values).p) and "too few" in str(c.seed_effect(values))


@given(st.integers(3, 6), st.integers(6, 30), st.floats(0, 1), st.integers(0, 10**6))
def test_a_share_over_seeds_and_questions_stays_between_0_and_1(seeds, questions, rate, seed):
    values = np.random.default_rng(seed).random((seeds, questions)) < rate * np.linspace(0, 1, seeds)[:, None]
    assume(values.any() and not values.all())
    found, wide = c.two_way_bootstrap(values, 200, share=True), c.two_way_bootstrap(values, 200)
    assert 0 <= found.low <= found.value <= found.high <= 1 and found.value == pytest.approx(wide.value)


# all of it

def test_compare_counts_is_the_sum_of_its_parts():
    a, second, b = draw(11, questions=80, draws=3)
    both = c.compare_counts(a, b, 64, ks=[1, 8, 64], replicates=300, simulations=100, seed=2, second_counts=second)
    fit = c.fit_beta_binomial(a, 64, refits=c.REFITS, seed=2)
    assert both.fit == fit and both.questions == 80
    assert both.accuracy == c.paired_difference(a / 64, b / 64, 300, 2, "accuracy", share=True)
    assert both.mcnemar == c.mcnemar(a > 0, b > 0)
    curves = [e.pass_at_k_curve(x, 64, [1, 8, 64]) for x in (a, b)]
    assert np.allclose(both.curve.low, c.paired_band(*curves, [1, 8, 64], 300, seed=2).low)
    assert np.allclose(both.b_curve.high, e.simultaneous_band(curves[1], [1, 8, 64], 300, seed=2, clip=(0, 1)).high)
    pd.testing.assert_frame_equal(
        both.by_bin, c.change_by_bin(a, b, 64, second_counts=second, fit=fit, simulations=100, seed=2)
    )
    assert np.array_equal(both.transitions.p_cell, c.transitions(a, b, 64, fit=fit, simulations=100, seed=2).p_cell)
    assert both.support == c.support_change(a, b, 64, fit, 300, 100, seed=2)
    assert both.table().shape == (5, 7) and both.pass_n.label == "pass@64"


@pytest.mark.parametrize("n", [1, 2, 4, 300])
def test_compare_counts_at_any_n(n):
    a, b = draw(12, questions=30, n=n)
    both = c.compare_counts(a, b, n, replicates=50, simulations=20)
    assert both.curve.ks.tolist() == list(range(1, n + 1)) and both.by_bin.questions.sum() == 30


def test_a_model_against_itself_is_no_change():
    a, = draw(13, questions=50, draws=1)
    both = c.compare_counts(a, a, 64, replicates=50, simulations=50)
    assert both.accuracy.p_sign_flip == both.mcnemar.p == 1 and np.isnan(both.curve.low).all()
    assert both.pass_n.low == -both.pass_n.high < 0
    assert (both.transitions.observed == np.diag(np.diag(both.transitions.observed))).all()


BAD = [
    (lambda: c.bin_edges((4, 2), 4), "edges must be strictly increasing upper ends"),
    (lambda: c.bin_edges((0, 4), 0), "n must be at least 1, got 0"),
    (lambda: c.bin_of([5], (0, 4)), "counts must be at most the last edge 4, got 5"),
    (lambda: c.paired_difference([1], [1]), "a paired comparison needs at least 2 questions"),
    (lambda: c.paired_difference([1, 2], [1]), "a and b must be about the same questions"),
    (lambda: c.paired_difference([1, np.nan], [1, 2]), "a must be finite, got nan"),
    (lambda: c.paired_difference([1, 2], [1, 2], 0), "replicates must be at least 1"),
    (lambda: c.mcnemar([True], [True, False]), "a_hit and b_hit must be about the same questions"),
    (lambda: c.mcnemar([], []), "a_hit is empty"),
    (lambda: c.paired_band(np.ones((2, 2)), np.ones((2, 3)), [1, 2]), "a_curves and b_curves must be about the same"),
    (lambda: c.holm([-0.1]), "p-values must be between 0 and 1"),
    (lambda: c.fit_beta_binomial([], 4), "counts is empty"),
    (lambda: c.fit_beta_binomial([5], 4), "counts must be at most n=4, got 5"),
    (lambda: c.fit_beta_binomial([0.5], 4), "counts must be whole numbers, got 0.5"),
    (lambda: c.fit_beta_binomial_binned([0, 0], 4, (0, 4)), "bin_totals is all zero"),
    (lambda: c.fit_beta_binomial_binned([1], 4, (0, 4)), "edges must be 1 upper ends, one a bin, the last one n=4"),
    (lambda: c.redraw(c.BetaBinomialFit(1, 1, 0, 0), [1], 4, 0), "simulations must be at least 1"),
    (lambda: c.transitions([1, 2], [1], 4), "the counts of the two models must be about the same questions"),
    (lambda: c.transitions([1, 5], [1, 2], 4), "counts must be at most n=4, got 5"),
    (lambda: c.change_by_bin([1, 2], [1, 2], 4, second_counts=[1, 5]), "counts must be at most n=4, got 5"),
    (lambda: c.support_change([1], [-1]), "counts must be at least 0, got -1"),
    (lambda: c.support_change([1], [1], fit=c.BetaBinomialFit(1, 1, 0, 0)), "n is needed with a fit"),
    (lambda: c.extrapolated_band([1, 2], 4, [0]), "ks must be at least 1"),
    (lambda: c.seed_effect([0.1]), "an interval over training seeds needs at least 3 seeds"),
    (lambda: c.two_way_bootstrap(np.ones((2, 1))), "a two-way bootstrap needs at least 2 questions"),
    (lambda: c.compare_counts([1, 2], [1, 2, 3], 4), "must be about the same questions"),
    (lambda: c.compare_counts([1, 2], [1, 2], 4, ks=[5]), "k must be at most n, got k=5 with n=4"),
]


@pytest.mark.parametrize("call, message", BAD, ids=[message for _, message in BAD])
def test_bad_input_is_named_in_one_line(call, message):
    with pytest.raises(ValueError) as caught: call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_global_generator_is_untouched():
    before = np.random.get_state()[1].copy()
    a, b = draw(14, questions=30, n=16)
    c.compare_counts(a, b, 16, replicates=20, simulations=10)
    c.two_way_bootstrap(np.eye(3), 10)
    assert np.array_equal(np.random.get_state()[1], before)


# do the tests reject 5 % of true nulls, and the intervals cover 95 %?

def test_paired_tests_and_bands_in_simulation():
    trials, ks = 400, [1, 8, 32]
    hits = dict.fromkeys(["t rejects", "sign flip rejects", "interval covers", "band covers"], 0)
    mcnemar_rejects = 0
    rng, population = np.random.default_rng(1), np.random.default_rng(0).beta(0.3, 0.5, 1_000_000)
    harder = lambda p: p**1.3
    gap = np.array([((1 - population)**k - (1 - harder(population))**k).mean() for k in ks])
    for seed in range(trials):
        p = rng.beta(0.3, 0.5, 150)
        a, same, b = (rng.binomial(32, x) for x in (p, p, harder(p)))
        null, real = c.paired_difference(a / 32, same / 32, 1000, seed), c.paired_difference(a / 32, b / 32, 100, seed)
        hits["t rejects"] += null.p_t <= 0.05
        hits["sign flip rejects"] += null.p_sign_flip <= 0.05
        hits["interval covers"] += real.low <= gap[0] <= real.high
        band = c.paired_band(e.pass_at_k_curve(a, 32, ks), e.pass_at_k_curve(b, 32, ks), ks, 1000, seed=seed)
        hits["band covers"] += bool(((band.low <= gap) & (gap <= band.high)).all())
        mcnemar_rejects += c.mcnemar(a > 0, same > 0).p <= 0.05
    for name, count in hits.items(): assert_share(count, trials, *((0.04, 0.06) if "rejects" in name else (0.93, 0.97)))
    assert_share(mcnemar_rejects, trials, 0.0, 0.05)  # discrete: never above 5 %


def test_nulls_in_simulation():
    trials, n = 80, 64
    by_bin, covered, rows, made, tested = 0, 0, 0, 0, 0
    for seed in range(trials):
        base, other = draw(1000 + seed, questions=200, n=n)
        fit = c.fit_beta_binomial(base, n, refits=20, seed=seed)
        table = c.change_by_bin(base, other, n, fit=fit, simulations=200, seed=seed)
        moved = c.transitions(base, other, n, fit=fit, simulations=200, seed=seed)
        made += table.p.notna().sum()
        by_bin += (table.p <= 0.05).sum()
        covered += ((table.difference_low <= 0) & (0 <= table.difference_high)).sum()
        rows += (moved.p_down <= 0.05).sum() + (moved.p_up <= 0.05).sum()
        tested += 2 * len(moved.labels) - 2  # the first bin cannot fall, the last cannot rise
    assert_share(by_bin, made, 0.04, 0.06)
    assert_share(covered, made, 0.93, 0.97)
    assert_share(rows, tested, 0.0, 0.05)  # discrete: never above 5 %


def test_support_and_seed_intervals_in_simulation():
    trials = 400
    hits = dict.fromkeys(["retention", "discovery", "net", "seeds", "seeds and questions"], 0)
    rng, population = np.random.default_rng(2), np.random.default_rng(0).beta(0.3, 0.5, 1_000_000)
    before, after = 1 - (1 - population)**32, 1 - (1 - population / 3)**32
    kept, gained, lost = (before * after).mean(), ((1 - before) * after).mean(), (before * (1 - after)).mean()
    truth = {name: float(value) for name, value in c._support_rates(kept, gained, lost).items()}
    for seed in range(trials):
        p = rng.beta(0.3, 0.5, 300)
        found = c.support_change(rng.binomial(32, p), rng.binomial(32, p / 3), replicates=1000, seed=seed)
        for x in (found.retention, found.discovery, found.net): hits[x.label] += x.low <= truth[x.label] <= x.high
        here = rng.normal(0, 0.3, 100)
        values = rng.normal(0, 0.03, (3, 1)) + here + rng.normal(0, 0.2, (3, 100))
        one, two = c.seed_effect(values), c.two_way_bootstrap(values, 500, seed)
        hits["seeds"] += one.low <= here.mean() <= one.high
        hits["seeds and questions"] += two.low <= 0 <= two.high
    for count in hits.values(): assert_share(count, trials, 0.93, 0.97)
