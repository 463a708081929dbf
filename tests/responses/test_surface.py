"""Reflection keywords are found whole and nowhere else; contrasts are within questions."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.kinship import task as kinship
from rlvd_nb.responses.surface import (
    KEYWORDS, contrast, contrasts, keyword_pattern, question_means, reflection_words, surface, surface_by_bin)

TABLE_5 = """actually, aha, alternatively, another approach, checking our work, correction:, different method,
double-check, hmm, however, I made a mistake, I need to reconsider, I realize, let me recalculate, let me think,
let's check, let's reconsider, looking back, make sure, ok, on second thought,
retracing, to be sure, to confirm, verify, wait, we could also"""
WORDS = [word.strip() for word in TABLE_5.split(",")]
COUNT = keyword_pattern(KEYWORDS)


def test_the_keywords_are_the_papers():
    assert sorted(KEYWORDS) == sorted(word.lower() for word in WORDS)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("sentence", [
    "So the sum is 7. {} the sign is wrong.", "{}, 3 + 4", "we get 7 ({}) \\boxed{{7}}", "a\n{}\nb"])
def test_every_keyword_is_found_in_a_sentence(word, sentence):
    for written in (word, word.lower(), word.capitalize(), word.upper()):
        assert COUNT.findall(sentence.format(written)) == [written]


@pytest.mark.parametrize("text", [
    "token", "book", "waiter", "awaits", "okay", "verifying", "hmmm", "howevermuch", "factually", "aha2",
    "corrections:", "ok_", "un-checked"])
def test_a_keyword_inside_another_word_is_none(text):
    assert COUNT.findall(f"the {text} is") == []


@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_keywords_are_counted_once_each(words):
    assert len(COUNT.findall(" x = 1; ".join(["", *words, ""]))) == len(words)


def test_a_task_may_have_its_own():
    assert reflection_words(kinship(entities=30, train_questions=5, test_questions=30)) == ("wait",)
    with pytest.raises(UserError, match="no reflection keywords"): keyword_pattern([])


def rows(*each):
    "Graded rows from (question, right, completion)."
    return pd.DataFrame([
        dict(question_id=q, verdict="right" if right else "wrong", completion=text, tokens=len(text.split()))
        for q, right, text in each
    ])


def test_a_response_is_measured():
    table = surface(rows(("a", True, "wait, ok"), ("a", False, "no"), ("b", True, "wait, ok")), KEYWORDS)
    assert table.to_dict("list") == dict(
        question_id=["a", "a", "b"], right=[True, False, True], tokens=[2, 1, 2], characters=[8, 2, 8],
        keywords=[2, 0, 2],
    )


def test_a_contrast_within_questions_solved_by_hand():
    "Easy questions have short responses: raw means say right is shorter; within a question it is longer, by 1 and 3."
    base = surface(
        rows(
            ("easy", True, "x x"), ("easy", True, "x x"), ("easy", True, "x x"), ("easy", False, "x"),
            ("hard", True, "x x x x x x x x"), ("hard", False, "x x x x x"), ("hard", False, "x x x x x"),
            ("never", False, "x " * 50),
        ),
        ["wait"],
    )
    assert base.loc[base["right"], "tokens"].mean() < base.loc[~base["right"], "tokens"].mean()
    found = (
        contrasts(base, base, "RL")
        .set_index(["measure", "contrast"])
        .loc[("length (tokens)", "right less wrong, base")]
    )
    assert found["difference"] == pytest.approx(2) and found["questions"] == 2
    assert contrasts(base, base, "RL").query("contrast == 'RL less base, all responses'")["difference"].abs().max() == 0


def test_trained_less_base_weighs_questions_equally():
    before = surface(rows(("a", True, "x"), ("a", True, "x"), ("a", True, "x"), ("b", True, "x x x x")), ["wait"])
    after = surface(rows(("a", True, "x x x"), ("b", True, "x x x x"), ("c", True, "x")), ["wait"])
    found = contrast(question_means(before, "tokens", True), question_means(after, "tokens", True), "")
    assert found["difference"] == pytest.approx(1) and found["questions"] == 2


def test_one_common_question_is_too_few():
    one = question_means(surface(rows(("a", True, "x")), ["wait"]), "tokens", None)
    assert np.isnan(contrast(one, one, "")["difference"]) and contrast(one, one, "")["questions"] == 1


def test_means_by_bin_are_over_questions():
    table = surface(rows(("a", True, "x"), ("a", True, "x"), ("b", True, "x x x x"), ("c", False, "x")), ["wait"])
    found = surface_by_bin({"base": table}, dict(a="hard", b="hard", c="easy"), ["hard", "easy"])
    assert found["bin"].tolist() == ["hard"] * 3 + ["easy"] * 3
    first = found[(found["measure"] == "length (tokens)") & (found["bin"] == "hard")].iloc[0]
    assert (first["value"], first["questions"], first["right"]) == (2.5, 2, "right")
