"""Claims judged on published counts: by hand where that can be done, and beside the ledger."""
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rlvd_nb.paper.claims import CLAIMS
from rlvd_nb.paper.judge import ABSENT, ClaimEffect, judge
from rlvd_nb.paper.real_claims import (
    REAL_MODELS, RealModels, bins_of_pair, expected_rates, falls_of_pair, judged_on, real_ledger, real_models, say_real,
    with_real_models,
)
from rlvd_nb.responses.published_counts import CountPair, simplerl_pair


@pytest.fixture(scope="module")
def ledger(): return real_ledger()


def test_accuracy_and_capability_are_those_of_the_counts(ledger):
    rows = ledger[ledger["who"] == "Qwen2.5-7B"].set_index("id")
    assert rows.loc["A4.1", "value"] == pytest.approx(100 * (49877 - 39291) / 64000)
    assert rows.loc["A4.3", "value"] == pytest.approx(-3.2) and rows.loc["A4.3", "verdict"] == "supported"


def test_the_hardest_that_fall(ledger):
    row = ledger[(ledger["id"] == "A4.7") & (ledger["who"] == "Qwen2.5-7B")].iloc[0]
    assert row["value"] == pytest.approx(100 * (9 - 3.5748) / 15, abs=.01) and row["verdict"] == "supported"


def test_what_the_training_questions_contradict(ledger):
    row = ledger[(ledger["id"] == "A4.6") & (ledger["who"] == "1.5B, training")].iloc[0]
    assert row["verdict"] == "contradicted" and row["low"] > 0


def test_verdicts_follow_the_rule(ledger):
    by_id = {claim.id: claim for claim in CLAIMS}
    for row in ledger.itertuples(): assert row.verdict == judge(by_id[row.id], row.low, row.high, row.p_holm)
    assert (ledger["p_holm"].dropna() >= ledger["p"].dropna()).all()
    few = ledger[ledger["value"].isna()]
    assert set(few["verdict"]) == {"too few to say"} and set(few["who"]) == {"1.5B, PPO"}


def test_a_second_draw_is_not_judged_to_fall():
    "Models that did not change: the exact p is about uniform, so few are below .05."
    pair, rng = simplerl_pair(), np.random.default_rng(0)
    rates = rng.beta(pair.fit.a + pair.base, pair.fit.b + 128 - pair.base, size=(60, 500))
    found = [falls_of_pair(CountPair("", "", pair.base, rng.binomial(128, each), 128)).p for each in rates]
    assert stats.binom.sf(np.sum(np.array(found) < .05) - 1, 60, .05) > .001


def test_expected_rates_of_a_second_draw():
    pair = simplerl_pair()
    expected, seen = expected_rates(pair), 100 * pair.base / 128
    assert expected.mean() == pytest.approx(seen.mean(), abs=.1)
    assert (expected[seen > 95] < seen[seen > 95]).mean() > .9 and bins_of_pair(pair).max() == 5


def test_beside_the_ledger(ledger):
    table = with_real_models(pd.DataFrame(dict(id=["A4.1", "A4.8", "A6.1"])))["real models"]
    assert "Qwen2.5-7B: +16.5 [+14.6, +18.5], supported; 1.5B, training: " in table[0]
    assert table[1].startswith("1.5B, PPO: −0.23") and table[2] == ""
    assert len(say_real(ledger)) == ledger["value"].notna().sum()
    assert {row["who"] for _, row in ledger.iterrows()} == {models.short for models in real_models()}
    assert len(judged_on(REAL_MODELS[0])) == 5


def test_several_trainings_are_judged_over_trainings():
    "The mean of their effects, Student's interval and p over them; one that lacks a claim leaves it open."
    values = [-3., -5., -10.]
    trainings = [{"A4.3": ClaimEffect(value, value - 20, value + 20, .9, 10.), "A4.7": ABSENT} for value in values]
    found = judged_on(RealModels("three", "three", lambda: trainings)).set_index("id")
    row, half = found.loc["A4.3"], stats.t.ppf(.975, 2) * stats.sem(values)
    assert [row["value"], row["low"], row["high"]] == pytest.approx([-6, -6 - half, -6 + half])
    assert row["p"] == pytest.approx(stats.ttest_1samp(values, 2).pvalue)  # the claim says: by less than 2 points
    assert found.loc["A4.7", "verdict"] == "too few to say"
    alone = judged_on(RealModels("one", "one", lambda: trainings[:1])).set_index("id").loc["A4.3"]
    assert [alone["low"], alone["high"], alone["p"]] == pytest.approx([-23, 17, .9])
