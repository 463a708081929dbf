"""estimators: against exact fractions, brute force, other libraries, and simulated models with known rates."""
import itertools
from fractions import Fraction
from math import comb, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlvd_nb.stats import estimators as e

settings.register_profile("estimators", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("estimators")

counts_and_k = st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


def subsets(n, c, k):
    "Every choice of k of n samples, the first c of which are right, as numbers of right ones."
    return [sum(x < c for x in chosen) for chosen in itertools.combinations(range(n), k)]


def assert_share(hits: int, trials: int, low: float = 0.93, high: float = 0.97):
    "A true share between low and high could have given this many hits (each side at one in a thousand)."
    assert stats.binom.cdf(hits, trials, low) > 1e-3, f"{hits}/{trials} is below {low}"
    assert stats.binom.sf(hits - 1, trials, high) > 1e-3, f"{hits}/{trials} is above {high}"


# pass@k and its kin, exactly

def test_every_small_case_by_listing_all_subsets():
    for n in range(1, 8):
        for c, k in itertools.product(range(n + 1), range(1, n + 1)):
            right = np.array(subsets(n, c, k))
            assert e.pass_at_k(n, c, k) == pytest.approx((right > 0).mean(), abs=1e-12)
            assert e.pass_hat_k(n, c, k) == pytest.approx((right == k).mean(), abs=1e-12)
            for needed in range(1, k + 1):
                assert e.g_pass_at_k(n, c, k, needed / k) == pytest.approx((right >= needed).mean(), abs=1e-12)
            if k > 1:
                excess = np.maximum(right - -(-k // 2), 0).mean() * 2 / k
                assert e.mg_pass_at_k(n, c, k) == pytest.approx(excess, abs=1e-12)


@given(counts_and_k)
def test_pass_at_k_is_the_exact_fraction(case):
    n, c, k = case
    assert e.pass_at_k(n, c, k) == pytest.approx(float(1 - Fraction(comb(n - c, k), comb(n, k))), abs=1e-12)
    assert e.pass_hat_k(n, c, k) == pytest.approx(float(Fraction(comb(c, k), comb(n, k))), rel=1e-9, abs=1e-12)


def test_pass_at_k_at_ten_thousand_samples():
    exact = float(1 - Fraction(comb(9997, 2500), comb(10_000, 2500)))
    assert e.pass_at_k(10_000, 3, 2500) == pytest.approx(exact, abs=1e-9)


@given(counts_and_k)
def test_pass_at_k_stays_in_bounds_and_grows(case):
    n, c, k = case
    curve = e.pass_at_k(n, c, np.arange(1, n + 1))
    assert 0 <= curve.min() and curve.max() <= 1 and (np.diff(curve) >= -1e-12).all()
    assert curve[0] == pytest.approx(c / n, abs=1e-12) and curve[-1] == (c > 0)
    assert e.pass_hat_k(n, c, k) <= c / n + 1e-12 <= e.pass_at_k(n, c, k) + 2e-12


@given(counts_and_k, st.floats(0, 1))
def test_g_pass_against_scipys_tail(case, tau):
    n, c, k = case
    needed = max(1, int(np.ceil(tau * k - 1e-9)))
    assert e.g_pass_at_k(n, c, k, tau) == pytest.approx(stats.hypergeom.sf(needed - 1, n, c, k), abs=1e-9)


@given(counts_and_k.filter(lambda case: case[2] > 1))
def test_mg_pass_is_the_published_sum(case):
    n, c, k = case
    terms = [e.g_pass_at_k(n, c, k, i / k) for i in range(-(-k // 2) + 1, k + 1)]
    assert e.mg_pass_at_k(n, c, k) == pytest.approx(2 / k * sum(terms), abs=1e-9)


def test_estimates_are_unbiased():
    n, k, p = 12, 5, 0.15
    chances = stats.binom.pmf(np.arange(n + 1), n, p)
    c = np.arange(n + 1)
    assert chances @ e.pass_at_k(n, c, k) == pytest.approx(1 - (1 - p)**k, abs=1e-12)
    assert chances @ e.pass_hat_k(n, c, k) == pytest.approx(p**k, abs=1e-12)
    assert chances @ e.g_pass_at_k(n, c, k, 0.6) == pytest.approx(stats.binom.sf(2, k, p), abs=1e-12)


def test_shapes_scalars_and_tables():
    assert isinstance(e.pass_at_k(4, 1, 2), float) and isinstance(e.g_pass_at_k(4, 1, 2, 0.5), float)
    assert e.pass_at_k([[4], [8]], 1, [1, 2, 3]).shape == (2, 3)
    assert e.mg_pass_at_k(8, [0, 4, 8], 4).shape == (3,)
    table = e.pass_at_k_table(6, [1, 3, 6])
    assert table.shape == (7, 3) and np.allclose(table[2], e.pass_at_k(6, 2, [1, 3, 6]))
    assert e.pass_at_k_curve([0, 6, 2], 6).shape == (3, 6)
    assert np.array_equal(e.pass_at_k_curve(np.array([2.0]), 6, 3), [[e.pass_at_k(6, 2, 3)]])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 30))
def test_cover_integrates_to_pass_at_k(p, k):
    steps = np.sort(np.array([0.0, *p]))  # Cover is constant between the rates, so the integral is a finite sum
    middles, weights = (steps[1:] + steps[:-1]) / 2, np.diff(1 - (1 - steps)**k)
    assert e.cover_at_tau(p, middles) @ weights == pytest.approx((1 - (1 - np.array(p))**k).mean(), abs=1e-9)


def test_cover_counts_a_rate_at_the_threshold():
    assert e.cover_at_tau(np.arange(11) / 10, np.linspace(0, 1, 11))[3] == pytest.approx(8 / 11)
    assert isinstance(e.cover_at_tau([0.5], 0.5), float)


# maj@k

def majority_by_listing(answers, right, k):
    "maj@k of one question by visiting every subset, ties shared."
    scores = []
    for chosen in itertools.combinations(range(len(answers)), k):
        votes = {}
        for i in chosen:
            if answers[i] >= 0: votes.setdefault(answers[i], []).append(right[i])
        most = max((len(v) for v in votes.values()), default=0)
        winners = [np.mean(v) for v in votes.values() if len(v) == most]
        scores.append(np.mean(winners) if winners else 0.0)
    return np.mean(scores)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=7), st.integers(0, 3))
def test_maj_at_n_by_listing(answers, gold):
    right = [a == gold for a in answers]
    assert e.maj_at_k([answers], [right])[0] == pytest.approx(majority_by_listing(answers, right, len(answers)))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_maj_at_k_by_listing(k):
    answers = np.array([[0, 0, 1, 1, 2, -1], [0, 1, 1, 1, -1, -1], [3, 3, 3, 3, 3, 3]])
    expected = [majority_by_listing(list(row), list(row == 0), k) for row in answers]
    assert e.maj_at_k(answers, answers == 0, k, draws=20_000) == pytest.approx(expected, abs=0.015)


@given(st.permutations([0, 0, 1, 1, 2, -1, -1]), st.permutations([0, 1, 2]))
def test_maj_ignores_order_and_names(order, names):
    answers = np.array([order])
    renamed = np.where(answers < 0, -1, np.array([*names])[answers])
    assert e.maj_at_k(renamed, answers == 0)[0] == 0.5


def test_maj_lets_two_spellings_of_the_right_answer_run_apart():
    assert e.maj_at_k([[0, 1, 2, 2]], [[True, True, False, False]])[0] == 0
    assert e.maj_at_k([[0, 0, 1, 1]], [[True, True, True, True]])[0] == 1


# entropy, guessing

@given(st.lists(st.integers(-1, 4), min_size=1, max_size=30))
def test_entropy_by_hand(answers):
    shares = [answers.count(a) / len(answers) for a in set(answers)]
    plain = -sum(p * log(p) for p in shares)
    assert e.answer_entropy([answers])[0] == pytest.approx(plain, abs=1e-12)
    corrected = e.answer_entropy([answers], correction="miller-madow")[0]
    assert corrected == pytest.approx(plain + (len(shares) - 1) / (2 * len(answers)), abs=1e-12)


def test_miller_madow_removes_most_of_the_bias():
    rng, true = np.random.default_rng(0), np.array([0.4, 0.3, 0.2, 0.1])
    drawn = rng.choice(4, p=true, size=(4000, 40))
    assert abs(e.answer_entropy(drawn).mean() - stats.entropy(true)) > 0.03
    assert abs(e.answer_entropy(drawn, "miller-madow").mean() - stats.entropy(true)) < 0.005


@given(st.integers(2, 6).flatmap(lambda n: st.tuples(
    st.lists(st.lists(st.integers(-1, 4), min_size=3, max_size=3), min_size=n, max_size=n),
    st.lists(st.integers(0, 4), min_size=n, max_size=n))))
def test_guesses_by_loops(case):
    answers, gold = case
    questions = range(len(gold))
    others = [[a for j in questions if j != i for a in answers[j]] for i in questions]
    assert e.marginal_guess(answers, gold) == pytest.approx([o.count(g) / len(o) for o, g in zip(others, gold)])
    exact = [np.mean([answers[i].count(gold[j]) / 3 for j in questions if j != i]) for i in questions]
    assert e.shuffled_gold(answers, gold, draws=600) == pytest.approx(exact, abs=0.12)


def test_guess_curve():
    g = np.array([0.0, 0.001, 0.25, 1.0])
    assert e.guess_pass_at_k(g, 256) == pytest.approx(1 - (1 - g)**256, abs=1e-12)
    assert e.guess_pass_at_k(0.001, 256) == pytest.approx(0.226, abs=5e-4)
    assert e.guess_pass_at_k(1e-18, 2) == pytest.approx(2e-18, rel=1e-9)  # 1 - (1 - g)^k would be 0
    assert e.uniform_guess([2, 4]) == pytest.approx([0.5, 0.25]) and e.uniform_guess(4) == 0.25


# proportions

@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_proportions_by_formula(case, confidence):
    x, n = case
    z, p = stats.norm.ppf((1 + confidence) / 2), x / n
    centre, half = (p + z**2 / 2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    wilson = np.clip([(centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)], 0, 1)
    assert e.wilson(x, n, confidence) == pytest.approx(wilson, abs=1e-9)
    exact = stats.binomtest(x, n).proportion_ci(confidence, method="exact")
    assert e.clopper_pearson(x, n, confidence) == pytest.approx(exact, abs=1e-7)
    low, high = e.beta_posterior(x, n, confidence=confidence)
    tails = [0 if x == 0 else (1 - confidence) / 2, 1 if x == n else (1 + confidence) / 2]
    assert stats.beta.cdf([low, high], 0.5 + x, 0.5 + n - x) == pytest.approx(tails)
    for low, high in (f(x, n, confidence=confidence) for f in (e.wilson, e.clopper_pearson, e.beta_posterior)):
        assert 0 <= low <= x / n <= high <= 1


# shares

@given(st.integers(1, 60).flatmap(lambda n: st.lists(st.integers(0, n).map(lambda c: c / n), min_size=1, max_size=40)))
def test_a_shares_interval_is_between_0_and_1_and_holds_it(values):
    found = e.share_interval(values)
    assert 0 <= found.low <= found.value <= found.high <= 1 and found.high - found.low > 0.001
    assert found.value == pytest.approx(np.mean(values)) and found.n == len(values)
    other = e.share_interval(1 - np.array(values))  # what is not right has the mirrored interval
    assert (1 - other.high, 1 - other.low) == pytest.approx((found.low, found.high))


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_hits_take_wilsons_interval(case):
    solved, n = case
    found = e.share_interval([1] * solved + [0] * (n - solved))
    assert (found.low, found.high) == pytest.approx(e.wilson(solved, n))


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 0, 1], [4, 4, 4], [2, 2, 2], [0, 1, 2, 4], [1] * 100, [3, 4] * 20])
def test_accuracy_and_pass_at_1_are_one_quantity(counts):
    rates, band = np.array(counts) / 4, e.simultaneous_band(e.pass_at_k_curve(counts, 4, [1]), [1], clip=(0, 1))
    at_1 = e.share_interval(e.pass_at_k_curve(counts, 4, [1])[:, 0])
    assert (at_1.value, at_1.low, at_1.high) == pytest.approx((e.share_interval(rates).value, *limits(rates)))
    assert band.low[0] <= at_1.low + 1e-9 and at_1.high <= band.high[0] + 1e-9


def limits(values): return (found := e.share_interval(values)).low, found.high


def test_nothing_right_of_three_questions_is_no_certainty():
    low, high = limits([0, 0, 0])
    assert low == 0 and high == pytest.approx(0.5615, abs=1e-4)
    assert limits([1, 1, 1]) == pytest.approx((1 - 0.5615, 1), abs=1e-4)
    alike, many = limits([0.5] * 4), limits([0.5] * 4000)
    assert alike[1] - alike[0] > 0.6 and 0 < many[1] - many[0] < 0.002
    widths = [np.diff(limits([0] * (n - 1) + [0.25]))[0] for n in (2, 3, 6, 12, 50, 400)]
    assert (np.diff(widths) < 0).all()


def test_a_share_of_many_questions_has_the_usual_interval():
    values = np.random.default_rng(0).beta(0.4, 0.6, 2000)
    low, high = stats.ttest_1samp(values, 0).confidence_interval()
    assert limits(values) == pytest.approx((low, high), abs=4e-4)


@pytest.mark.parametrize("a, b", [(0.1, 2), (2, 0.1), (0.3, 0.5), (5, 5)])
@pytest.mark.parametrize("questions", [3, 6, 30])
def test_intervals_of_shares_cover_where_questions_are_few_or_hard(a, b, questions):
    rng, truth, trials = np.random.default_rng(1), a / (a + b), 400
    drawn = rng.binomial(4, rng.beta(a, b, (trials, questions))) / 4
    inside = sum(low <= truth <= high for low, high in map(limits, drawn))
    assert_share(inside, trials, 0.93, 1)


@given(st.lists(st.integers(0, 8), min_size=2, max_size=30), st.integers(0, 3))
def test_a_band_of_shares_stays_between_0_and_1_and_holds_each_interval(counts, seed):
    ks = np.array([1, 2, 4, 8])
    curves = e.pass_at_k_curve(counts, 8, ks)
    band = e.simultaneous_band(curves, ks, 200, seed=seed, clip=(0, 1))
    assert ((0 <= band.low) & (band.low <= band.value) & (band.value <= band.high) & (band.high <= 1)).all()
    for place in range(len(ks)):
        low, high = limits(curves[:, place])
        assert band.low[place] <= low + 1e-9 and high <= band.high[place] + 1e-9


def test_a_mean_of_anything_else_lies_inside_its_interval_or_has_none():
    for values in ([1e-17, 0.1, 0.1, 0.1, 0.1, 0.1], np.geomspace(1, 1e9, 7), [3] * 6 + [3.1]):
        found = e.mean_interval(values, 200)
        assert found.low <= found.value <= found.high
    for values in ([5.0, 7.0], [1, 2, 3, 4, 9], [0.1] * 50, [2]):
        found = e.mean_interval(values)
        assert np.isnan([found.low, found.high]).all() and str(found).endswith("(too few to say)")


def test_the_papers_proportions():
    assert e.clopper_pearson(486, 500) == pytest.approx((0.953, 0.985), abs=1e-3)
    assert e.clopper_pearson(17, 30) == pytest.approx((0.374, 0.745), abs=1e-3)
    assert e.zero_success_bound(256) == pytest.approx(0.0116, abs=5e-5)
    assert e.zero_success_bound(256, questions=[1, 14])[1] == pytest.approx(1 - (0.05 / 14)**(1 / 256))
    assert (1 - e.zero_success_bound(256))**256 == pytest.approx(0.05)


# bootstrap

def test_bootstrap_of_two_questions_is_a_coin():
    means = e.bootstrap_means([0.0, 1.0], 40_000)
    values, seen = np.unique(means, return_counts=True)
    assert list(values) == [0, 0.5, 1] and seen / 40_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.01)


def test_bootstrap_matches_the_naive_loop():
    rng = np.random.default_rng(0)
    values = rng.beta(0.5, 0.5, size=(80, 3))
    naive = np.array([values[rng.integers(80, size=80)].mean(0) for _ in range(4000)])
    quick = e.bootstrap_means(values, 4000)
    assert quick.shape == (4000, 3) and np.allclose(quick.mean(0), naive.mean(0), atol=0.005)
    assert np.allclose(np.cov(quick.T), np.cov(naive.T), atol=2e-4)  # variances are near 0.0015
    assert e.bootstrap_means(values[:, 0], 4000) == pytest.approx(quick[:, 0])  # same seed, same questions


def test_seeds_are_explicit_and_the_global_generator_untouched():
    before = np.random.get_state()[1].copy()
    values, answers = np.linspace(0, 1, 30), np.tile([0, 1, 1, 2], (5, 1))
    for call in (
        lambda s: e.mean_interval(values, 500, seed=s),
        lambda s: e.maj_at_k(answers, answers == 1, 2, 50, s)[0],
        lambda s: e.shuffled_gold(answers, [0, 1, 2, 1, 0], s, 7)[0],
    ):
        assert call(3) == call(3) and call(3) != call(4)
    assert np.array_equal(np.random.get_state()[1], before)


@given(st.integers(1, 10**5), st.integers(1, 10**7))
def test_blocks_add_up(replicates, width):
    blocks = e.replicate_blocks(replicates, width) if replicates * width < 10**9 else [replicates]
    assert sum(blocks) == replicates and min(blocks) > 0


def test_blocks_do_not_change_the_replicates(monkeypatch):
    values = np.linspace(0, 1, 50)
    whole = e.bootstrap_means(values, 1000, seed=5)
    monkeypatch.setattr(e, "replicate_blocks", lambda replicates, width: [300, 300, 400])
    assert np.allclose(e.bootstrap_means(values, 1000, seed=5), whole)


def test_estimate_prints_and_tabulates():
    found = e.Estimate(0.3124, 0.29, 0.335, 500, "accuracy")
    assert str(found) == "0.312 [0.290, 0.335]"
    assert found.row() == dict(value=0.3124, low=0.29, high=0.335, n=500, label="accuracy")
    with pytest.raises(AttributeError): found.value = 1


def test_band_width_is_one_factor_of_the_standard_error():
    rng = np.random.default_rng(0)
    curves = e.pass_at_k_curve(rng.binomial(64, rng.beta(0.4, 0.6, 200)), 64)
    band = e.simultaneous_band(curves, np.arange(1, 65))
    factor = (band.high - band.value) / (curves.std(0, ddof=1) / np.sqrt(200))
    assert factor.std() < 0.05 and 1.96 < factor.mean() < stats.norm.ppf(1 - 0.025 / 64)  # below Bonferroni's
    single = e.simultaneous_band(curves[:, :1], [1])
    assert (single.high[0] - single.value[0]) * np.sqrt(200) / curves[:, 0].std() == pytest.approx(1.96, abs=0.06)


def test_mean_interval_is_students_for_few_questions():
    values = np.random.default_rng(1).normal(size=12)
    found, exact = e.mean_interval(values, 40_000), stats.ttest_1samp(values, 0).confidence_interval()
    assert found.high - found.low == pytest.approx(exact.high - exact.low, rel=0.1)


def test_a_band_of_differences_has_none_without_spread_and_may_pass_1():
    curves = np.column_stack([np.full(6, 0.3), [1, 1, 1, 1, 1, 0]])
    free, shares = e.simultaneous_band(curves, [1, 2]), e.simultaneous_band(curves, [1, 2], clip=(0, 1))
    assert np.isnan([free.low[0], free.high[0]]).all() and free.high[1] > 1 > free.low[1] and free.n == 6
    assert shares.low[0] < 0.3 < shares.high[0] and 5 / 6 < shares.high[1] < 1
    assert np.isnan(e.simultaneous_band(curves[:5], [1, 2]).high).all()


# bad input: one line that names it

BAD = [
    (lambda: e.pass_at_k(0, 0, 1), "n must be at least 1, got 0"),
    (lambda: e.pass_at_k(4, 1, 5), "k must be at most n, got k=5 with n=4"),
    (lambda: e.pass_at_k(4, 1, 0), "k must be at least 1, got 0"),
    (lambda: e.pass_at_k(4, 5, 1), "c must be at most n, got c=5 of n=4"),
    (lambda: e.pass_at_k(4, -1, 1), "c must be at least 0, got -1"),
    (lambda: e.pass_at_k(4, 1.5, 1), "c must be whole numbers, got 1.5"),
    (lambda: e.pass_at_k(4, np.nan, 1), "c must be whole numbers, got nan"),
    (lambda: e.pass_at_k(4, "1", 1), "c must be whole numbers, got <U1 values"),
    (lambda: e.pass_at_k(4, [], 1), "c is empty"),
    (lambda: e.g_pass_at_k(4, 1, 2, -0.1), "tau must be between 0 and 1, got -0.1"),
    (lambda: e.mg_pass_at_k(4, 1, 1), "k of mG-Pass@k must be at least 2, got 1"),
    (lambda: e.pass_at_k_curve([], 4), "counts is empty"),
    (lambda: e.pass_at_k_curve([[1]], 4), "counts must have one entry a question"),
    (lambda: e.pass_at_k_curve([1], 4, [0]), "k must be at least 1"),
    (lambda: e.cover_at_tau([-0.1], 0.5), "p must be between 0 and 1"),
    (lambda: e.maj_at_k([[1, 2]], [[True]]), "answers and right must share a shape"),
    (lambda: e.maj_at_k([[1]], [[True]], k=2), "k must be at most n, got k=2 with n=1"),
    (lambda: e.maj_at_k([[-2]], [[False]]), "answers must be at least -1"),
    (lambda: e.answer_entropy([[1]], "jack"), 'correction must be "none" or "miller-madow"'),
    (lambda: e.answer_entropy([1, 2]), "answers must have shape [N, n]"),
    (lambda: e.wilson(3, 2), "successes must be at most n, got 3 of n=2"),
    (lambda: e.wilson(1, 2, 1.0), "confidence must be between 0 and 1"),
    (lambda: e.beta_posterior(1, 2, a=0), "a and b must be positive"),
    (lambda: e.zero_success_bound(10, alpha=0), "alpha must be between 0 and 1"),
    (lambda: e.guess_pass_at_k(-0.1, 2), "g must be between 0 and 1"),
    (lambda: e.uniform_guess(0), "choices must be at least 1"),
    (lambda: e.marginal_guess([[1]], [1]), "a guess baseline needs at least 2 questions"),
    (lambda: e.shuffled_gold([[1], [2]], [1]), "must agree in N"),
    (lambda: e.shuffled_gold([[1], [2]], [1, -1]), "gold must be at least 0"),
    (lambda: e.mean_interval([0.1, np.inf]), "values must be finite, got inf"),
    (lambda: e.share_interval([0.1, np.nan]), "values must be finite, got nan"),
    (lambda: e.share_interval([0.5, 1.1]), "values must be between 0 and 1, got 0.5 to 1.1"),
    (lambda: e.share_interval([-0.1, 1]), "values must be between 0 and 1, got -0.1 to 1"),
    (lambda: e.simultaneous_band([[0.5], [2]], [1], clip=(0, 1)), "curves must be between 0 and 1, got 0.5 to 2"),
    (lambda: e.bootstrap_means([1.0], 0), "replicates must be at least 1"),
    (lambda: e.simultaneous_band(np.ones(3), [1]), "curves must have"),
]


@pytest.mark.parametrize("call, message", BAD, ids=[message for _, message in BAD])
def test_bad_input_is_named_in_one_line(call, message):
    with pytest.raises(ValueError) as caught: call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


# do the intervals cover? Success rates Beta(0.3, 0.5): U-shaped, as the papers' are

def test_intervals_cover_in_simulation():
    rng, trials = np.random.default_rng(7), 300
    inside = dict.fromkeys(["mean", "pass", "wilson", "posterior", "band"], 0)
    ks = np.array([1, 4, 16])
    truth = np.array([1 - stats.betabinom.pmf(0, k, 0.3, 0.5) for k in ks])
    for seed in range(trials):
        p = rng.beta(0.3, 0.5, 150)
        curves = e.pass_at_k_curve(rng.binomial(16, p), 16, ks)
        for name, column in (("mean", 0), ("pass", 2)):
            found = e.mean_interval(curves[:, column], 1000, seed=seed)
            inside[name] += found.low <= truth[column] <= found.high
        band = e.simultaneous_band(curves, ks, 1000, seed=seed)
        inside["band"] += bool(((band.low <= truth) & (truth <= band.high)).all())
        solved = rng.binomial(200, 0.9)
        inside["wilson"] += e.wilson(solved, 200)[0] <= 0.9 <= e.wilson(solved, 200)[1]
        rate = rng.beta(0.5, 0.5)
        low, high = e.beta_posterior(rng.binomial(64, rate), 64)
        inside["posterior"] += low <= rate <= high
    for hits in inside.values(): assert_share(hits, trials)
