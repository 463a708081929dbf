"""Seeds and questions told apart: intervals over both hold those over questions, one seed leaves the others empty,
scipy agrees."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from made_models import model

from rlvd_nb.core.errors import UserError
from rlvd_nb.stats.comparison import PAPER_BINS, bin_edges, bin_labels
from rlvd_nb.stats.replicates import intervals
from rlvd_nb.responses.arrays import subset
from rlvd_nb.responses.replicated import (
    arrows, lowest_success, seed_changes, seed_curve, seed_differences, seed_points, seed_summary)
from rlvd_nb.paper.sentences import say_arm

RATES = np.random.default_rng(0).beta(.5, .5, 40)


def cohort(rates, seeds=3, first=0): return [model(rates, first + seed, 16) for seed in range(seeds)]


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 6), st.integers(30, 80), st.floats(0, 2), st.floats(0, 2), st.integers(0, 10**6))
def test_intervals_over_both_are_as_wide_as_those_over_questions(seeds, questions, between_seeds, noise, seed):
    rng = np.random.default_rng(seed)
    values = (
        rng.normal(size=questions)
        + between_seeds * rng.normal(size=(seeds, 1))
        + noise * rng.normal(size=(seeds, questions))
    )
    found = intervals(values)
    assert (
        found["low"] <= found["value"] <= found["high"]
        and found["question_low"] <= found["value"] <= found["question_high"]
    )
    assert found["high"] - found["low"] >= 0.95 * (
        found["question_high"] - found["question_low"]
    )  # percentiles and t differ by a little
    assert found["value"] == pytest.approx(values.mean()) and (found["seeds"], found["questions"]) == (seeds, questions)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=6).filter(lambda each: np.std(each) > 1e-3))
@settings(max_examples=15, deadline=None)
def test_intervals_over_seeds_are_scipys(means):
    found = intervals(np.array(means)[:, None] + np.linspace(-1, 1, 10))
    low, high = stats.t.interval(.95, len(means) - 1, np.mean(means), stats.sem(means))
    assert (found["seed_low"], found["seed_high"]) == pytest.approx((low, high), abs=1e-9)


def test_one_seed_leaves_the_seeds_empty():
    found = intervals(RATES[None])
    assert np.isnan([found["seed_low"], found["seed_high"]]).all() and found["seeds"] == 1
    assert (found["low"], found["high"]) == (found["question_low"], found["question_high"])
    table = seed_differences(cohort(RATES, 1), {"RL": cohort(RATES**.5, 1, 50)})
    assert table["p_seeds"].isna().all() and table["p"].notna().all()
    assert "seeds alone" not in say_arm(table.iloc[0])


def test_p_over_seeds_is_that_of_scipy():
    base, after = cohort(RATES), cohort(RATES**.5, 3, 50)
    row = seed_differences(base, {"RL": after}).query("measure == 'accuracy'").iloc[0]
    each = [a.right.mean() - b.right.mean() for a, b in zip(after, base)]
    assert row["p_seeds"] == pytest.approx(stats.ttest_1samp(each, 0).pvalue) and row["difference"] == pytest.approx(
        np.mean(each)
    )
    assert row["p"] < .05 and "over 3 seeds alone" in say_arm(row)


def test_nothing_changed_is_no_difference():
    table = seed_differences(cohort(RATES), {"same": cohort(RATES)})
    assert (table["difference"] == 0).all() and (table["p"] == 1).all() and (table["p_holm"] >= table["p"]).all()


def test_holm_is_over_the_whole_table():
    one = seed_differences(cohort(RATES), {"RL": cohort(RATES**.5, 3, 50)})
    two = seed_differences(cohort(RATES), {"RL": cohort(RATES**.5, 3, 50), "same": cohort(RATES)})
    assert two["p_holm"].iloc[0] == pytest.approx(min(1, 2 * one["p_holm"].iloc[0]))


def test_arms_of_another_number_of_seeds_are_refused():
    with pytest.raises(UserError, match="'RL' has 2 training seeds, its base model 3"):
        seed_differences(cohort(RATES), {"RL": cohort(RATES, 2)})


def test_the_summary_is_the_mean_of_the_seeds():
    table = seed_summary({"base": cohort(RATES)}).set_index("measure")
    assert table.loc["accuracy", "value"] == pytest.approx(np.mean([each.right.mean() for each in cohort(RATES)]))
    curve = seed_curve(cohort(RATES))
    assert curve.value[0] == pytest.approx(table.loc["accuracy", "value"]) and curve.value[-1] == pytest.approx(
        table.loc["pass@16", "value"]
    )
    assert (np.diff(curve.value) >= -1e-12).all()


def test_bins_hold_each_question_of_each_seed_once():
    base, after = cohort(RATES), cohort(RATES**.5, 3, 50)
    edges = bin_edges(PAPER_BINS, 16)
    table = seed_changes(base, {"RL": after, "same": base}, edges, bin_labels(edges))
    assert (table.loc[table["arm"] == "same", "value"] == 0).all()
    one = seed_changes(base[:1], {"RL": after[:1]}, edges, bin_labels(edges))
    whole = (one["value"] * one["questions"]).sum() / one["questions"].sum()  # weighed again, the bins are the whole
    if one["questions"].sum() == len(RATES):
        assert whole == pytest.approx(100 * (after[0].right.mean() - base[0].right.mean()))


def test_arrows_end_in_the_mean_of_their_points():
    base, arms = cohort(RATES), {"RL": cohort(RATES**.5, 3, 50)}
    arrow, = arrows(seed_differences(base, arms), "accuracy", "pass@16").to_dict("records")
    each = seed_points(base, arms, "accuracy", "pass@16")
    assert (arrow["x"], arrow["y"]) == pytest.approx((each["x"].mean(), each["y"].mean())) and len(each) == 3
    assert arrow["x_low"] < arrow["x"] < arrow["x_high"]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_the_hardest_have_the_lowest_success_over_all_seeds(rates, count):
    base = cohort(np.array(rates), 2)
    total = sum(each.counts for each in base)
    chosen = lowest_success(base, count)
    assert len(chosen) == min(count, len(rates)) and (np.diff(chosen) > 0).all()
    rest = np.delete(total, chosen)
    assert not len(rest) or total[chosen].max() <= rest.min()
    assert [q.id for q in subset(base[0], chosen).questions] == [str(i) for i in chosen]
