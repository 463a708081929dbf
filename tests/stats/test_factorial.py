"""The analysis of crossed designs against a mixed model, and slopes against least squares."""
import numpy as np
import pandas as pd
from hypothesis import given, strategies as st

from rlvd_nb.stats.factorial import crossed_effect, slope_weights


def test_the_closed_form_is_the_mixed_models():
    """Crossed random seeds and questions by REML (statsmodels) give the same mean and standard error, where all
    variances are above zero."""
    import statsmodels.formula.api as smf
    rng = np.random.default_rng(3)
    values = 1 + rng.normal(0, 1, (6, 1)) + rng.normal(0, 1, 12) + rng.normal(0, 1, (6, 12))
    rows = pd.DataFrame([dict(y=values[s, q], seed=s, question=q, all=1) for s, q in np.ndindex(6, 12)])
    fitted = smf.mixedlm(
        "y ~ 1", rows, groups="all", vc_formula=dict(seed="0 + C(seed)", question="0 + C(question)")
    ).fit(reml=True)
    effect = crossed_effect(values)
    assert np.isclose(effect.value, fitted.params["Intercept"], atol=1e-6) and np.isclose(
        effect.se, fitted.bse["Intercept"], rtol=1e-2
    )


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True).filter(
        lambda levels: max(levels) - min(levels) > 0.01
    ),
    st.floats(-5, 5),
    st.floats(-5, 5),
)
def test_a_slope_is_the_least_squares_slope(levels, slope, start):
    assert np.isclose(slope_weights(levels) @ (start + slope * np.array(levels)), slope, atol=1e-6)
