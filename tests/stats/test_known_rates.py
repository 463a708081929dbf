"pass@k from known probabilities, against exact fractions, the unbiased estimator's mean, and itself."
from fractions import Fraction

import numpy as np, pytest
from hypothesis import given, strategies as some
from scipy import stats

from rlvd_nb.stats.estimators import pass_at_k
from rlvd_nb.stats.exact import (
    RATE_BINS, exact_curve, exact_pass_at_k, exact_transitions, log_failure, log_moves, outcome_entropy, rate_bin_of,
)


@given(some.integers(1, 10**6), some.integers(1, 10**6), some.integers(1, 300))
def test_equals_fractions(above, below, k):
    p = Fraction(min(above, below), max(above, below))
    assert exact_pass_at_k(np.log(float(p)), k) == pytest.approx(float(1 - (1 - p) ** k), rel=1e-9)


@pytest.mark.parametrize("power", [-300, -200, -100, -20, -9])
def test_tiny_probabilities_and_a_million_tries(power):
    p, k = Fraction(10) ** power, 10**6
    series = float(k * p - k * (k - 1) * p**2 / 2 + k * (k - 1) * (k - 2) * p**3 / 6)  # the binomial series
    assert exact_pass_at_k(power * np.log(10), k) == pytest.approx(series, rel=1e-10)


def test_is_the_mean_of_the_unbiased_estimator():
    n, p, counts = 64, .07, np.arange(65)
    for k in (1, 5, 64):
        mean = stats.binom.pmf(counts, n, p) @ pass_at_k(n, counts, k)
        assert mean == pytest.approx(exact_pass_at_k(np.log(p), k), rel=1e-9)


@given(some.lists(some.floats(-700, 0), min_size=1, max_size=20))
def test_curves_rise_and_bins_hold_every_question(log_p):
    curve = exact_curve(log_p, [1, 2, 256, 65_536, 10**6])
    assert (np.diff(curve) >= 0).all() and (curve >= 0).all() and (curve <= 1).all()
    assert np.allclose(curve[:, 0], np.exp(log_p), rtol=1e-9)
    assert (exact_curve(log_p, [256], left_out=np.full(len(log_p), -3.)) >= curve[:, [2]]).all()
    table = exact_transitions(log_p, log_p)
    assert (np.diag(table) == np.bincount(rate_bin_of(log_p), minlength=len(RATE_BINS) + 1)).all()
    assert table.to_numpy().sum() == len(log_p) and (log_moves(log_p, log_p) == 0).all()


def test_entropy_is_scipys_and_the_same_from_both_sides():
    p = np.linspace(.001, .999, 50)
    assert np.allclose(outcome_entropy(np.log(p)), [stats.bernoulli(each).entropy() for each in p])
    assert np.allclose(outcome_entropy(np.log(p)), outcome_entropy(log_failure(np.log(p))))
