"""No answer may stall, crash or mis-score another; what is accepted and refused is a table; bad files are told so."""
import json, os, signal, subprocess, sys, time
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st
from math_verify import verify

import trap_task
from conftest import DATA, ROOT
from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import ERROR, RIGHT, UNPARSED, WRONG, Grade, Question, check_disjoint, load_task
from rlvd_nb.tasks.grading import check_golds, distinct_work, grade_pairs, verdict_counts
from rlvd_nb.tasks.math500 import SCHEMA, task
from rlvd_nb.tasks.math_answers import far_apart, grade_answer, last_boxed, read, read_answer, tidy
from rlvd_nb.tasks import grading

FILE = SCHEMA.file
GOLDS = [
    "4", "-50", r"\frac{3}{56}", r"\left( 3, \frac{\pi}{2} \right)", "p - q", "6 - 5i", r"\text{Evelyn}", "1<x<2",
    "[-2,7]", "52_8", "10,\\!080", r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", "x^3+3x-6", r"\text{(C)}", "1,-2",
    "90^\\circ", ".0000672", r"11\sqrt2", "y = 2x + 3", r"\frac{\sqrt{3}}{2}",
]
if DATA and (DATA / FILE).is_file():
    GOLDS += [json.loads(line)["answer"] for line in (DATA / FILE).read_text().split("\n") if line.strip()]
golds = st.sampled_from(GOLDS)


def row(number, gold="4", **changes):
    return (
        dict(
            problem=f"Problem {number}?", answer=gold, unique_id=f"test/algebra/{number}.json", level=1 + number % 5,
            subject="Algebra",
        )
        | changes
    )


def write(path, rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


@pytest.fixture(scope="module")
def math500(tmp_path_factory):
    return load_task(
        "math500",
        path=write(
            tmp_path_factory.mktemp("math500") / "few.jsonl", [row(i, gold) for i, gold in enumerate(GOLDS[:20])]
        ),
    )


def one_line(call):
    "The message of the UserError that `call` raises, which is one line."
    with pytest.raises(UserError) as caught: call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What counts as the answer

@pytest.mark.parametrize("text, answer", [
    (r"\boxed 5, no, \boxed{7}", "7"), (r"\boxed{5} and then \boxed 7.", "7"),
    (r"\boxed{7} So we are done, there are 12 of them.", "7"),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"), (r"\boxed{x = \boxed{7}}", "x = {7}"),
    (r"\fbox{7}", "7"), (r"\boxed {7}", "7"),
    (r"\boxed{\{1,2\}}", r"\{1,2\}"), (r"\boxed{\text{a } b}", r"\text{a } b"), (r"\boxed{3.}", "3"),
    (r"$\boxed 3/4$", "3/4"), (r"\(\boxed7\)", "7"),
    (r"\\boxed{7}", "7"), (r"\boxed{3 or so \boxed{7}", "7"), ("{ \\boxed{7}", "7"), (r"\boxed{7}}}}", "7"),
    ("\\boxed{\n7\n}", "7"), (r"\boxed{5\,}", r"5\,"),
    (r"\boxed{3}, or \boxed{4", None), (r"\boxed{", None), (r"\boxed", None), (r"\boxed{}", None),
    (r"\boxed{ . }", None), ("the answer is 7", None),
    ("7", None), ("", None), (r"\boxedtext{7}", None), ("boxed{7}", None), (r"\boxed{" + "7" * 2001 + "}", None),
    (r"\boxed{7} \boxed{" + "7" * 2001 + "}", None),
])
def test_last_boxed(text, answer): assert last_boxed(text) == answer


@given(st.text("\\boxedf{}$ 7.\n", max_size=80))
def test_any_text_gives_an_answer_or_none(text):
    assert last_boxed(text) is None or last_boxed(text).strip()


nested = st.recursive(st.just("7"), lambda inner: inner.map("{{{}}}+\\{{1\\}}".format), max_leaves=5)


@given(st.text("\\boxed}$ 7", max_size=40), nested, st.text("a }$.", max_size=20))
def test_what_is_boxed_last_is_read(before, content, after):
    assert last_boxed(f"{before}\n \\boxed{{{content}}}{after}") == content


# What is accepted, and what is refused

RIGHT_ANSWERS = [
    ("1<x<2", "(1,2)"), (r"\frac12", "1/2"), (r"\frac12", "0.5"), (r"\frac12", r"\tfrac12"), (r"\frac13", "0.333333"),
    ("10,\\!080", "10080"), ("10080", "10,080"), ("7", "7.0"), ("7", "$7$"), ("7", r"\$7"), ("7", r"7 \text{ apples}"),
    ("7", r"\textbf{7}"), ("90", r"90^\circ"), ("5", "x=5"), ("x=5", "5"), ("5", "2+3"), ("52_8", "52"),
    ("52_8", "52_{8}"), (r"\text{(C)}", "C"), (r"\text{(C)}", "(C)"), (r"\text{east}", "East"), ("6 - 5i", "-5i+6"),
    (r"x \in [-2,7]", "[-2,7]"), ("1,2", "2,1"), (r"\{1,2\}", "2, 1"), ("15", r"\binom{6}{2}"), ("1000000", "10^6"),
    ("y=2x+3", "2x+3"), ("y=2x+3", "y-2x=3"), (r"\infty", r"\infty"), (r"\sqrt{2}", "1.41421356"),
    ("x^2-1", "(x-1)(x+1)"), (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}"), ("(3,4)", r"\left( 3,\ 4 \right)"),
    ("p - q", "-q+p"),
]
WRONG_ANSWERS = [
    ("(1,2)", "1<x<2"), ("7", "5"), (r"\frac13", "0.3333"), ("50", "0.5"), ("52_8", "52_5"), ("52_8", "42"),
    (r"\text{(C)}", "(B)"), (r"\text{east}", "west"), ("6-5i", "6+5i"), ("[-2,7]", "(-2,7)"), ("1,2", "1,2,3"),
    ("(1,2)", "(2,1)"), ("2", "1, 2"), ("5", "x=4,y=5"), ("5", r"\frac{1}{0}"), ("5", r"\infty"), ("5", "5x"),
    ("p - q", "q - p"), ("x^2-1", "x^2+1"), (".0000672", ".0000673"), ("12345678", "12345679"), ("5", r"\text{five}"),
    ("y=2x+3", "y=3x+3"), ("0", r"\{\}"), ("5", r"\begin{pmatrix}5\\5\end{pmatrix}"),
]
NO_ANSWERS = [
    ("5", None), ("5", "?"), ("5", r"\#@"), ("5", r"\ldots"), ("5", r"\,"), ("5", "$$"), ("5", r"\text{}"),
    ("0", r"\,"), ("5", "3 or"),
]


@pytest.mark.parametrize("verdict, gold, answer", [(verdict, *pair) for verdict, table in
                         ((RIGHT, RIGHT_ANSWERS), (WRONG, WRONG_ANSWERS), (UNPARSED, NO_ANSWERS)) for pair in table])
def test_verdict(verdict, gold, answer): assert grade_answer(gold, answer).verdict == verdict


@pytest.mark.parametrize("gold", ["", " ", r"\text{}", "$$"])
def test_nothing_equals_nothing(gold):
    question = Question(id="empty", prompt="?", gold=gold, split="test")
    trick = SimpleNamespace(
        name="x", untrusted=False, grade=lambda q, text: grade_answer(q.gold, read_answer(text)),
        gold_response=lambda q: rf"\boxed{{{q.gold}}}",
    )
    assert RIGHT not in {
        grade.verdict
        for grade in grade_pairs(
            trick, [(question, text) for text in ("", r"\boxed{}", r"\boxed{ }", rf"\boxed{{{gold}}}")]
        )
    }
    assert check_golds(trick, [question])[0] == []


HARMLESS = [
    str, lambda a: f"  {a} ", lambda a: a + ".", lambda a: a.replace(r"\frac", r"\dfrac"),
    lambda a: a.replace(r"\frac", r"\tfrac"), lambda a: f"{{{a}}}", lambda a: f"${a}$",
    lambda a: a if r"\left" in a else a.replace("(", r"\left(").replace(")", r"\right)"),
    lambda a: a.replace(r"\left", "").replace(r"\right", ""),
]


@settings(max_examples=120, deadline=None)
@given(golds, st.sampled_from(range(len(HARMLESS))))
def test_gold_is_right_in_every_harmless_spelling(gold, spelling):
    if spelling in (5, 6) and ("\\text" in gold or "," in gold): spelling = 0 # a list in braces is another thing
    assert (
        grade_answer(gold, read_answer(rf"so \boxed{{{HARMLESS[spelling](gold)}}}, as was to be shown")).verdict
        == RIGHT
    )


def is_numeric(gold): return any(c.isdigit() for c in gold) and not any(unit in gold for unit in ("text", "mbox"))


@settings(max_examples=120, deadline=None)
@given(golds.filter(is_numeric), st.data())
def test_a_changed_digit_is_wrong(gold, data):
    at = data.draw(st.sampled_from([i for i, letter in enumerate(gold) if letter.isdigit()]))
    digit = data.draw(st.sampled_from([d for d in "123456789" if d != gold[at]]))
    assert grade_answer(gold, gold[:at] + digit + gold[at + 1:]).verdict == WRONG


@settings(max_examples=60, deadline=None)
@given(golds, golds)
def test_the_short_cut_agrees_with_the_verifier(gold, answer):
    expected, found = read(tidy(gold)), read(tidy(answer))
    if far_apart(expected[0], found[0]): assert not verify(expected, found, timeout_seconds=None)


# Nobody harms a neighbour

HOSTILE = [
    r"9^{9^{9^{9}}}", r"\sum_{n=1}^{10^9} n^n", "(" * 1999, r"\frac{1}{1+" * 120 + "1" + "}" * 120, "9" * 1_000_000,
    "{" * 1_000_000,
]


def patient(task, pairs, harmless, **limits):
    "Grades under the shortest limit in which this machine, as busy as it is, judges the harmless ones."
    for seconds in (1.5, 6, 24):
        grades = grade_pairs(task, pairs, workers=2, seconds=seconds, **limits)
        if ERROR not in {grades[i].verdict for i in harmless}: break
    return grades


def test_hostile_answers_cost_only_their_own_verdict(math500):
    question = next(q for q in math500.all_questions if q.gold == "4")
    pairs = []
    for i, text in enumerate(HOSTILE):
        pairs += [
            (question, rf"attempt {i}: \boxed{{2^2+{i}-{i}}}"), (question, rf"\boxed{{{text}}}"),
            (question, rf"\boxed{{{i}+5}}"),
        ]
    grades = patient(math500, pairs, [i for i in range(len(pairs)) if i % 3 != 1])
    assert [grade.verdict for grade in grades[::3]] == [RIGHT] * len(HOSTILE)
    assert [grade.verdict for grade in grades[2::3]] == [WRONG] * len(HOSTILE)
    assert RIGHT not in {grade.verdict for grade in grades[1::3]}
    assert {grade.verdict for grade in grades[1:9:3]} == {ERROR} and {grade.verdict for grade in grades[-5::3]} == {
        UNPARSED
    }
    assert grades[1] == Grade(ERROR, answer=HOSTILE[0])


def test_every_way_of_dying_is_an_error_of_its_own_and_order_is_kept(tmp_path):
    trap, words = trap_task.Trap(), [f"w{i}" for i in range(60)]
    for place, word in zip((0, 7, 23, 24, 59), trap_task.TRAPS): words[place] = word
    pairs = [(trap_task.question(word if i % 2 else "other"), word) for i, word in enumerate(words)]
    harmless = [i for i, word in enumerate(words) if word not in trap_task.TRAPS]
    grades = patient(trap, pairs, harmless, memory_mb=256)
    expected = [ERROR if word in trap_task.TRAPS else RIGHT if i % 2 else WRONG for i, word in enumerate(words)]
    assert [grade.verdict for grade in grades] == expected
    assert verdict_counts(grades)[ERROR] == 5


def test_the_same_work_is_done_once(tmp_path):
    trap = trap_task.Trap(log=tmp_path / "calls")
    pairs = [(trap_task.question(gold), word) for _ in range(5) for gold in "ab" for word in ("a", "b", "c")]
    grades = grade_pairs(trap, pairs, workers=2)
    assert sorted((tmp_path / "calls").read_text().split()) == sorted("abcabc")
    assert [grade.verdict for grade in grades] == [RIGHT, WRONG, WRONG, WRONG, RIGHT, WRONG] * 5


def test_one_answer_in_many_responses_is_one_piece_of_work(math500):
    question = math500.all_questions[3]
    texts = [
        rf"Attempt {i}: \boxed{{{spelling}}}"
        for i in range(20)
        for spelling in (r"(3, \frac{\pi}{2})", r"\left( 3, \dfrac{\pi}{2} \right)", "3")
    ]
    assert len(distinct_work(math500, [(question, text) for text in texts])[0]) == 2
    assert verdict_counts(grade_pairs(math500, [(question, text) for text in texts])) == dict(
        right=40, wrong=20, unparsed=0, error=0
    )


def test_a_trusted_task_is_graded_here():
    trap, calls = trap_task.Trap(), []
    trap.untrusted, trap.grade = False, lambda question, completion: calls.append(completion) or Grade(RIGHT)
    assert len(grade_pairs(trap, [(trap_task.question("a"), word) for word in "abab"])) == 4 and calls == ["a", "b"]


def test_workers_that_cannot_start_are_an_exception_and_not_a_verdict():
    with pytest.raises(RuntimeError, match="the grading workers of task 'trap' do not start"):
        grade_pairs(trap_task.Stillborn(), [(trap_task.question("a"), "a")])


def test_a_pool_that_breaks_is_replaced_but_not_for_ever(monkeypatch):
    real, words = grading.drain, [str(i) for i in range(40)]
    def broken(pool, ledger, limits):
        monkeypatch.setattr(grading, "drain", real)
        ledger.record(ledger.waiting.popleft(), [Grade(RIGHT, "early")])
        raise BrokenProcessPool("lost")
    monkeypatch.setattr(grading, "drain", broken)
    grades = grade_pairs(trap_task.Trap(), [(trap_task.question(word), word) for word in words])
    assert [grade.answer for grade in grades] == ["early", *words[1:]]
    def hopeless(*arguments): raise BrokenProcessPool("lost")
    monkeypatch.setattr(grading, "drain", hopeless)
    with pytest.raises(RuntimeError, match="grading of task 'trap' stands still"):
        grade_pairs(trap_task.Trap(), [(trap_task.question("a"), "a")])


@pytest.mark.parametrize("limit", [dict(workers=0), dict(seconds=0), dict(memory_mb=-1)])
def test_limits_are_checked(math500, limit):
    assert "must be above 0" in one_line(lambda: grade_pairs(math500, [(math500.all_questions[0], "x")], **limit))


SCRIPT = """
import trap_task
from rlvd_nb.tasks.grading import grade_pairs
print("go", flush=True)
quick = [(trap_task.question(str(i)), "x") for i in range(2000)]
grade_pairs(trap_task.Trap(), [(trap_task.question("a"), "sleep")] + quick, seconds=50)
"""


def test_ctrl_c_ends_it_and_leaves_nobody_behind(tmp_path):
    script = tmp_path / "unguarded.py" # without `if __name__ == "__main__"`, which must not matter
    script.write_text(SCRIPT)
    env = os.environ | dict(PYTHONPATH=os.pathsep.join([str(ROOT / "tests"), str(ROOT)]))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        start_new_session=True,
    )
    assert process.stdout.readline() == "go\n"
    time.sleep(2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10) # returns when the last worker has closed its end
    assert errors.rstrip().endswith("KeyboardInterrupt") and process.returncode != 0


# Bad files

@pytest.mark.parametrize("content, message", [
    ("", "has no questions"), ("\n\n", "has no questions"),
    (json.dumps(row(1)) + "\n" + json.dumps(row(2))[:50], "line 2: no valid JSON"),
    ("[1, 2]\n", "line 1: a row must be an object"),
    (json.dumps({k: v for k, v in row(1).items() if k != "answer"}), "line 1: no column 'answer'; a row has problem"),
    (json.dumps(row(1, answer=4)), "column 'answer' must be text, not int"),
    (json.dumps(row(1, problem=" ")), "column 'problem' is empty"),
    ("\n".join([json.dumps(row(1))] * 2), "'test/algebra/1.json' stands there 2 times"),
])
def test_a_bad_file_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / FILE
    path.write_text(content)
    assert message in one_line(lambda: task(path=path))


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    assert "line 1: no UTF-8 text" in one_line(lambda: task(path=tmp_path / "bytes"))
    assert "is a directory" in one_line(lambda: task(path=tmp_path))
    monkeypatch.setenv("RLVD_DATA", str(tmp_path))
    assert "no such file" in one_line(task)
    monkeypatch.setenv("RLVD_DATA", str(tmp_path / "nowhere"))
    assert "which is not a folder" in one_line(task)


def test_the_hub(monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.delenv("RLVD_DATA", raising=False)
    def unreachable(*arguments, **options): raise ConnectionError("Couldn't reach the Hub")
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    assert (
        one_line(task)
        == "cannot fetch HuggingFaceH4/MATH-500 (ConnectionError); set RLVD_DATA to a folder with math500.jsonl, or,"
        " in Python, pass path="
    )
    class Table(list):
        info = SimpleNamespace(
            download_checksums={
                "hf://datasets/HuggingFaceH4/MATH-500@ff5b20257d8185524591543f8ff5993951537bb8/test.jsonl": {}
            }
        )
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *arguments, **options: Table([row(1), row(2, level="Level 5")])
    )
    fetched = task()
    assert (
        fetched.source()["revision"] == "ff5b20257d8185524591543f8ff5993951537bb8"
        and fetched.all_questions[1].difficulty == "level 5"
    )


def test_options(tmp_path):
    path = write(tmp_path / FILE, [row(1)])
    assert task(path=path).max_tokens == 1024 and task(path=path, max_tokens=9).max_tokens == 9
    assert "no option 'paths'" in one_line(lambda: task(paths=path))
    assert task(path=path).source() == task(path=str(path)).source()


# The real questions

def test_the_five_hundred(data, monkeypatch):
    monkeypatch.setenv("RLVD_DATA", str(data))
    real = load_task("math500", train=True)
    start = time.monotonic()
    train, test = real.questions("train"), real.questions("test")
    assert time.monotonic() - start < 20
    assert check_golds(real, real.all_questions)[1] == [] and len(train) + len(test) == 500 and 80 <= len(train) <= 120
    check_disjoint(train, test)
    assert {q.difficulty for q in test} == {f"level {i}" for i in range(1, 6)} and real.source()["sha256"]
    every = load_task("math500")
    assert {q.id for q in every.questions("test")} == {q.id for q in train + test} and every.apart == ""
    assert real.apart == f"math500: {len(test)} of 500 questions are tested, the others are for training"
