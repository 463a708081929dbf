"""The gold is what Python computes; every worked chain verifies; every changed digit is found."""
import re
from itertools import islice

import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import RIGHT, UNPARSED, Task, check_disjoint
from rlvd_nb.tasks.chains import SO
from rlvd_nb.tasks.kinship import CHECK, PATTERNS, THINK
from rlvd_nb.tasks.tracing import read_program, task

TASK = task(train_questions=80, test_questions=80)
QUESTIONS = TASK.questions("test")
questions, seeds = st.sampled_from(QUESTIONS), st.integers(0, 1000)


def printed(prompt):
    "Run the program with Python's own arithmetic."
    *code, asked = re.sub(r"print (\w) \?", r"\1", prompt).split(" ; ")
    values = {}
    for line in code:
        exec(line, {}, values)
        values = {name: value % 10 for name, value in values.items()}
    return str(values[asked])


@pytest.mark.parametrize("split", ["train", "test"])
def test_gold_is_what_python_computes(split):
    assert isinstance(TASK, Task)
    assert all(printed(q.prompt) == q.gold and q.split == split for q in TASK.questions(split))


@given(questions, seeds, st.sampled_from(PATTERNS))
def test_worked_chains_are_right(question, seed, pattern):
    response = TASK.worked(question, seed, pattern)
    grade = TASK.grade(question, response)
    assert (grade.verdict, grade.answer, grade.step, grade.fault) == (RIGHT, question.gold, None, None)
    assert grade.chain == (pattern != "direct") == response.startswith(f"{THINK} ") and (CHECK in response) == (
        pattern == "verify"
    )


def after_corrections(words):
    "The steps of a chain of worked shape, as (variable, digit): a second look takes the place of the first."
    said = [word for word in words[1:words.index(SO)] if word != CHECK]
    pairs = list(zip(said[::2], said[1::2]))
    return pairs[1::2] if CHECK in words else pairs


def followed(said, plan):
    "How many steps of a plan a chain follows before it leaves it."
    return next((number for number, (a, b) in enumerate(zip(said, plan)) if a != b), min(len(said), len(plan)))


@given(questions, seeds, st.sampled_from(PATTERNS), st.data())
def test_any_changed_digit_is_refused(question, seed, pattern, data):
    words = TASK.worked(question, seed, pattern).split()
    stands = [
        i for i, word in enumerate(words) if word.isdigit() and words[i + 1 : i + 2] != [CHECK]
    ]  # a first try that is mended may be anything
    at = data.draw(st.sampled_from(stands))
    words[at] = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != words[at]]))
    grade = TASK.grade(question, " ".join(words))
    assert not grade.chain and grade.fault
    if pattern == "direct": assert (grade.step, grade.fault) == (0, "atom")
    elif at == len(words) - 1: assert grade.fault == "plan"  # the steps are right and lead to another answer
    elif pattern != "skip":
        said, plan = after_corrections(words), [(*each.subject, each.final) for each in steps_of(question)]
        whole, skipping = followed(said, plan), followed(said, plan[1::2])
        assert grade.step == max(whole, skipping)  # a chain is held against the plan that it follows longest
        if whole >= skipping: assert grade.fault == "atom"


def steps_of(question): return TASK.truth(read_program(question.prompt))[0]


def test_a_changed_digit_may_begin_a_chain_that_skips():
    "After u = 4 a chain says u is 9, which u is one line later: a skipped line is no fault, the second u is one."
    question = TASK.question(read_program("u = 4 ; u = u + 5 ; print u ?"))
    grade = TASK.grade(question, "think u 9 u 9 so 9")
    assert (grade.verdict, grade.chain, grade.step, grade.fault) == (RIGHT, False, 1, "plan")
    assert TASK.grade(question, "think u 9 so 9").chain
    grade = TASK.grade(question, "think u 8 u 9 so 9")  # neither line: a false value of the first
    assert (grade.chain, grade.step, grade.fault) == (False, 0, "atom")


@given(questions, seeds, st.data())
def test_a_first_try_that_is_mended_is_right(question, seed, data):
    words = TASK.worked(question, seed).split()
    at = data.draw(st.sampled_from([i for i in range(len(words)) if words[i + 1:i + 2] == [CHECK]]))
    words[at] = data.draw(st.sampled_from("0123456789"))
    assert TASK.grade(question, " ".join(words)).chain


@given(questions, st.sampled_from(["step", "verify"]), st.data())
def test_a_missing_line_is_a_plan_error(question, pattern, data):
    words, width = TASK.worked(question, 0, pattern).split(), 2 if pattern == "step" else 5
    line = data.draw(st.integers(0, question.info["lines"] - 1))
    short = words[:1 + width * line] + words[1 + width * (line + 1):]
    grade = TASK.grade(question, " ".join(short))
    lines = question.info["lines"]
    if lines > 3:
        assert not grade.chain and grade.fault in ("plan", "atom")  # the next line may be of the same variable
    if line == lines - 1 and lines > 2: assert (grade.step, grade.fault) == (line, "plan")


@given(st.lists(st.sampled_from(TASK.vocabulary), max_size=14), questions)
def test_any_words_get_a_verdict(words, question):
    grade = TASK.grade(question, " ".join(words))
    assert (grade.verdict == UNPARSED) == (not words or not words[-1].isdigit())
    if grade.chain: assert grade.verdict == RIGHT and grade.step is None and words[0] == THINK


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_text_is_fixed_disjoint_and_in_the_vocabulary(seed):
    pairs = [*islice(TASK.text(seed), 500)]
    assert pairs == [*islice(TASK.text(seed), 500)] != [*islice(TASK.text(seed + 1), 500)]
    assert not {q.prompt for split in ("train", "test") for q in TASK.questions(split)} & {
        prompt for prompt, _ in pairs
    }
    assert {word for pair in pairs for text in pair for word in text.split()} <= set(TASK.vocabulary)
    assert all(
        prompt.split()[0] in TASK.starts and len(f"{prompt} {response}".split()) <= 64 for prompt, response in pairs
    )
    assert all(len(response.split()) == 1 or response.startswith(THINK) for _, response in pairs)
    assert all(len(response.split()) + 1 <= TASK.max_tokens for _, response in pairs)


def test_the_writer_slips_where_results_are_hard_and_nowhere_else():
    pairs = [*islice(TASK.text(0), 2000)]
    asked = [TASK.question(read_program(prompt)) for prompt, _ in pairs]
    right = {True: [], False: []}
    for q, (_, response) in zip(asked, pairs):
        right[q.info["hard"] > 0].append(TASK.grade(q, response).verdict == RIGHT)
    assert all(right[False]) and sum(right[True]) / len(right[True]) < .8
    easy = task(hard=0, train_questions=5, test_questions=5)
    assert all(
        easy.grade(easy.question(read_program(prompt)), response).verdict == RIGHT
        for prompt, response in islice(easy.text(0), 500)
    )


def test_splits_never_meet_and_never_change():
    check_disjoint(TASK.questions("train"), QUESTIONS)
    assert (
        task(train_questions=80, test_questions=80).questions("test")
        == QUESTIONS
        != task(seed=1, test_questions=80).questions("test")
    )
    assert len({q.id for q in QUESTIONS}) == 80 and {q.difficulty for q in QUESTIONS} == {
        f"lines {n}" for n in TASK.config.lines
    }


def test_a_hand_solved_case():
    question = TASK.question(read_program("z = 7 ; y = z * z ; z = 2 - y ; print z ?"))
    assert question.gold == "3" and question.info["needed"] == 3
    for right in ("think z 7 y 9 z 3 so 3", "think y 9 so 3", "think z 7 y 4 wait y 9 z 3 so 3"):
        assert TASK.grade(question, right).chain
    for wrong in ("3", "think so 3", "think z 7 y 9 so 3", "think z 3 so 3", "z 7 y 9 z 3 so 3", "think z 7 y 9 z 3 3",
                  "think z 7 wait y 9 z 3 so 3"):
        grade = TASK.grade(question, wrong)
        assert grade.verdict == RIGHT and not grade.chain


@pytest.mark.parametrize("options, complaint", [
    (dict(lines=(1,)), "lines must be from 2 to 5"), (dict(lines=(6,)), "lines must be from 2 to 5"),
    (dict(lines=()), "lines must be from 2 to 5"),
    (dict(text_lines=(1.,)), "text_lines are shares of programs"),
    (dict(depth=2), "depth: Extra inputs"), (dict(patterns=(1., 1., 0., 0.)), "must add up to 1, not 2"),
    (dict(constants=1.), "constants must be below 1"),
    (dict(q_low=.9), "q_low 0.9 is above q_high"), (dict(hard=-1.), "hard: Input should be greater")])
def test_wrong_parameters_are_refused_in_one_line(options, complaint):
    with pytest.raises(UserError, match=re.escape(complaint)) as error: task(**options)
    assert str(error.value).startswith("tracing: ") and "\n" not in str(error.value)


def test_unknown_splits_and_patterns_are_refused():
    with pytest.raises(UserError, match="splits train and test, not 'dev'"): TASK.questions("dev")
    with pytest.raises(UserError, match="unknown pattern 'guess'"): TASK.worked(QUESTIONS[0], 0, "guess")
