"""HumanEval+: which program a response holds, right golds, wrong cheats, files that say what is wrong with them."""
import gzip, json, os, subprocess, sys, time

import pytest
from hypothesis import given, settings, strategies as st

from conftest import DATA, ROOT
from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import ERROR, RIGHT, UNPARSED, WRONG, check_disjoint, load_task
from rlvd_nb.tasks.grading import check_golds, grade_pairs, run_ons, verdict_counts
from rlvd_nb.tasks.humaneval_plus import (
    LONGEST, TRAIN, HumanEvalPlus, blocks, code_end, defines, load_rows, parts, program, split_of,
)
from rlvd_nb.tasks import humaneval_plus

PROBLEM = (
    'from typing import List\n\ndef helper(x): return x + 1\n\n\ndef add(xs: List[int]) -> int:\n    """ Add them.\n   '
    ' >>> add([1, 2])\n    3\n    """\n'
)
PLUS = (
    "import numpy as np\n\ndef assertion(out, exp, atol):\n    if out != exp: np.testing.assert_allclose(out, exp,"
    " atol=1e-6)\n\ndef check(candidate):\n    inputs = [[[i, 1.5]] for i in range(300)]\n    results = [i + 1.5 for i"
    " in range(300)]\n    for i, (inp, exp) in enumerate(zip(inputs, results)):\n        assertion(candidate(*inp),"
    " exp, 0)\n"
)


def row(number=0, **changes):
    return (
        dict(
            task_id=f"HumanEval/{number}", prompt=PROMPT, entry_point="add", canonical_solution="    return sum(xs)\n",
            test=PLUS,
        )
        | changes
    )


PROMPT = PROBLEM


def write(path, rows):
    text = "".join(json.dumps(each) + "\n" for each in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def one_line(call):
    "The message of the UserError that `call` raises, which is one line."
    with pytest.raises(UserError) as caught: call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("humaneval") / "few.jsonl.gz", [row(i) for i in range(4)])
    return load_task("humaneval_plus", path=path, seconds=1)


# The program in a response

BLOCK = "```python\n{}\n```"
GOOD = "def add(xs): return sum(xs)"
HOLDS = [
    BLOCK.format(GOOD), "```\n" + GOOD + "\n```", "```py\n" + GOOD, "Sure!\n" + BLOCK.format(GOOD) + "\nDone. " * 3,
    BLOCK.format("def add(xs): return 0") + "\nNo:\n" + BLOCK.format(GOOD),
    BLOCK.format(GOOD) + "\nUse it:\n" + BLOCK.format("print(add([1]))"),
    BLOCK.format(GOOD) + "\n```sh\npython add.py\n```", BLOCK.format("add = lambda xs: sum(xs)"),
    BLOCK.format("add = sum"), BLOCK.format("def add(xs: List[int]): return helper(sum(xs)) - 1"),
    BLOCK.format("from __future__ import annotations\n" + GOOD), BLOCK.format("    return sum(xs)"),
    "  ```python\n" + GOOD + "\n  ```",
    "<think>\n" + BLOCK.format("def add(xs): return 1") + "\n</think>\n" + BLOCK.format(GOOD),
    "```python\r\n" + GOOD.replace("\n", "\r\n") + "\r\n```", GOOD,
    "Here it is:\n\nimport math\n" + GOOD + "\n\nThis adds them.", PROBLEM + "    return sum(xs)\n",
    "from what I see, it is\n\n" + GOOD, "x = 1\n# so\n@staticmethod\n" + GOOD, "    return sum(xs)\n",
    "\n\n    return sum(xs)", "    return sum(xs)\n\n\ndef other():\n    pass", "    return sum(xs)\nclass A:",
    "    return sum(xs)\nif __name__ == '__main__':\n    add(", "    return sum(xs)\nprint(add([1",
    "    return sum(xs)\n\nThis adds them.",
    "    # add\n\n    total = 0\n    for x in xs:\n        total += x\n    return total\n",
    "    return sum(xs)\n\ndef add(xs): return 0",
]
LONG = "def add(xs):\n    total = 0\n\n    for x in xs:\n        total += x\n    return total"
DOCUMENTED = LONG.replace("total = 0", '"""Add.\n    ```python\n    add([1])\n    ```\n    """\n    total = 0')
IN_LIST = lambda code: code.replace("\n", "\n   ")
FENCED = {
    "a lone closing fence": f"{LONG}\n```",
    "and prose": f"{LONG}\n```\nThis adds them.",
    "and an example": f"{LONG}\n```\nUse it:\n```python\nprint(add([1]))\n```",
    "and an example without a tag": f"{LONG}\n```\nUse it:\n```\nprint(add([1]))\n```\n",
    "and prose before": f"Here it is:\n\n{LONG}\n```\n",
    "a lone closing fence of a body": "    return sum(xs)\n```\n\nThis adds them.",
    "tildes at the end": f"{LONG}\n~~~",
    "in a list": IN_LIST(f"1. So:\n\n```python\n{LONG}\n```") + "\n2. Done.",
    "on a list's line": "- " + f"```python\n{LONG}\n```".replace("\n", "\n  "),
    "in a list in a list": "1. So\n    * " + f"```python\n{LONG}\n```".replace("\n", "\n      "),
    "indented by tabs": "* So:\n\t" + f"```python\n{LONG}\n```".replace("\n", "\n\t"),
    "a body in a list": IN_LIST("1. So:\n```python\n    return sum(xs)\n```"),
    "a fence in, its code not": f"  ```python\n{LONG}\n  ```",
    "code in, its fence not": "```python\n    " + LONG.replace("\n", "\n    ") + "\n```",
    "tildes": f"~~~python\n{LONG}\n~~~",
    "four": f"````python\n# ```\n{LONG}\n````\n",
    "four that close three": f"```python\n{LONG}\n````\nprint(",
    "capitals": f"```Python\n{LONG}\n```",
    "a space": f"``` python3\n{LONG}\n```",
    "an attribute": f'```python title="add.py" {{1,2}}\n{LONG}\n```',
    "only an attribute": f'```title="add.py"\n{LONG}\n```',
    "braces": f"```{{.python .numberLines}}\n{LONG}\n```",
    "a file": f"```python:add.py\n{LONG}\n```",
    "never closed": f"So:\n```python\n{LONG}\n",
    "never closed, then another": f"```python\nimport math\n```python\n{LONG}\n```",
    "never closed, without a tag": f"So:\n```\n{LONG}",
    "the second of three": f"```python\nimport math\n```\n```python\n{LONG}\n```\n```python\nadd([1])\n```",
    "the last of two": f"```python\ndef add(xs): return 0\n```\nBetter:\n~~~\n{LONG}\n~~~",
    "after a command": f"```sh\npip install numpy\n```\n{LONG}",
    "a docstring with fences": f"```python\n{DOCUMENTED}\n```",
    "in a list, a docstring with fences": IN_LIST(f"1. So:\n```python\n{DOCUMENTED}\n```"),
    "ends of lines": f"- So:\n  ```python\n{LONG}\n  ```\n".replace("\n", "\r\n"),
}
HOLDS_NONE = [
    "", " ", "\n", "The sum.", "return sum(xs)", BLOCK.format("def add(xs)\n  return 1"),
    BLOCK.format("def sub(xs): return 1"), BLOCK.format("def add(xs):\n    return (sum("),
    BLOCK.format("class S:\n    def add(self, xs): return sum(xs)"), "```java\nint add(int[] xs) { return 0; }\n```\n",
    "\treturn sum(xs)", BLOCK.format(""), "    return (sum(", "def add(", BLOCK.format(GOOD + "\n#" + "x" * LONGEST),
    "def add(xs): pass\0", f"```text\n{GOOD}\n```", "```ruby\ndef add(xs)\n  xs.sum\nend\n```",
    "Call ```add(xs)``` with a list.", "```", "```\n```", "~~~\n\n~~~",
]


@pytest.mark.parametrize("text", HOLDS + list(FENCED.values()), ids=[*range(len(HOLDS)), *FENCED])
def test_program_is_found(text):
    space = {}
    exec(program(PROBLEM, "add", text), space)
    assert space["add"]([1, 2, 4]) == 7


def test_parts():
    assert parts("a\n```py\nb\n\n```\nc") == [(None, "a"), ("py", "b\n"), (None, "c")]
    assert parts("1. a\n   ```\n   b\n    c\n```\n") == [(None, "1. a"), ("", "b\n c"), (None, "")]
    assert parts("```\n~~~\n````\nx") == [(None, ""), ("", "~~~"), (None, "x")]
    assert parts("````\n```\n````") == [(None, ""), ("", "```"), (None, "")]
    assert parts("``` a`b\n") == [(None, "``` a`b\n")]


@pytest.mark.parametrize("number", range(len(HOLDS_NONE)))
def test_no_program_is_found(number): assert program(PROBLEM, "add", HOLDS_NONE[number]) is None


BAD = "def add(xs): return 0"
NEXT = "\n\nQuestion: And now?\n"
MORE = [BLOCK.format(BAD), BAD, "    return 0\n", "Nothing.", f"{BAD}\n```", f"```python\n{BAD}"]
MARKS = ["<|im_end|>", "<|im_end|>\n", "<|endoftext|>", "</s>\n", "<end_of_turn>\n<start_of_turn>user\n"]
OWN = {  # what is a part of the response, whatever it looks like
    "a comment": BLOCK.format(f"{BAD}\n# Problem 2: negatives\n{GOOD}"),
    "a heading of its own": f"Problem 1: sums.\nQuestion: how?\n{BLOCK.format(GOOD)}",
    "a helper first": BLOCK.format("def sub(xs): return 0") + "\n\n## Problem 2\n" + BLOCK.format(GOOD),
    "in a docstring": BLOCK.format(f'{BAD}\ndef add(xs):\n    """\nQuestion: what?\n"""\n    return sum(xs)'),
    "a variable": "    t = 0\n    Q: int = 1\n    return sum(xs)\n",
    "thoughts": f"<think>{BLOCK.format(BAD)}\nQuestion: right?\nNo.</think>\n{BLOCK.format(GOOD)}",
    "its own turn": f"<|im_start|>assistant\n{BLOCK.format(GOOD)}",
}


def cut(text): return text[:code_end(PROBLEM, "add", text)]


def judged(text): return (program(PROBLEM, "add", cut(text)) or "").rstrip()


@pytest.mark.parametrize("behind", [*MARKS, NEXT, "\n## Problem 2.\n", "\nUser: Thanks! And 0?\n"])
def test_what_follows_the_end_changes_nothing(behind):
    for text in (*HOLDS, *FENCED.values()):
        if "#" in behind and parts(text)[-1][0] is not None: continue # a comment of the block that is open
        for more in MORE: assert judged(text + behind + more) == judged(text) != ""
    if behind in MARKS: assert not any(judged(f"The sum.{behind}{more}") for more in MORE)


@pytest.mark.parametrize("name", OWN)
def test_what_looks_like_the_end_and_is_none(name):
    assert cut(OWN[name]) == OWN[name]
    space = {}
    exec(program(PROBLEM, "add", OWN[name]), space)
    assert space["add"]([1, 2, 4]) == 7


STRUNG = [BLOCK.format(GOOD), BAD, NEXT, "<|im_end|>", "so\n", "```python\n", "# Q1:\n"]


@given(st.lists(st.sampled_from(STRUNG), max_size=7))
def test_the_same_key_is_the_same_program(pieces):
    text = "\n".join(pieces)
    for other in (f"Well.\n{text}", f"{text}</s>{BAD}"):
        if HumanEvalPlus.key(None, other) == HumanEvalPlus.key(None, text):
            assert judged(other) == judged(text)


def test_a_run_on_is_judged_as_what_was_asked(few):
    question = few.all_questions[0]
    texts = [BLOCK.format(GOOD) + NEXT + BLOCK.format(BAD), BLOCK.format(BAD) + NEXT + BLOCK.format(GOOD)]
    grades = grade_pairs(few, [(question, text) for text in texts], workers=1)
    assert [grade.verdict for grade in grades] == [RIGHT, WRONG]
    assert run_ons(few, [(question, text) for text in (*texts, BLOCK.format(GOOD))]) == 2


PIECES = [
    "```python\n", "```\n", "~~~ py\n", "  ```\n", "- ", "def add(xs):\n", "    return 1\n", "text\n", "(", "'''",
    "\\", "\0", "import x\n", "  ", "@", "\ud800",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_text_gives_a_program_that_defines_or_none(text):
    found = program(PROBLEM, "add", text)
    assert found is None or defines(found, "add")


DEEP = [
    "(" * 40_000, "-" * 40_000 + "1", "x" + ".a" * 20_000, "[" * 150 + "]" * 150, "`" * 40_000, "```\n" * 10_000,
    "1+" * 20_000 + "1", "def add(xs):\n" + " " * 40_000, "- " * 20_000, "1" * 40_000 + "```",
    "```" + "a" * 40_000 + " =", "Question: a\n" * 3_000, "Question: a\n" * 40_000,
]


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_deep_text_does_not_end_the_process(text):
    begun = time.process_time()
    found = program(PROBLEM, "add", cut(text))
    assert (found is None or defines(found, "add")) and time.process_time() - begun < 5


@given(st.text("`p\n y", max_size=30), st.text("ab \n", max_size=10))
def test_what_is_said_around_blocks_is_not_work(before, after):
    text = before.replace("```", "") + "\n" + BLOCK.format(GOOD) + "\n" + after
    assert HumanEvalPlus.key(None, text) == HumanEvalPlus.key(None, BLOCK.format(GOOD))


# The verdict

ANY = """
class Any(float):
    __eq__ = lambda *a: True
    __ne__ = lambda *a: False
    __sub__ = lambda *a: 0
def add(xs): return Any()
"""
CHEATS = {
    "import os\nos._exit(0)\n" + GOOD.replace("sum(xs)", "0"): "ended before its checks did",
    "def add(xs): raise SystemExit(0)": "SystemExit",
    "def add(xs): return 0": "fails a check",
    "def add(xs): return None": "fails a check",
    ANY: "fails a check",
    "def check(c): pass\nassertion = check\ndef add(xs): return 0": "fails a check",
    "def add(xs):\n    while True: pass": "timeout",
    "def add(xs): return bytearray(10 ** 10)": "memory",
    "import os\ndef add(xs):\n    while True: os.fork()": "PermissionError",
    "import socket\ndef add(xs): return socket.socket()": "PermissionError",
    "def add(xs): open('/etc/passwd', 'w')": "OSError",
    "import os\ndef add(xs): return os.environ['HOME']": "KeyError",
    "def add(xs): return 1 / 0": "ZeroDivisionError",
    "import builtins\nbuiltins.AssertionError = builtins.zip = lambda *a: []\ndef add(xs): return 0": "fails a check",
    "import numpy as np\nnp.testing.assert_allclose = lambda *a, **k: None\ndef add(xs): return 0": "fails a check",
}


def test_verdicts_in_the_pool(few):
    "Programs that do harm, beside right ones, in the workers' limits: each has its own verdict, none is an error."
    question = few.all_questions[0]
    texts = [
        BLOCK.format(GOOD), *map(BLOCK.format, CHEATS),
        BLOCK.format("import numpy as np\ndef add(xs): return np.sum(xs)"), "The sum.", "    return sum(xs)\n",
    ]
    grades = grade_pairs(few, [(question, text) for text in texts], workers=1)
    assert [grade.verdict for grade in grades] == [RIGHT, *[WRONG] * len(CHEATS), RIGHT, UNPARSED, RIGHT]
    assert [grade.answer for grade in grades][1:-3] == list(CHEATS.values())


def test_tests_of_humaneval_plus(few):
    assert (
        few.source()["tests"] == "HumanEval+"
        and few.grade(few.all_questions[0], few.gold_response(few.all_questions[0])).verdict == RIGHT
    )
    assert (
        few.grade(few.all_questions[0], BLOCK.format("def add(xs): return sum(xs) + (xs[0] == 299)")).verdict == WRONG
    )


def test_a_sandbox_that_fails_is_an_error(few, monkeypatch):
    def broken(*_, **__): raise humaneval_plus.UserError("gone")
    monkeypatch.setattr(humaneval_plus, "run_python", broken)
    monkeypatch.setattr(HumanEvalPlus, "untrusted", False)
    assert grade_pairs(few, [(few.all_questions[0], BLOCK.format(GOOD))])[0].verdict == ERROR


def test_a_pool_gives_long_judgements_their_time(few):
    "The task's own time, not the pool's five seconds."
    assert few.seconds > humaneval_plus.clock(few.run_seconds) > 5
    sleeper = BLOCK.format("import time\ndef add(xs): time.sleep(60)")
    assert grade_pairs(few, [(few.all_questions[0], sleeper)], workers=1, seconds=.1)[0].answer == "timeout"


def test_real_golds_are_right(data):
    "All 164 of HumanEval, some also as bare continuations, and none is right when its body is left out."
    path = data / "HumanEval.jsonl.gz"
    if not path.is_file(): pytest.skip("no HumanEval.jsonl.gz")
    task = load_task("humaneval_plus", path=path)
    kept, left_out = check_golds(task, task.all_questions)
    assert len(kept) == 164 and not left_out
    assert task.source()["tests"] == "HumanEval (weaker than HumanEval+)" and len(task.source()["sha256"]) == 64
    assert (len(task.questions("train")), len(task.questions("test"))) == (50, 114)
    check_disjoint(task.questions("train"), task.questions("test"))
    bare = [(question, task.problems[question.id]["canonical_solution"]) for question in task.all_questions[::8]]
    stubs = [
        (question, BLOCK.format(task.problems[question.id]["prompt"] + "    return None"))
        for question in task.all_questions
    ]
    grades = verdict_counts(grade_pairs(task, bare + stubs))
    assert grades == dict(right=len(bare), wrong=164, unparsed=0, error=0)


# The file

def test_files_that_are_refused(tmp_path, monkeypatch):
    load = lambda name, rows: load_rows(write(tmp_path / name, rows), None)
    assert "no column 'test'; a row has task_id" in one_line(
        lambda: load("a.jsonl", [{k: v for k, v in row().items() if k != "test"}])
    )
    assert "a.jsonl line 2: column 'prompt' must be text, not int" in one_line(
        lambda: load("a.jsonl", [row(), row(1, prompt=3)])
    )
    assert "column 'entry_point' is empty" in one_line(lambda: load("a.jsonl", [row(entry_point=" ")]))
    assert "the prompt does not define 'sub'" in one_line(lambda: load("a.jsonl", [row(entry_point="sub")]))
    assert "the test defines no function 'check'" in one_line(lambda: load("a.jsonl", [row(test="x = 1")]))
    assert "task_id 'HumanEval/0' stands there 2 times" in one_line(lambda: load("a.jsonl", [row(), row()]))
    assert "has no questions" in one_line(lambda: load("a.jsonl", []))
    whole = write(tmp_path / "b.jsonl.gz", [row(i) for i in range(9)]).read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(whole[:-40])
    assert "no whole gzip file" in one_line(lambda: load_rows(tmp_path / "b.jsonl.gz", None))
    (tmp_path / "c.jsonl").write_text(json.dumps(row()) + "\n" + json.dumps(row(1))[:50])
    assert "c.jsonl line 2: no valid JSON" in one_line(lambda: load_rows(tmp_path / "c.jsonl", None))
    assert "no such file" in one_line(lambda: load_rows(tmp_path / "none.jsonl", None))
    monkeypatch.setenv("RLVD_DATA", str(tmp_path))
    assert (
        "HumanEvalPlus.jsonl.gz: no such file; set RLVD_DATA to a folder with HumanEvalPlus.jsonl.gz or"
        " HumanEval.jsonl.gz"
        in one_line(lambda: load_rows(None, None))
    )


def test_the_better_file_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("RLVD_DATA", str(tmp_path))
    write(tmp_path / "HumanEval.jsonl.gz", [row(test="def check(candidate):\n    assert candidate([1]) == 1\n")])
    assert load_rows(None, None)[1]["tests"].startswith("HumanEval (weaker")
    write(tmp_path / "HumanEvalPlus.jsonl.gz", [row()])
    assert load_rows(None, None)[1] | dict(sha256="") == dict(
        tests="HumanEval+", file="HumanEvalPlus.jsonl.gz", sha256=""
    )


def test_options():
    assert "has no option 'files'" in one_line(lambda: load_task("humaneval_plus", files="x"))
    assert "seconds must be a number above 0" in one_line(lambda: load_task("humaneval_plus", seconds="3"))
    assert "max_tokens must be a whole number" in one_line(lambda: load_task("humaneval_plus", max_tokens=0))


def test_without_bubblewrap_the_task_is_refused(tmp_path):
    code = (
        "from rlvd_nb.tasks.base import load_task\n"
        f"load_task('humaneval_plus', path={str(write(tmp_path / 'a.jsonl', [row()]))!r})"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ | dict(PATH="/nowhere")
    )
    last = said.stderr.splitlines()[-1]
    assert said.returncode == 1 and "no program of a model is run: bubblewrap is missing" in last


def test_split_is_for_ever():
    assert len(TRAIN) == 50 and sum(split_of(f"HumanEval/{i}") == "train" for i in range(164)) == 50
    assert split_of("HumanEval/999") == "test" and blocks("") == []
