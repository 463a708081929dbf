"""Rank correlations by their definition."""
import numpy as np
from hypothesis import given, strategies as st

from rlvd_nb.stats.ranking import orders, partial_tau, tau_of


@given(st.lists(st.integers(0, 5), min_size=4, max_size=12), st.integers(0, 999))
def test_partial_tau_by_definition(values, seed):
    rng = np.random.default_rng(seed)
    y, z = rng.normal(size=len(values)), rng.normal(size=len(values))
    a, b, c = (tau_of(orders(one), orders(two)) for one, two in ((values, y), (values, z), (y, z)))
    found = partial_tau(orders(values), orders(y), orders(z))
    if np.isnan(a) or (1 - b**2) * (1 - c**2) <= 1e-12: assert np.isnan(found)
    else: assert np.isclose(found, (a - b * c) / np.sqrt((1 - b**2) * (1 - c**2)))
