"""The published values as data, their re-analyses, and the ledger: claims are whole, verdicts follow the rule, what
is missing is named."""
import dataclasses, json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made_models import MadeEvidence, pair
from scipy.stats import norm

from rlvd_nb.core.errors import UserError
from rlvd_nb.stats.comparison import PAPER_BINS, bin_labels, paired_difference
from rlvd_nb.experiments.sections import MAIN
from rlvd_nb.paper.claims import CLAIMS, section_ledger
from rlvd_nb.paper.judge import TESTS, Claim, effects_of, judge, ledger
from rlvd_nb.paper.figures import forest
from rlvd_nb.paper import judge as judging, published


@pytest.fixture(scope="module")
def rates(): return np.random.default_rng(0).beta(.5, .5, 150)


@pytest.fixture(scope="module")
def unchanged(rates): return pair(rates, rates, 30)


@pytest.fixture(scope="module")
def better(rates): return pair(rates, np.where(rates > .05, rates**.5, rates), 20)


# published values

def test_every_published_value_is_read_back():
    table = published.load_published()
    assert len(table) > 150 and table["value"].notna().all()
    for key in table.drop_duplicates(published.KEY, keep=False)[published.KEY].itertuples(index=False):
        assert np.isfinite(published.value_of(*key))


def test_the_table_handed_out_is_a_copy():
    table = published.load_published()
    table["value"] = 0
    assert published.value_of("A", "Table 3", "1.5B test base", "accuracy") == 60.6


def test_contradictions_are_marked():
    notes = published.load_published().set_index(["place", "row", "column"])["note"]
    assert (
        "62.6" in notes[("Table 3", "1.5B test base", "accuracy")]
        and "74.8" in notes[("Table 3", "1.5B test RL", "accuracy")]
    )
    assert "13.6" in notes[("Section 4", "1.5B test", "accuracy gain")]


def test_figure_2_adds_up():
    assert (published.published_moves().sum(1) == published.published_bins()).all()
    assert published.published_bins().sum() == 500
    moved = published.published_mcnemar()
    assert (moved.gained, moved.lost, moved.p) == (5, 6, 1.0)


def test_the_hardest_row_is_what_a_second_draw_gives():
    rows = published.published_transitions().set_index("bin")
    unsure, sure = (rows.loc[bins, "p_holm"] for bins in (["[0]", "[1–4]"], ["[17–64]", "[65–128]"]))
    assert unsure.min() > .2 and sure.max() < 1e-6
    assert list(rows.index) == bin_labels(PAPER_BINS)
    assert np.allclose(rows[["fell_null", "stayed_null", "rose_null"]].sum(axis=1), 100)


@pytest.mark.parametrize(
    "a, b, n, least, greatest",
    [(17, 21, 30, 0.125, 0.5235), (0, 4, 4, 0.125, 0.125), (3, 3, 9, 1, 1), (21, 17, 30, 0.125, 0.5235)],
)
def test_possible_p(a, b, n, least, greatest):
    found = published.possible_mcnemar(a, b, n)
    assert (
        found.least == pytest.approx(least, abs=1e-3)
        and found.greatest == pytest.approx(greatest, abs=1e-3)
        and found.net == b - a
    )


def test_no_pairing_escapes_the_widest_interval():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = rng.random(40) < rng.random(), rng.random(40) < rng.random()
        found = published.widest_difference(a.mean(), b.mean(), 40)
        assert found.high - found.value >= 1.9599 * (b.astype(float) - a).std() / 40**.5 - 1e-9


@pytest.mark.parametrize(
    "key, message",
    [
        (("C", "", "", ""), "no published paper 'C'"),
        (("A", "Table 9", "", ""), "no published place 'Table 9'"),
        (("A", "Table 3", "7B", ""), "no published row '7B'"),
        (("A", "Table 3", "3B test RL", "f1"), "no published column 'f1'"),
    ],
)
def test_a_mistyped_value_is_named(key, message):
    with pytest.raises(UserError, match=message): published.value_of(*key)


# claims

def test_every_claim_is_whole():
    assert 20 <= len(CLAIMS) <= 30 and len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert (
            claim.words
            and claim.reason
            and claim.quantity
            and claim.test in TESTS
            and claim.needs in MAIN
        )
        assert all(published.quoted(chain) for chain in claim.published)
        published.reanalysed(claim.reanalysis)
    with pytest.raises(dataclasses.FrozenInstanceError): CLAIMS[0].threshold = 5


def test_without_evidence_nothing_is_run():
    table = ledger({}, CLAIMS)
    assert (table["verdict"] == "not run").all() and table["p"].isna().all()
    assert (table["note"] == "needs section " + table["id"].map({claim.id: claim.needs for claim in CLAIMS})).all()
    assert (table["published"] != "").sum() > 10
    assert any("no claim was run" in text.get_text() for axis in forest(table).axes for text in axis.texts)


def test_an_unknown_section_is_refused():
    with pytest.raises(UserError, match="no claim needs evidence of section '99'"): ledger({"99": [None]}, CLAIMS)


def test_a_better_model_is_seen_and_an_unchanged_one_is_not(better, unchanged):
    seen = section_ledger("03", [MadeEvidence(better)]).set_index("id")["verdict"]
    assert seen["A4.1"] == seen["A4.5"] == "supported"
    assert set(
        section_ledger("03", [MadeEvidence(unchanged)])
        .set_index("id")
        .loc[["A4.1", "A4.2", "A4.5", "A4.6", "A4.7"], "verdict"]
    ) == {"inconclusive"}


def test_effects_are_paired_differences(better):
    table = section_ledger("03", [MadeEvidence(better)]).set_index("id")
    found = paired_difference(100 * better.before.right.mean(1), 100 * better.after.right.mean(1))
    assert table.loc["A4.1", ["value", "low", "high"]].to_numpy(float) == pytest.approx(
        [found.value, found.low, found.high]
    )


def test_an_inconclusive_claim_says_what_it_could_have_seen(unchanged):
    "With 80 % power at the level that Holm's first step asks for, by the normal distribution over many questions."
    table = section_ledger("03", [MadeEvidence(unchanged)]).set_index("id")
    row, family = table.loc["A4.1"], table["p"].notna().sum()
    errors = norm.ppf(1 - .05 / family / 2) + norm.ppf(.8)
    assert row["detectable"] == pytest.approx(errors * (row["high"] - row["low"]) / 2 / 1.976, rel=0.01)
    assert "80 % power" in row["note"]


def test_few_questions_are_not_run_and_not_an_error():
    table = section_ledger("03", [MadeEvidence(pair([.9] * 6, [.9] * 6))]).set_index("id")
    assert table.loc["A4.6", "verdict"] == "too few to say" and "fewer than 6 questions" in table.loc["A4.6", "note"]


@pytest.mark.parametrize("questions, verdict", [(5, "too few to say"), (6, "inconclusive")])
def test_a_bin_is_judged_from_six_questions_on(questions, verdict):
    rates = np.concatenate([np.full(60, .9), np.full(questions, .015)])
    each = pair(rates, rates, 2, n=256)
    rare = np.tile(np.arange(256) < 4, (questions, 1))
    right = np.r_[each.before.right[:60], rare]
    made = dataclasses.replace(each, before=dataclasses.replace(each.before, right=right))
    assert section_ledger("03", [MadeEvidence(made)]).set_index("id").loc["A4.6", "verdict"] == verdict


def test_a_claim_equal_in_all_seeds_has_a_value_and_neither_interval_nor_p():
    effects = [judging.ClaimEffect(2., 1., 3., .01, .5)] * 3
    found = judging.combine(next(claim for claim in CLAIMS if claim.id == "A4.1"), effects)
    assert found.effect.value == 2 and np.isnan([*found.over_seeds, found.p]).all()


def test_no_change_in_few_questions_does_not_rule_a_rise_out():
    few, many = (judging._unmoved(count, 2.) for count in (40, 500))
    capability = next(claim for claim in CLAIMS if claim.id == "A4.3")
    assert (
        judge(capability, few.low, few.high, few.p) == "inconclusive"
        and judge(capability, many.low, many.high, many.p) == "supported"
    )


def test_three_seeds_are_judged_over_seeds(better, unchanged):
    one, three = map(MadeEvidence, (better, unchanged))
    table = section_ledger("03", [one, three, one]).set_index("id")
    row = table.loc["A4.1"]
    assert (
        row["seeds"] == 3
        and row["seed_low"] < 0 < row["low"]
        and row["verdict"] == "inconclusive"
        and "training seed" not in row["note"]
    )
    assert np.isnan(section_ledger("03", [one])["seed_low"]).all()


def test_pairs_are_averaged_over_seeds_before_the_weakest_counts():
    "Two pairs that rise by 1 on average and take turns in rising by little: neither is weak."
    claim = Claim("x", "", "", "", "", "points", "sign flip", "above", 0., "", "03", lambda e: e)
    rng = np.random.default_rng(0)
    rise = lambda mean: (np.zeros(60), rng.normal(mean, .1, 60))
    found = judging.findings({"03": [[rise(.5), rise(1.5)], [rise(1.5), rise(.5)], [rise(1), rise(1)]]}, (claim,))["x"]
    assert found.effect.value == pytest.approx(1, abs=.05)


def test_within_needs_both_sides():
    claim = Claim("x", "", "", "", "", "log ratio", "sign flip", "within", .1, "", "03", lambda e: [e])
    rng = np.random.default_rng(0)
    (tight,), (far,) = (
        effects_of(claim, (rng.normal(0, 0.05, 99), rng.normal(mean, 0.05, 99))) for mean in (0, .3)
    )
    assert (
        judge(claim, tight.low, tight.high, tight.p) == "supported"
        and judge(claim, far.low, far.high, far.p) == "contradicted"
    )


def test_holm_is_over_the_claims_of_a_section(better):
    alone = section_ledger("03", [MadeEvidence(better)]).set_index("id")
    assert (alone["p_holm"] >= alone["p"] - 1e-12).all()
    assert alone["p_holm"].min() == pytest.approx(min(1, len(alone) * alone["p"].min()))
    both = ledger({"03": [MadeEvidence(better)], "05": [MadeEvidence(better)]}, CLAIMS).set_index("id")
    assert (both.loc[alone.index, "p_holm"] == alone["p_holm"]).all() and (
        both.loc[alone.index, "verdict"] == alone["verdict"]
    ).all()
    assert both.loc["A6.1", "verdict"] == "supported" and both.loc["A6.5", "value"] == 0
    assert (both.loc[["A5.1", "B.1"], "verdict"] == "not run").all()


def test_the_forest_is_the_same_bytes(better, tmp_path):
    from rlvd_nb.paper.palette import save_figure
    table = section_ledger("03", [MadeEvidence(better)])
    first, second = ([path.read_bytes() for path in save_figure(forest(table), tmp_path / name)] for name in "ab")
    assert first == second


def test_the_section_shows_no_verdict_of_its_own():
    source = "".join(
        "".join(cell["source"])
        for cell in json.loads((ROOT / "nbs" / "09_claims.ipynb").read_text())["cells"]
        if cell["cell_type"] == "code"
    )
    assert "supported" not in source and "contradicted" not in source
