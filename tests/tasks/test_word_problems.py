"""GSM8K, SVAMP and MAWPS on their real files, and the number that a response states."""
import json
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import RIGHT, UNPARSED, WRONG, Question, check_disjoint, load_task
from rlvd_nb.tasks.word_problems import LastNumber, stated_number, written
from rlvd_nb.models.prompts import render

ROWS = {"gsm8k": 1319, "svamp": 1000, "mawps": 562 + 395 + 508 + 600}


@pytest.fixture(params=sorted(ROWS))
def real(request, data, monkeypatch):
    "A task on the real records."
    monkeypatch.setenv("RLVD_DATA", str(data))
    return load_task(request.param)


def test_every_gold_verifies_itself(real):
    "And no other number does; questions are told apart by id."
    asked = [q for q in real.all_questions]
    assert len({q.id for q in asked}) == len(asked) and 1000 <= len(asked) <= ROWS[real.name]
    for question in asked:
        assert real.grade(question, real.gold_response(question)).verdict == RIGHT
        other = written(Fraction(question.gold) * 2 + 1)
        assert real.grade(question, f"The answer is {other}.").verdict == WRONG


def test_nothing_is_learned_that_is_asked(real):
    if real.name == "gsm8k":
        with pytest.raises(UserError, match="gsm8k has no training questions here"): real.questions("train")
        return
    train, test = (real.questions(split) for split in ("train", "test"))
    check_disjoint(train, test)
    assert len(train) > 400 and len(test) > 400 and len(train) + len(test) == len(real.all_questions)


def test_worked_answers_of_gsm8k_are_right(data):
    "The benchmark's own solutions, as a model would write them."
    rows = [json.loads(line) for line in (data / "gsm8k_test.jsonl").read_text().splitlines()]
    task = load_task("gsm8k", path=data / "gsm8k_test.jsonl")
    verdicts = [task.grade(q, row["answer"]).verdict for q, row in zip(task.questions("test"), rows)]
    assert set(verdicts) == {RIGHT}
    plain = [row["answer"].rsplit("####")[0] for row in rows]  # the last number of the working is nearly always it
    assert sum(task.grade(q, text).verdict == RIGHT for q, text in zip(task.questions("test"), plain)) > 1200


@given(st.integers(-10**7, 10**7), st.sampled_from(["The answer is {}.", "#### {}", r"\boxed{{{}}}", "so {}", "= {}"]))
def test_a_whole_number_is_read_however_it_is_written(number, form):
    for text in (f"{number}", f"{number:,}", f"{number}.0"): assert stated_number(form.format(text)) == number


READ = [
    ("3 + 4 = 7. The answer is 7.", "7"), ("#### 1,450,000", "1450000"), (r"\boxed{3/4}", "0.75"), ("9 - 2", "2"),
    ("It is 5-3", "3"), ("She owes -3", "-3"), ("**Answer:** $1,234.50", "1234.5"), ("70% of them", "70"),
    ("The answer is 12. Check: 12 + 0 = 13", "12"), (".5 left", "0.5"), ("3, 4", "4"), ("costs $5.", "5"),
    ("The answer is unknown, but there are 8", "8"),
]


@pytest.mark.parametrize("text, number", READ)
def test_what_a_response_states(text, number): assert written(stated_number(text)) == number


@pytest.mark.parametrize("text", ["", "none", "1/0", "The answer is."])
def test_no_number_is_no_answer(text):
    assert LastNumber().grade(Question("q", "?", "0", "test"), text).verdict == UNPARSED


def test_what_comes_after_a_next_question_is_not_graded():
    grade = LastNumber().grade(Question("q", "?", "7", "test"), " 3 + 4 = 7. The answer is 7.\n\nQ: And 2 + 2?\nA: 4.")
    assert (grade.verdict, grade.answer) == (RIGHT, "7")


def test_the_examples_of_the_template_are_no_questions_of_the_benchmarks(data, monkeypatch):
    monkeypatch.setenv("RLVD_DATA", str(data))
    text = render("How many?", "few-shot")
    assert text.endswith("Q: How many?\nA:") and text.count("The answer is 7.") == 2
    for name in ROWS: assert not [q.id for q in load_task(name).all_questions if q.prompt in text]


@pytest.mark.parametrize("name, file, row, message", [
    ("gsm8k", "gsm8k_test.jsonl", dict(question="?", answer="7"), "line 1: column 'answer' has no ####"),
    ("gsm8k", "gsm8k_test.jsonl", dict(question="?", answer="#### x"), "test problem 0 must be a number, not ' x'"),
    ("svamp", "svamp_test.jsonl", dict(ID="a", Body="", Question="?", Answer="one"), "answer of a must be a number"),
    ("mawps", "mawps_singleop.jsonl", dict(input="?"), "no column 'target'; a row has input, target")])
def test_bad_rows_are_one_line(tmp_path, name, file, row, message):
    (tmp_path / file).write_text(json.dumps(row))
    more = dict(parts=["singleop"]) if name == "mawps" else {}
    with pytest.raises(UserError, match=message): load_task(name, path=tmp_path, **more)
