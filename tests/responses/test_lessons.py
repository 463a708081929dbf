"""Arms differ in one thing only: matched ones share questions and counts, levelled ones numbers and lengths; a
teacher's file is not trusted."""
import json

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import Question
from rlvd_nb.responses.lessons import (
    STRATA, accepted, apportioned, arm_sizes, draw_rows, levelled, matched, read_teacher)


def arm(pairs):
    "Accepted responses from (question, tokens) pairs, each with a text of its own."
    return pd.DataFrame(
        [dict(question_id=f"q{q}", tokens=n, completion=str(i)) for i, (q, n) in enumerate(pairs)],
        columns=["question_id", "tokens", "completion"],
    )


few_lengths = st.lists(st.tuples(st.integers(0, 9), st.sampled_from([2, 4, 7, 12])), min_size=1, max_size=40).map(arm)


# drawing

@given(few_lengths, st.integers(1, 3), st.randoms(use_true_random=False))
def test_drawing_takes_as_many_as_asked_whatever_the_index(rows, count, random):
    index = list(range(len(rows)))
    random.shuffle(index)
    drawn = draw_rows(rows.set_axis(index), rows.set_axis(index)["question_id"], count)
    assert (
        drawn["question_id"].value_counts().to_dict() == rows["question_id"].value_counts().clip(upper=count).to_dict()
    )
    assert drawn["completion"].astype(int).is_monotonic_increasing  # the old order


def test_every_response_is_drawn_equally_often():
    rows = arm([(0, 2)] * 5)
    hits = sum(
        draw_rows(rows, rows["question_id"], 2, seed)["completion"]
        .astype(int)
        .value_counts()
        .reindex(range(5), fill_value=0)
        for seed in range(500)
    )
    assert hits.sum() == 1000 and ((hits - 200).abs() < 5 * (500 * .4 * .6)**.5).all()


def test_what_was_cut_off_or_wrong_is_not_learned():
    rows = pd.DataFrame(
        dict(
            question_id="a", verdict=["right", "right", "wrong", "unparsed", "error"],
            finished=[True, False, True, True, True], completion=list("vwxyz"),
        )
    )
    assert accepted(rows, 8)["completion"].tolist() == ["v"]


# matched

@given(few_lengths, few_lengths)
def test_matched_arms_share_questions_and_counts(a, b):
    common = set(a["question_id"]) & set(b["question_id"])
    if not common:
        with pytest.raises(UserError, match="the arms a, b have no question in common"): matched({"a": a, "b": b})
        return
    pair = matched({"a": a, "b": b})
    counts = [each["question_id"].value_counts().to_dict() for each in pair.values()]
    assert counts[0] == counts[1] and set(counts[0]) == common
    assert all(n == min((each["question_id"] == q).sum() for each in (a, b)) for q, n in counts[0].items())
    assert set(pair["a"]["completion"]) <= set(a["completion"]) and pair["a"]["completion"].is_unique


# levelled

@given(few_lengths, few_lengths, few_lengths)
def test_levelled_arms_have_equally_many_of_each_length(a, b, c):
    arms = {"a": a, "b": b, "c": c}
    shared = pd.concat([each["tokens"].value_counts() for each in arms.values()], axis=1, join="inner").min(axis=1)
    if shared.empty:
        with pytest.raises(UserError, match="some responses of common length are asked for, there are 0"):
            levelled(arms)
        return
    found = levelled(arms)
    for each in found.values(): assert each["tokens"].value_counts().to_dict() == shared.to_dict()
    sizes = arm_sizes(found)
    assert sizes["tokens"].nunique() == sizes["responses"].nunique() == 1


@given(*[st.lists(st.integers(1, 3000), min_size=1, max_size=300)] * 2)
@settings(deadline=None)
def test_lengths_that_hardly_repeat_are_equal_within_the_tolerance_or_refused(a, b):
    arms = {name: arm((0, n) for n in lengths) for name, lengths in dict(a=a, b=b).items()}
    try: sizes = arm_sizes(levelled(arms, tolerance=.02)).set_index("arm")
    except UserError as error: assert str(error).startswith("arms cannot be made equal"); return
    assert sizes["responses"].nunique() == 1 and sizes["tokens"].max() <= 1.02 * sizes["tokens"].min()


def test_arms_of_one_distribution_of_lengths_keep_most_responses():
    lengths = [10 + i * i % 997 for i in range(2000)]
    found = levelled({"a": arm((0, n) for n in lengths[::2]), "b": arm((0, n) for n in lengths[1::2])})
    assert len(set(lengths)) > STRATA and len(found["a"]) == len(found["b"]) > 850


@given(few_lengths, few_lengths, st.integers(1, 12))
def test_a_number_asked_for_is_reached_or_refused_with_what_fell_short(a, b, count):
    there = int(pd.concat([each["tokens"].value_counts() for each in (a, b)], axis=1, join="inner").min(axis=1).sum())
    if there >= count:
        found = levelled({"a": a, "b": b}, count)
        assert [len(each) for each in found.values()] == [count] * 2 and found["a"]["tokens"].sum() == found["b"][
            "tokens"
        ].sum()
        return
    with pytest.raises(
        UserError,
        match=(
            f"{count} responses of common length are asked for, there are {there}; the smallest arm is '(a|b)' with"
            f" {min(len(a), len(b))}"
        ),
    ):
        levelled({"a": a, "b": b}, count)


def test_a_negative_number_is_refused():
    rows = arm([(0, 2), (1, 2)])
    with pytest.raises(UserError, match="responses of an arm.*-3"): levelled({"a": rows, "b": rows}, -3)


def test_an_empty_arm_is_named():
    with pytest.raises(UserError, match="'b' has no right response to learn from"):
        levelled({"a": arm([(0, 2)]), "b": arm([])})


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_shares_add_up_and_never_exceed_what_there_is(available, data):
    count = data.draw(st.integers(1, sum(available)))
    shares = apportioned(pd.Series(available), count)
    assert shares.sum() == count and (shares <= available).all() and (shares >= 0).all()
    assert ((shares - pd.Series(available) * count / sum(available)).abs() < 1).all()


# a teacher's file

QUESTIONS = [Question("a", "2 + 2", "4", "train"), Question("b", "3 + 3", "6", "train")]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("rows", [[dict(question_id="a", response="4")], [dict(question="2 + 2", response="4")],
                                  [dict(question_id="a", response="4"), dict(question_id="elsewhere", response="5"),
                                   dict(question_id="b", response=None)]])
def test_a_teachers_file_gives_question_and_completion(tmp_path, rows):
    expected = [dict(question_id="a", completion="4")]
    assert read_teacher(write(tmp_path / "t.jsonl", rows), QUESTIONS).to_dict("records") == expected
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    assert read_teacher(tmp_path / "t.parquet", QUESTIONS).to_dict("records") == expected


BROKEN = [
    (
        "t.jsonl", '{"question": "2 + 2", "answer": "4"}\n',
        r"needs the columns question_id \(or question\) and response; it has question, answer",
    ),
    ("t.jsonl", '{"question_id": "a", "response": "4"}\n{"question_id": \n', "line 2"),
    ("t.jsonl", '{"question_id": "a", "response": "4"}\n7\n', "line 2"),
    (
        "t.jsonl", '{"question_id": "z", "response": "4"}\n',
        "answers none of the 2 training questions; its question_id column does not name them",
    ),
    ("t.jsonl", '{"question_id": "a", "response": 4}\n', "response of 'a' must be text, not int"),
    ("t.jsonl", "", "t.jsonl"),
    ("t.parquet", "no Parquet at all", "t.parquet"),
    ("t.csv", "question_id,response\na,4\n", "t.csv"),
]


@pytest.mark.parametrize("name, text, message", BROKEN, ids=lambda value: value if value.startswith("t.") else "")
def test_a_teachers_file_that_is_none(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught: read_teacher(tmp_path / name, QUESTIONS)
    assert "\n" not in str(caught.value)


def test_a_teachers_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="nowhere.jsonl"): read_teacher(tmp_path / "nowhere.jsonl", QUESTIONS)
