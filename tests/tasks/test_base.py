"""A response ends where its turn does, or before the next question; the cut can be counted, and costs no time."""
import time

import pytest
from hypothesis import given, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import CLOSES, OPENS, Question, load_task, ran_on, response_end
from rlvd_nb.tasks.math_answers import LastBoxed, answered, read_answer
from rlvd_nb.tasks.mmlu_pro import MmluPro, read_letter

SEVEN = r"Adding up, \boxed{7}."
HEADINGS = [
    "Question: What?", "Question 2: What?", "Question 2", "**Question:** What?", "### Question", "## Question 3.",
    "Problem: Find x.", "Problem 2. Find x.", "**Problem 2:** Find x.", "Problem #4: Find x.", "Q: What?", "Q2. What?",
    "User: Thanks!", "USER: Thanks!", "Human: Thanks!", "### Human: Thanks!", "### Instruction:", "Exercise 3.",
    "Next question: What?", "Problem Statement: x", r"\textbf{Question 2}", r"\section*{Problem 3}",
    "New problem: What?", "> Question: What?", "human : Thanks",
]
PROSE = [
    "Problem solved.", "Questions like this one are easy.", "User input is 3.", "Humans err.", "Q is the midpoint.",
    "The question: is it so?", "Problem 2 is harder.", "Question marks aside, it is.", "A problem: none.",
]


@pytest.mark.parametrize("mark", CLOSES + OPENS)
def test_a_mark_of_a_chat_template_ends_the_response(mark):
    text = rf"{SEVEN}{mark} Then \boxed{{12}}"
    assert text[:response_end(text)] == SEVEN and ran_on(text, response_end(text))
    assert read_answer(text) == "7" and read_answer(rf"No answer.{mark} \boxed{{7}}") is None


def test_a_mark_alone_is_no_running_on():
    for after in ("", "\n", "<|im_end|>", "</s>\n", "<|im_end|>\n<|endoftext|>", "<end_of_turn> "):
        assert not ran_on(SEVEN + after, response_end(SEVEN + after))


@pytest.mark.parametrize("start", ["<|im_start|>assistant\n", "<|assistant|>\n", "<start_of_turn>model\n",
                                   "<|start_header_id|>assistant<|end_header_id|>\n\n", "\n[INST] "])
def test_the_response_s_own_turn_does_not_end_it(start):
    assert read_answer(start + SEVEN) == "7" and response_end(start + SEVEN) == len(start + SEVEN)


@pytest.mark.parametrize("heading", HEADINGS)
def test_the_next_question_ends_the_response_once_it_has_an_answer(heading):
    after = f"\n\n{heading}\nLet us see. The answer is (B), \\boxed{{12}}"
    assert read_answer(SEVEN + after) == "7"
    assert read_letter("The answer is (C)." + after) == "C"
    assert read_answer("The answer is 7." + after) is None
    assert read_answer("Let us see." + after) == "12" == read_answer(after)


@pytest.mark.parametrize("line", PROSE)
def test_prose_does_not_end_it(line): assert read_answer(f"First \\boxed{{3}}.\n{line}\nNo: \\boxed{{7}}") == "7"


def test_thinking_may_ask_itself():
    text = "<think>Answer: 3?\nQuestion: is it?\n</think>\n" + SEVEN
    assert read_answer(text + "\n\nQuestion: next\n\\boxed{12}") == "7" and response_end(text) == len(text)


def test_speaking_of_a_box_is_no_answer_that_a_question_may_follow():
    assert read_answer("I shall use \\boxed{}.\nProblem: find x.\nSo \\boxed{7}.") == "7"


PIECES = [SEVEN, "\n", "Question: a", "</s>", "so", "<|im_end|>", "answer: 3", "</think>"]


@given(st.lists(st.sampled_from(PIECES), max_size=9))
def test_what_is_read_depends_on_nothing_behind_the_end(pieces):
    text = "".join(pieces)
    end = response_end(text, answered)
    assert 0 <= end <= len(text) and read_answer(text) == read_answer(text[:end])
    assert end == len(text) or end in {text.find(mark) for mark in ("</s>", "<|im_end|>")} or text[end:].startswith("Q")


def test_every_task_that_reads_text_says_where_a_response_ends(data):
    puzzles = load_task("knights_knaves", path=data / "knights_knaves_3ppl_test.parquet")
    asked = puzzles.questions("test")[0]
    solved = asked.gold.replace(": ", " is a ") + "."
    turned = asked.gold.replace("knight", "-").replace("knave", "knight").replace("-", "knave")
    other = "\n\nQuestion: Who lies?\n" + turned
    assert puzzles.grade(asked, solved + other).verdict == "right"
    for task, text in ((puzzles, solved), (LastBoxed(), SEVEN), (MmluPro([], {}, [], 1), "The answer is (C).")):
        question = asked if task is puzzles else Question(id="a", prompt="?", gold="7", split="test")
        counted = [ran_on(each, task.end(question, each)) for each in (text, text + "</s>", text + other)]
        assert counted == [False, False, True] and task.end(question, text + other) == len(text) + 2


@pytest.mark.parametrize("piece", ["Question: a\n", "Q", " ", "#", "Q ", "answer to ", "<|", "\n", "Answer:", "> "])
def test_a_megabyte_is_cheap(piece):
    start, text = time.process_time(), piece * (1_000_000 // len(piece))
    assert 0 <= response_end(text, answered) <= len(text)
    assert time.process_time() - start < 10


MODULES = {
    "broken": ("x = (\n", "is no Python: '(' was never closed"),
    "lacks": ("import no_such_package\n", "imports no_such_package, which is not installed"),
    "plain": ("x = 1\n", "has no function 'task', so it is no task"),
    "undefined": ("x = no_such_name\n", "cannot be loaded: NameError: name 'no_such_name' is not defined"),
    "fails": ("def task(): return {}['board']\n", "cannot be loaded: KeyError: 'board'"),
    "odd": ("def task(): return 5\n", "has no 'name'; it must have: name, version, max_tokens"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_is_no_task(tmp_path, monkeypatch, name):
    text, message = MODULES[name]
    (tmp_path / f"own_{name}").mkdir()
    (tmp_path / f"own_{name}" / "domain.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as caught: load_task(f"own_{name}.domain")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["..", ".", "a..b", "a.", ".a", "a.b-c", ""])
def test_what_is_no_dotted_path_is_no_task(name):
    with pytest.raises(UserError, match="unknown task"): load_task(name)
