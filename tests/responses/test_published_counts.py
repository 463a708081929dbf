"""Published counts: what their sources state comes out of them, and they come with the package."""
import fnmatch, tomllib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.responses.published_counts import (
    SOURCES, CountPair, cooled_pairs, count_table, mmlu_pro_pairs, ppo_pair, reproduced, simplerl_pair, sources,
    training_visits, tuned_pairs,
)
from rlvd_nb.responses.real_models import (
    JEFFREYS, at_least, count_crossings, crossings, fallen, gradient_course, training_bins, training_moves, windows,
)


def test_every_aggregate_comes_out():
    "To the last digit that its source states."
    table = reproduced()
    assert len(table) == 283 and table["difference"].abs().max() < 1e-9
    assert set(table["file"]) == set(SOURCES) - {"mmlu_pro"}  # its source states nothing


def test_each_file_says_where_it_is_from():
    table = sources()
    assert (table["commit"].str.fullmatch("[0-9a-f]{40}")).all() and table["repository"].str.count("/").eq(1).all()
    assert table[["models", "training", "questions", "licence"]].ne("").all(axis=None)


def test_the_files_come_with_the_package():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = ROOT / "rlvd_nb" / "responses"
    files = [str(path.relative_to(folder)) for path in (folder / "data").iterdir()]
    assert {f"data/{name}.csv.gz" for name in SOURCES} < set(files)
    assert all(any(fnmatch.fnmatch(name, each) for each in patterns["rlvd_nb.responses"]) for name in files)
    assert sum((folder / name).stat().st_size for name in files) < 150_000


def test_no_text_of_a_model_is_in_them():
    "Counts, verdicts, numbers and names; the longest value is a string of counts."
    for name in SOURCES:
        for column, values in count_table(name).items():
            strings = column in ("counts_of_10", "counts_of_8", "pred_values")
            assert strings or values.str.len().max() < 60, (name, column)


def test_pairs_are_counts_of_the_same_questions():
    pairs = [simplerl_pair(), ppo_pair(), *mmlu_pro_pairs(), *(pair for _, pair in tuned_pairs() + cooled_pairs())]
    for pair in pairs:
        assert len(pair.base) == len(pair.trained) and 0 <= min(pair.base.min(), pair.trained.min())
        assert max(pair.base.max(), pair.trained.max()) <= pair.n
    assert [(len(pair.base), pair.n) for pair in pairs[:3]] == [(500, 128), (30, 8), (12032, 1)]


def test_unknown_names_are_one_line():
    with pytest.raises(UserError, match="no published counts 'x'; there are: qwen7b_simplerl"): count_table("x")
    with pytest.raises(UserError, match="no run 'x'; there are: trajectory/step-100"): ppo_pair("x")


# who falls to none

@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.integers(0, 8))
def test_sum_of_unequal_coins(chances, hits):
    every = sum(
        np.prod([p if side else 1 - p for p, side in zip(chances, sides)])
        for sides in product((0, 1), repeat=len(chances)) if sum(sides) >= hits
    )
    assert at_least(chances, hits) == pytest.approx(every, abs=1e-9)


def test_who_falls_to_none():
    table = fallen(simplerl_pair(), [(1, 2), (1, 8)]).set_index("solved")
    assert table.loc["1–2 of 128", ["questions", "fell"]].tolist() == [15, 9]
    assert table.loc["1–8 of 128", ["questions", "fell"]].tolist() == [38, 17]
    assert table["expected"].round(1).tolist() == [3.6, 4.2] and table["p_holm"].max() < .01
    assert table["expected_jeffreys"].round(1).tolist() == [4.4, 5.1] and table["p_holm_jeffreys"].max() < .05


def test_jeffreys_null_by_hand():
    "One of n right: the chance of none again is the integral of (1 - p)^n over Beta(1.5, n - .5)."
    from scipy.special import betaln
    n = 128
    assert JEFFREYS.null_matrix(n)[1, 0] == pytest.approx(np.exp(betaln(1.5, 2 * n - .5) - betaln(1.5, n - .5)))


# training questions

def visits(rates, seed=0):
    "Right rollouts of eight at 44 visits to questions that stay as they are."
    return list(np.random.default_rng(seed).binomial(8, rates[:, None], size=(len(rates), 44)))


def test_questions_that_stay_show_no_change():
    "Sorting by the first visits moves nothing that is measured in the others."
    rates = np.random.default_rng(1).beta(.3, .5, size=400)
    changes = [training_moves(visits(rates, seed))["change"] for seed in range(4)]
    assert np.abs(np.mean(changes, axis=0)).max() < .03
    table = training_moves(visits(rates))
    assert table["questions"].sum() == 400 and table["p_holm"].min() > .01


def test_a_change_between_start_and_end_is_found():
    moved = [np.concatenate([np.full(40, 4), np.full(4, 6)]) for _ in range(100)]
    table = training_moves(moved + [np.full(44, 4)]).set_index("bin")
    row = table[table["questions"] > 0].iloc[0]
    assert row["start"] == .5 and row["change"] == pytest.approx(.25 * 100 / 101) and row["p_holm"] < 1e-6
    assert table.loc["[0]", "questions"] == 0 and np.isnan(table.loc["[0]", "change"])


def test_windows_do_not_share_a_visit():
    found = windows(training_visits())
    whole = np.array([each.sum() for each in training_visits()])
    assert (sum(found.values()) <= whole).all() and training_bins(training_visits())[1][0] == "[0]"
    assert (found["first"] == 0).sum() == 262
    assert gradient_course(training_visits()).drop(columns="visit").sum(axis=1).round(6).eq(100).all()


# curves that cross

def test_crossings_by_hand():
    "Sharper answers: right always or never, where both were right half of the time."
    base, sharp = np.array([5] * 40), np.array([10] * 24 + [0] * 16)
    table = crossings([("x", CountPair("a", "b", base, sharp, 10)), ("x", CountPair("a", "c", base, base, 10))])
    assert table["crosses"].tolist() == [True, False] and table["x"].round(6).tolist() == [10, 0]
    assert count_crossings({"all": table})["crosses"][0] == 1
