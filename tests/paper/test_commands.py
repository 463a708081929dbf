"""Files of one's own through the real command line: real problems, verdicts known beforehand, bad input of any kind."""
import gzip, json, os, re, sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from conftest import command
from rlvd_nb.core.errors import UserError
from rlvd_nb.core.tables import KINDS, as_text, read_rows, read_table, write_rows
from rlvd_nb.tasks.base import VERDICTS, load_task
from rlvd_nb.tasks.grading import distinct_work
from rlvd_nb.stats.estimators import pass_at_k
from rlvd_nb.paper.commands import passk_file, sample_file
from rlvd_nb.paper.compare import compare_files
from rlvd_nb.paper import commands as files, report as paper

ANSWERS = {  # of MATH-500's problems: what is boxed, and the verdict that it must get
    "test/precalculus/807.json": dict(
        right=[r"(3,\frac{\pi}{2})", r"\left(3, \dfrac{\pi}{2}\right)", r"(3,\pi/2)", r" (3, \tfrac{\pi}2) "],
        wrong=[r"(3,\pi)", r"(\frac{\pi}{2},3)", "3"],
    ),
    "test/algebra/2584.json": dict(
        right=[r"\frac{14}{3}", r"\dfrac{14}{3}", "14/3", r"\frac{28}{6}", r"4\frac{2}{3}"],
        wrong=[r"\frac{3}{14}", "14", "4.67"],
    ),
    "test/algebra/1349.json": dict(right=[r"\text{Evelyn}", "Evelyn", r"\textbf{Evelyn}"], wrong=[r"\text{Carla}"]),
    "test/precalculus/927.json": dict(right=[r"90^\circ", "90", "90.0"], wrong=["45", r"180^\circ"]),
    "test/precalculus/990.json": dict(right=["6-5i", "-5i + 6"], wrong=["6+5i", "6"]),
    "test/intermediate_algebra/1388.json": dict(right=["1,-2", "-2, 1"], wrong=["1", "1,2"]),
    "test/number_theory/864.json": dict(right=["52_8", "52_{8}", "52"], wrong=["52_5", "42"]),
}
UNBOXED = ["the answer is 7", r"so \boxed{", "", r"\boxed{}", r"\boxed{?}"]


@pytest.fixture(scope="module")
def problems(data):
    "Real records by id."
    records = map(json.loads, (data / "math500.jsonl").read_text().split("\n")[:-1])
    return {record["unique_id"]: record for record in records}


@pytest.fixture(scope="module")
def responses(problems):
    "Rows in a mixed order, each with the verdict that it must get."
    rows = []
    for name, by_verdict in ANSWERS.items():
        texts = [
            (v, f"Let us see.\u2028First \\boxed{{1234}}, no: $\\boxed{{{a}}}$.")
            for v, answers in by_verdict.items()
            for a in answers
        ]
        texts += [("unparsed", text) for text in UNBOXED]
        rows += [
            dict(
                question=name, gold=problems[name]["answer"], response=text, expected=v,
                info=dict(level=problems[name]["level"]),
            )
            for v, text in texts
        ]
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[i] | dict(number=int(n)) for n, i in enumerate(order)]


FEW = [dict(question_id=f"q{i % 3}", verdict="right") for i in range(6)]


@pytest.mark.parametrize("arguments, message", [
    (["passk", "few.jsonl", "--metric", "em"], "few.jsonl: no metrics in it to choose 'em' from; leave --metric out"),
    (["compare", "few.jsonl", "few.jsonl", "--metric", "em"], "no metrics in it to choose 'em' from"),
    (["passk", "few.jsonl", "-o", "table.parquet"], "the table is written as CSV; give a name such as table.csv"),
    (["passk", "few.jsonl", "-o", "table.json"], "the table is written as CSV; give a name such as table.csv"),
    (["passk", "few.jsonl", "-o", "table.xlsx"], "the table is written as CSV; give a name such as table.csv"),
    (["section", "01,03"], "rlvd section runs one; rlvd paper --only 01,03 runs several"),
    (["evidence", "record", "--replicates", "0-99999999999"], "numbers go from 0 to 9999"),
    (["passk", "huge.jsonl"], "n is 1000000000000; at most 1,000,000 samples a question are read"),
    (["compare", "few.jsonl", "few.jsonl", "-o", "few.jsonl"], "few.jsonl is a file; give a folder"),
    (["compare", "few.jsonl", "few.jsonl", "-o", "/dev/null"], "/dev/null is a file; give a folder"),
    (["passk", "x" * 300 + ".jsonl"], ": file name too long"),
])
def test_what_a_file_or_an_option_cannot_be(rlvd_here, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "few.jsonl", FEW)
    write_rows(tmp_path / "huge.jsonl", [dict(question=name, n=10**12, correct=1) for name in "abc"])
    code, out, err = rlvd_here(*arguments)
    assert code == 2 and message in err and err.startswith("rlvd: ") and err.count("\n") == 1 and not out, err
    assert len(list(tmp_path.iterdir())) == 2


def verdicts(path): return [row["verdict"] for row in read_rows(path)]


# Grading

def test_verdicts_known_beforehand(rlvd, tmp_path, responses):
    "The real command in a process of its own; order and columns are kept."
    done = rlvd("grade", write_rows(tmp_path / "mine.jsonl", responses), "--out", tmp_path / "new" / "graded.jsonl")
    assert (
        done.returncode == 0 and f"{len(responses)} responses: " in done.stdout and "0 error" in done.stdout
    ), done.stderr
    graded = read_rows(tmp_path / "new" / "graded.jsonl")
    assert not [row for row in graded if row["verdict"] != row["expected"]]
    assert [{name: row[name] for name in responses[0]} for row in graded] == responses
    assert {row["grader"] for row in graded} == {"math500 3"} and all(
        (row["answer"] is None) == (row["response"] in UNBOXED[:-1]) for row in graded
    )


@pytest.mark.parametrize("source, kind", list(zip(KINDS, [*KINDS[1:], KINDS[0]])))
def test_every_kind_of_file_gives_the_same(rlvd_here, tmp_path, responses, source, kind):
    few = responses[:12]
    assert rlvd_here("grade", write_rows(tmp_path / f"mine{source}", few), "--out", tmp_path / f"graded{kind}")[0] == 0
    graded = read_rows(tmp_path / f"graded{kind}")
    assert [row["verdict"] for row in graded] == [row["expected"] for row in few] and [
        {name: row[name] for name in few[0]} for row in graded
    ] == few


def test_a_graded_file_can_be_graded_again(rlvd_here, tmp_path, responses):
    first = tmp_path / "first.jsonl"
    rlvd_here("grade", write_rows(tmp_path / "mine.jsonl", responses[:8]), "--out", first)
    before = first.read_bytes()
    assert rlvd_here("grade", first, "--out", first, "--force")[0] == 0 and first.read_bytes() == before


def test_each_pair_of_gold_and_answer_is_judged_once(tmp_path, rlvd_here, monkeypatch):
    judged, real = [], files.grade_pairs
    def counted(task, pairs, **more):
        judged.append(len(distinct_work(task, pairs)[0]))
        return real(task, pairs, **more)
    monkeypatch.setattr(files, "grade_pairs", counted)
    rows = [dict(question=f"q{i}", gold="7", response=f"{i}. \\boxed{{{i % 3}}}") for i in range(60)]
    assert rlvd_here("grade", write_rows(tmp_path / "a.jsonl", rows), "--out", tmp_path / "b.jsonl")[
        0
    ] == 0 and judged == [3]


def test_two_tasks_in_one_file(rlvd_here, tmp_path, responses):
    kinship = load_task("kinship")
    asked = kinship.questions("test")[:3]
    own = [
        dict(question_id=q.id, task="kinship", response=text, expected=v)
        for q in asked
        for v, text in (("right", f" {q.gold}"), ("unparsed", ""))
    ]
    own += [
        dict(
            question=asked[0].prompt, gold=asked[0].gold, task="kinship", response=f" {asked[0].gold}", expected="right"
        )
    ]
    mixed = [
        row
        for pair in zip(responses, own)
        for row in (pair[0] | dict(task=["math500", None][len(pair[1]) % 2]), pair[1])
    ]
    code, out, err = rlvd_here(
        "grade", write_rows(tmp_path / "mixed.jsonl", mixed), "--out", tmp_path / "graded.parquet"
    )
    graded = read_rows(tmp_path / "graded.parquet")
    assert code == 0 and [row["verdict"] for row in graded] == [row["expected"] for row in mixed], err
    assert [row["grader"] for row in graded] == ["math500 3", "kinship 1"] * len(own)


def test_a_gold_that_cannot_be_read_is_no_models_fault(rlvd_here, tmp_path):
    rows = [dict(question="odd", gold=r"\text{}", response=r"\boxed{3}")] * 2 + [
        dict(question=q, gold=7, response=rf"\boxed{{{i}}}") for q in "ab" for i in (7, 8)
    ]
    code, out, _ = rlvd_here("grade", write_rows(tmp_path / "a.jsonl", rows), "--out", tmp_path / "b.jsonl")
    assert (
        code == 0
        and verdicts(tmp_path / "b.jsonl") == ["error", "error", "right", "wrong", "right", "wrong"]
        and r"'\\text{}' is judged unparsed; verdict error for its 2" in out
    )
    code, out, _ = rlvd_here("passk", tmp_path / "b.jsonl", "--out", tmp_path / "k.csv")
    assert code == 0 and "2 of 6 responses have the verdict error (questions odd)" in out
    row = pd.read_csv(tmp_path / "k.csv").set_index("measure").loc["accuracy"]
    assert (row["value"], row["left_out"], row["if_right"]) == pytest.approx((1 / 3, 1 / 2, 2 / 3), abs=1e-5)


def test_hostile_text_goes_through(rlvd_here, tmp_path):
    texts = [
        "\ud800 \\boxed{7}", "\u2028\\boxed{7}", "\x00\\boxed{7}", "\\boxed{" * 2000 + "7", "\\boxed{7}" + "{" * 5000,
    ]
    (tmp_path / "a.jsonl").write_text(
        "\r\n".join(json.dumps(dict(question="q", gold="7", response=text, logprob=float("nan"))) for text in texts),
        encoding="utf-8-sig", newline="",
    )
    assert rlvd_here("grade", tmp_path / "a.jsonl", "--out", tmp_path / "b.jsonl")[0] == 0
    graded = read_rows(tmp_path / "b.jsonl")
    assert (
        [row["response"] for row in graded] == texts
        and [row["verdict"] for row in graded] == ["right"] * 3 + ["unparsed", "right"]
        and graded[0]["logprob"] is None
    )
    code, _, err = rlvd_here("grade", tmp_path / "a.jsonl", "--out", tmp_path / "b.parquet")
    assert code == 2 and "Parquet cannot hold these rows" in err and not (tmp_path / "b.parquet").exists()


# Bad input

GOOD = [dict(question=f"q{i}", gold="7", response=r"\boxed{7}") for i in range(3)]
BAD_ROWS = [
    ([row | dict(gold=None) for row in GOOD], "row 1: gold is missing"),
    ([GOOD[0], dict(question="q", response="7")], "row 2: gold is missing"),
    ([row | dict(gold=" ") for row in GOOD], "row 1: gold is empty"),
    ([row | dict(gold=["7"]) for row in GOOD], "row 1: gold must be text, not list"),
    ([row | dict(gold=float("inf")) for row in GOOD], "row 1: gold is inf, no number"),
    ([*GOOD, GOOD[0] | dict(response=None)], "row 4: response is missing"),
    ([row | dict(response=True) for row in GOOD], "row 1: response must be text, not bool"),
    ([dict(question="q", response="7")], "no column 'gold'; there are: question, response"),
    ([dict(gold="7", response="7")], "no column 'question' or 'question_id'; there are: gold, response"),
    ([dict(question="q", gold="7", completion="7")], "no column 'response'; there are: question, gold, completion"),
    ([], "no samples in it"),
    ([["q"]], "line 1: a row must be an object, not list"),
    ([row | dict(answer="7") for row in GOOD], "column 'answer' would be overwritten; rename it"),
    ([*GOOD, GOOD[0] | dict(task="chess")], "unknown task 'chess'; there are:"),
    ([*GOOD, GOOD[0] | dict(task="kinship")], "row 4: task 'kinship' has no question 'q0'"),
    ([row | dict(task=3) for row in GOOD], "unknown task '3'"),
]


def refused(result, message):
    code, out, err = result
    return code == 2 and message in err and err.startswith("rlvd: ") and err.count("\n") == 1 and not out


@pytest.mark.parametrize("rows, message", BAD_ROWS, ids=[message[:40] for _, message in BAD_ROWS])
def test_bad_rows_are_one_line_and_nothing_is_written(rlvd_here, store, tmp_path, rows, message):
    (tmp_path / "bad.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert refused(rlvd_here("grade", tmp_path / "bad.jsonl", "--out", tmp_path / "new" / "x.jsonl"), message)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]


BAD_FILES = [
    (
        "x.jsonl", b'{"question": "q", "gold": "7", "response": "7"}\n\n{"question": "q", "gol\n',
        "x.jsonl line 3: no valid JSON",
    ),
    ("x.jsonl", None, "no such file"),
    ("x.jsonl", b"", "no samples in it"),
    ("x.txt", b"a", "unknown kind of file '.txt'; there are: .jsonl, .parquet, .jsonl.gz"),
    ("x.parquet", b"nonsense", "no readable Parquet file"),
    ("x.jsonl.gz", b"{}", "no whole gzip file"),
    ("x.jsonl.gz", gzip.compress(b'{"question": "q"}\n' * 99)[:-9], "no whole gzip file"),
    ("x.jsonl", b"\xff\xfe", "no UTF-8 text"),
    ("x.jsonl", b"[" * 100_000, "line 1: no valid JSON"),
]


@pytest.mark.parametrize("name, content, message", BAD_FILES, ids=[message[-30:] for *_, message in BAD_FILES])
def test_bad_files_are_one_line_and_nothing_is_written(rlvd_here, tmp_path, name, content, message):
    if content is not None: (tmp_path / name).write_bytes(content)
    assert refused(rlvd_here("grade", tmp_path / name, "--out", tmp_path / "new.jsonl"), message)
    assert refused(rlvd_here("passk", tmp_path / name, "--out", tmp_path / "new.csv"), message)
    assert {path.name for path in tmp_path.iterdir()} <= {name}


@pytest.mark.parametrize("arguments, message", [
    (["--out", "there.jsonl"], "there.jsonl is there already; give another file, or --force to replace it"),
    (["--out", "good.jsonl"], "is there already"), (["--out", "."], "unknown kind of file ''"),
    (["--out", "x.jsonl/"], "is a folder"), (["--out", "x.txt"], "unknown kind of file '.txt'"),
    (["--out", "there.jsonl/x.jsonl"], "is no folder that can be written to"),
    (["--out", "new.jsonl", "--task", "chess"], "unknown task 'chess'; there are:"),
    (["--out", "new.jsonl", "--task", "no.such.module"], "unknown task 'no.such.module'"), ([], "Missing option"),
    (["--out", "new.jsonl", "--tsak", "x"], "No such option")])
def test_bad_options(rlvd_here, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "good.jsonl", GOOD)
    (tmp_path / "there.jsonl").write_text("mine")
    (tmp_path / "x.jsonl").mkdir()
    assert refused(rlvd_here("grade", "good.jsonl", *arguments), message)
    assert (
        sorted(path.name for path in tmp_path.iterdir()) == ["good.jsonl", "there.jsonl", "x.jsonl"]
        and (tmp_path / "there.jsonl").read_text() == "mine"
    )


def test_bad_input_in_a_process_of_its_own(rlvd, tmp_path):
    done = rlvd("grade", tmp_path / "none.jsonl", "--out", tmp_path / "x.jsonl")
    assert (
        done.returncode == 2
        and done.stderr == f"rlvd: {tmp_path}/none.jsonl: no such file\n"
        and not list(tmp_path.iterdir())
    )


def test_interrupted_grading_writes_nothing(rlvd_here, tmp_path, monkeypatch):
    def stopped(*_, **__): raise KeyboardInterrupt
    monkeypatch.setattr(files, "grade_pairs", stopped)
    assert rlvd_here("grade", write_rows(tmp_path / "a.jsonl", GOOD), "--out", tmp_path / "b.jsonl")[0] == 130
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


# pass@k

def counted(counts, n=4, **more):
    "Samples with so many right ones a question."
    return [
        dict(question_id=f"q{i}", verdict="right" if j < right else "wrong") | more
        for i, right in enumerate(counts)
        for j in range(n)
    ]


def test_pass_at_k_by_hand(rlvd_here, tmp_path):
    code, out, _ = rlvd_here(
        "passk", write_rows(tmp_path / "a.jsonl", counted([0, 1, 2, 4])), "--k", "2,1,4", "--out", tmp_path / "k.csv"
    )
    table = pd.read_csv(tmp_path / "k.csv").set_index("measure")
    assert (
        code == 0
        and list(table.index) == ["accuracy", "pass@1", "pass@2", "pass@4"]
        and (table["questions"] == 4).all()
        and (table["samples"] == 4).all()
    )
    assert np.allclose(table["value"], [7 / 16, 7 / 16, (0 + 1 / 2 + 5 / 6 + 1) / 4, 3 / 4], atol=1e-6)
    assert (
        (table["low"] <= table["value"]).all()
        and (table["value"] <= table["high"]).all()
        and "pass@2" in out
        and "0.583 [" in out
    )


@pytest.mark.parametrize("name, yes, no", [("right", True, False), ("correct", 1, 0)])
def test_true_and_false_are_enough(tmp_path, name, yes, no):
    rows = [
        dict(question=row["question_id"], **{name: yes if row["verdict"] == "right" else no})
        for row in counted([0, 1, 2, 4])
    ]
    expected = passk_file(write_rows(tmp_path / "a.jsonl", counted([0, 1, 2, 4])))[0]
    for kind in KINDS: assert passk_file(write_rows(tmp_path / f"b{kind}", rows))[0].equals(expected)


def test_unequal_numbers_of_samples_and_models(tmp_path):
    rows = (
        counted([1, 2], n=3, model="a")
        + [dict(question_id="q2", verdict="right", model="a")] * 5
        + counted([0, 1, 2], n=4, model="b")
    )
    table, _ = passk_file(write_rows(tmp_path / "a.parquet", rows), "1,3")
    a = table[(table["model"] == "a")].set_index("measure")
    assert np.isclose(a.loc["pass@3", "value"], np.mean([pass_at_k(3, 1, 3), pass_at_k(3, 2, 3), 1])) and set(
        a["samples"]
    ) == {"3 to 5"}
    assert np.isclose(a.loc["accuracy", "value"], (1 / 3 + 2 / 3 + 1) / 3) and list(dict.fromkeys(table["model"])) == [
        "a",
        "b",
    ]


def test_the_majority_where_there_are_answers(tmp_path):
    answers = dict(q0="7 7 3 4", q1="7 3 3 4", q2="7 3 7 3")
    rows = [
        dict(question=name, gold="7", answer=a, verdict="right" if a == "7" else "wrong")
        for name, text in answers.items()
        for a in text.split()
    ]
    table = passk_file(write_rows(tmp_path / "a.jsonl", rows))[0].set_index("measure")
    assert np.isclose(table.loc["maj@4", "value"], (1 + 0 + .5) / 3)
    uneven = passk_file(write_rows(tmp_path / "b.jsonl", [*rows, rows[0]]))[0].set_index("measure")
    assert np.isclose(uneven.loc["maj@n", "value"], (1 + 0 + .5) / 3)
    lacking = passk_file(
        write_rows(tmp_path / "c.jsonl", [row | dict(answer=None) if row["answer"] == "4" else row for row in rows])
    )[0]
    assert not lacking["measure"].str.startswith("maj").any()


def passk(path, *arguments): return passk_file(path, *arguments)[0].set_index("measure")


@pytest.mark.parametrize("counts", [[0, 0, 0], [4, 4], [2, 2, 2], [0, 1, 2, 4, 3, 0, 1], [0] * 30 + [1], [4] * 300])
def test_accuracy_and_pass_at_1_are_one_quantity_with_one_interval(tmp_path, counts):
    table = passk(write_rows(tmp_path / "a.jsonl", counted(counts)))
    one = table.loc[["accuracy", "pass@1"], ["value", "low", "high"]].to_numpy()
    assert np.allclose(*one, rtol=1e-12, atol=0)
    ends = table[["low", "value", "high", "band_low", "band_high"]]
    assert ((ends.fillna(0) >= 0) & (ends.fillna(1) <= 1)).all(axis=None)
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"]) & (table["low"] < table["high"])).all()
    curve = table[table.index.str.startswith("pass")]
    assert ((curve["band_low"] <= curve["low"] + 1e-9) & (curve["high"] <= curve["band_high"] + 1e-9)).all()


# Errors

def failing(rows, *places): return [row | dict(verdict="error") if i in places else row for i, row in enumerate(rows)]


def test_an_error_counts_as_not_right_and_its_bounds_are_told(rlvd_here, tmp_path):
    "Leaving its question out would make 0.750 of it."
    path = write_rows(tmp_path / "a.jsonl", failing(counted([1, 2, 4]), 3))
    code, out, _ = rlvd_here("passk", path, "--k", "1,2", "--out", tmp_path / "k.csv")
    assert code == 0 and "0.583 [" in out and "0.750" not in out
    assert "1 of 12 responses have the verdict error (questions q0)" in out
    table = pd.read_csv(tmp_path / "k.csv").set_index("measure")
    for name in ("accuracy", "pass@1"):
        row = table.loc[name]
        assert row["value"] == pytest.approx(7 / 12, abs=1e-6)
        assert (row["left_out"], row["if_right"]) == pytest.approx(((1 / 3 + 1 / 2 + 1) / 3, 8 / 12), abs=1e-5)
    pairs = [pass_at_k(*each, 2) for each in ((3, 1), (4, 2), (4, 4))]
    assert table.loc["pass@2", "left_out"] == pytest.approx(np.mean(pairs), abs=1e-5)
    whole = passk(write_rows(tmp_path / "b.jsonl", counted([1, 2, 4])), "1,2")
    assert np.allclose(table["value"], whole["value"], atol=1e-5) and np.allclose(table["low"], whole["low"], atol=1e-5)
    best = passk(write_rows(tmp_path / "c.jsonl", counted([2, 2, 4])), "1,2")
    for name, wanted in (("if_right", "value"), ("high", "high")):
        assert np.allclose(table[name], best[wanted], atol=1e-5)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=9), st.integers(0, 10**6))
def test_the_truth_lies_between_value_and_if_right(tmp_path_factory, counts, seed):
    "Whatever the verdicts would have been that the machine failed to give."
    folder, rng = tmp_path_factory.mktemp("errors"), np.random.default_rng(seed)
    rows = counted(counts)
    lost = failing(rows, *rng.choice(len(rows), rng.integers(1, len(rows)), replace=False))
    true, found = passk(write_rows(folder / "t.jsonl", rows)), passk(write_rows(folder / "l.jsonl", lost))
    assert ((found["value"] <= true["value"] + 1e-9) & (true["value"] <= found["if_right"] + 1e-9)).all()
    assert ((found["low"] <= found["value"]) & (found["if_right"] <= found["high"]) & (found["high"] <= 1)).all()


def test_errors_of_one_model_leave_the_others_alone(tmp_path):
    a, b = counted([1, 2, 4], model="a"), counted([0, 2, 3], model="b")
    before = passk_file(write_rows(tmp_path / "a.jsonl", a + b))[0]
    table, notes = passk_file(write_rows(tmp_path / "b.jsonl", a + failing(b, 0, 1, 6)))
    assert table["value"].equals(before["value"]) and len(notes) == 1 and notes[0].startswith("b: 3 of 12 responses")
    same = table["model"] == "a"
    for end in ("low", "high"): assert table.loc[same, end].equals(before.loc[same, end])
    assert table.loc[same, ["left_out", "if_right"]].isna().all(axis=None)


def test_an_error_votes_for_nobody_and_may_have_voted_right(tmp_path):
    answers = dict(q0="7 7 3", q1="3 3 7", q2="7 3 3")
    rows = [dict(question_id=name, gold=7, answer=int(a), verdict="right" if a == "7" else "wrong")
            for name, text in answers.items() for a in text.split()]
    lost = [row | dict(verdict="error", answer=None) if i in (4, 8) else row for i, row in enumerate(rows)]
    row = passk(write_rows(tmp_path / "a.jsonl", lost)).loc["maj@3"]
    assert (row["value"], row["if_right"]) == pytest.approx(((1 + 1 / 2 + 1 / 2) / 3, 1))


# Responses that were cut off

@pytest.mark.parametrize("column, yes, no", [
    ("finished", False, True), ("finish_reason", "length", "stop"), ("finish_reason", "MAX_TOKENS", "STOP"),
    ("finish_reason", "max_tokens", "end_turn")])
@pytest.mark.parametrize("cut, warns", [(0, False), (1, False), (2, False), (3, True), (20, True)])
def test_truncation_is_told_by_passk(rlvd_here, tmp_path, column, yes, no, cut, warns):
    rows = [row | {column: yes if i < cut else no} for i, row in enumerate(counted([0, 1, 2, 3, 4]))]
    code, out, _ = rlvd_here("passk", write_rows(tmp_path / "a.jsonl", rows))
    assert code == 0 and f"{cut} of 20 responses ({5 * cut:.1f} %) were cut off, the others ended by themselves" in out
    assert ("warning: more than 10 % of the responses were cut off; give them more tokens" in out) == warns


# Numbers in tables

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gold, response, verdict", [
    (7, "7", "right"), (7, "8", "wrong"), (52, "52", "right"), (12345678901234567, "12345678901234567", "right"),
    (7.5, "7.5", "right"), (7.0, "7", "right"), ("007", "7", "right")])
def test_a_gold_that_is_a_number_stays_what_it_was(rlvd_here, tmp_path, kind, gold, response, verdict):
    "One row has no question_id and no level, so that pandas would make floats of both columns."
    rows = [dict(question="q0", question_id=10, level=3, gold=gold, response=rf"\boxed{{{response}}}"),
            dict(question="q1", question_id=None, level=None, gold=gold, response=rf"\boxed{{{response}}}")]
    source, out = write_rows(tmp_path / f"mine{kind}", rows), tmp_path / f"graded{kind}"
    assert rlvd_here("grade", source, "--out", out)[0] == 0 and verdicts(out) == [verdict] * 2
    graded = read_rows(out)
    assert [row["gold"] for row in graded] == [gold] * 2 and type(graded[0]["gold"]) is type(gold)
    assert [(row["question_id"], row["level"]) for row in graded] == [(10, 3), (None, None)]
    assert [type(row["level"]) for row in graded] == [int, type(None)]
    table = read_table(out)
    assert table["level"].tolist() == [3, None] and table["gold"].map(as_text).tolist() == [as_text(gold)] * 2


def test_a_task_knows_its_questions_by_number_too(rlvd_here, tmp_path):
    trap = write_rows(tmp_path / "a.jsonl", [dict(question_id=7, gold="x", response="y", task="kinship")])
    code, _, err = rlvd_here("grade", trap, "--out", tmp_path / "b.jsonl")
    assert code == 2 and "task 'kinship' has no question '7'" in err


BAD_COUNTS = [
    (counted([0, 1, 2]) + counted([1], n=2, more=1), ["--k", "8"], "k is 8, but question 'q1' has 4 samples"),
    (counted([0, 1, 2])[:-2], ["--k", "4"], "k is 4, but question 'q2' has 2 samples; take k of at most 2"),
    (counted([0, 1]), ["--k", "1,two"], "--k takes whole numbers"),
    (counted([0, 1]), ["--k", "0"], "k must be 1 or more, not 0"),
    (counted([0, 1]), ["--k", ""], "--k takes whole numbers"),
    (counted([3]), [], "a.jsonl: 1 question; at least 2 are needed"),
    ([row | dict(verdict="error") for row in counted([1, 1])], [], "none of 8 responses could be graded"),
    (
        counted([1, 2], model="a") + counted([1, 1], model="b", verdict="error"), [],
        "a.jsonl, model 'b': none of 8 responses could be graded",
    ),
    (counted([0, 1], finished="yes"), [], "sample 1 has the finished 'yes'; it must be true, false or missing"),
    (counted([0, 1], verdict="yes"), [], "sample 1 has the verdict 'yes'"),
    ([dict(question="q")], [], "no column 'verdict', 'right' or 'correct'; there are: question"),
    ([dict(question="q", right="yes")], [], "sample 1: right is 'yes'; it must be true or false"),
    ([dict(question="q", correct=None)], [], "sample 1: correct is None"),
    ([dict(verdict="right")], [], "no column 'question_id'"),
    (counted([0, 1], model="a") + counted([1, 1], model=None), [], "sample 9 has no model"),
    (counted([0, 1]), ["--out", "a.jsonl"], "a.jsonl: the table is written as CSV; give a name such as a.csv"),
]


@pytest.mark.parametrize("rows, arguments, message", BAD_COUNTS, ids=[message[:40] for *_, message in BAD_COUNTS])
def test_bad_samples_are_one_line(rlvd_here, tmp_path, monkeypatch, rows, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "a.jsonl", rows)
    assert refused(rlvd_here("passk", "a.jsonl", *arguments), message) and [
        path.name for path in tmp_path.iterdir()
    ] == ["a.jsonl"]


# Sampling

def test_sampled_files_are_read_by_everything(rlvd_here, tmp_path, tiny_qwen2, data, monkeypatch):
    monkeypatch.setenv("RLVD_DATA", str(data))
    same = [
        "sample", "--model", tiny_qwen2, "--task", "math500", "--questions", 3, "--samples", 4, "--max-tokens", 12,
        "--temperature", 0.9, "--top-p", 0.95,
    ]
    assert (
        rlvd_here(*same, "--out", tmp_path / "a.jsonl")[0] == 0
        and rlvd_here(*same, "--seed", 1, "--out", tmp_path / "b.parquet")[0] == 0
    )
    rows, asked = read_rows(tmp_path / "a.jsonl"), load_task("math500").questions("test")[:3]
    assert [(row["question_id"], row["sample_index"]) for row in rows] == [(q.id, i) for q in asked for i in range(4)]
    assert (
        rows[4]["question"] == asked[1].prompt
        and rows[4]["gold"] == asked[1].gold
        and {row["grader"] for row in rows} == {"math500 3"}
        and {row["seed"] for row in rows} == {0}
    )
    assert rlvd_here("grade", tmp_path / "b.parquet", "--out", tmp_path / "c.jsonl")[0] == 0 and verdicts(
        tmp_path / "c.jsonl"
    ) == verdicts(tmp_path / "b.parquet")
    assert rlvd_here("passk", tmp_path / "a.jsonl", "--k", "1,4")[0] == 0
    assert compare_files(tmp_path / "a.jsonl", tmp_path / "b.parquet", tmp_path / "out")["n"] == 4
    assert [row["response"] for row in rows] != read_table(tmp_path / "b.parquet")["response"].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_commands_compose(rlvd_here, tmp_path, tiny_qwen2, data, monkeypatch, kind):
    "What one command writes, every other one reads, whatever kind of file it is."
    monkeypatch.setenv("RLVD_DATA", str(data))
    at = lambda name: tmp_path / f"{name}{kind}"
    ask = ["sample", "--model", tiny_qwen2, "--task", "math500", "--questions", 3, "--samples", 2, "--max-tokens", 8]
    rate = lambda name, out: rlvd_here("quality", at(name), "--model", tiny_qwen2, "--out", at(out))
    for seed in (0, 1): assert rlvd_here(*ask, "--seed", seed, "--out", at(f"drawn{seed}"))[0] == 0
    assert rate("drawn0", "rated")[0] == 0
    assert rlvd_here("grade", at("rated"), "--out", at("graded"))[0] == 0
    assert rlvd_here("grade", at("drawn1"), "--out", at("again"))[0] == 0 and rate("again", "rated again")[0] == 0
    rows = read_rows(at("graded"))
    assert {"tokens", "student_tokens", "student_surprisal", "finished", "verdict"} <= set(rows[0])
    assert [row["tokens"] for row in rows] == [row["tokens"] for row in read_rows(at("drawn0"))]
    for name in ("drawn0", "rated", "graded", "rated again"): assert rlvd_here("passk", at(name))[0] == 0
    for a, b in (("drawn0", "drawn1"), ("rated", "again"), ("graded", "rated again")):
        code, out, err = rlvd_here("compare", at(a), at(b), "--out", tmp_path / f"{a} {b}")
        assert code == 0 and "cut off: " in out, err


def test_sampling_ends_with_what_came_of_it(rlvd_here, tmp_path, tiny_qwen2, data, monkeypatch):
    monkeypatch.setenv("RLVD_DATA", str(data))
    ask = ["sample", "--model", tiny_qwen2, "--task", "math500", "--questions", 3, "--samples", 4, "--max-tokens", 12]
    code, out, _ = rlvd_here(*ask, "--out", tmp_path / "a.jsonl")
    rows = read_rows(tmp_path / "a.jsonl")
    count = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    cut = sum(not row["finished"] for row in rows)
    said = out.splitlines()
    assert code == 0 and f"12 responses to 3 questions are in {tmp_path / 'a.jsonl'}" in said
    assert f"accuracy {count['right'] / 12:.3f} [" in out and cut > 1
    assert "verdicts: " + ", ".join(f"{number} {verdict}" for verdict, number in count.items()) in said
    assert re.fullmatch(r"mean length \d+\.\d of at most 12 tokens", said[-1])
    assert said[-3:-1] == [
        f"{cut} of 12 responses ({100 * cut / 12:.1f} %) were cut off, the others ended by themselves",
        "warning: more than 10 % of the responses were cut off; give them more tokens"]


@pytest.fixture
def without_torch(tmp_path):
    "A folder that hides torch and transformers from a process that has it on its path, as on a machine without them."
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("""from importlib.machinery import PathFinder
there = PathFinder.find_spec
missing = lambda name: name.split(".")[0] in ("torch", "transformers")
PathFinder.find_spec = staticmethod(lambda name, *rest: None if missing(name) else there(name, *rest))
""")
    return dict(PYTHONPATH=os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize("arguments", [
    ["sample", "--model", "m", "--task", "math500", "--out", "x.jsonl"],
    ["quality", "a.jsonl", "--model", "m", "--out", "x.jsonl"]], ids=["sample", "quality"])
def test_without_torch_it_is_one_line(rlvd, tmp_path, without_torch, arguments):
    write_rows(tmp_path / "a.jsonl", [dict(question="2 + 2?", response="4")])
    done = rlvd(*arguments, cwd=tmp_path, **without_torch)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith("rlvd: ") and done.stderr.endswith('pip install ".[train]"\n')
    assert not (tmp_path / "x.jsonl").exists()


def test_without_torch_files_are_still_graded_and_compared(rlvd, tmp_path, without_torch):
    files = [write_rows(tmp_path / f"{name}.jsonl", counted(counts)) for name, counts in (("a", [1, 2]), ("b", [2, 2]))]
    assert rlvd("passk", files[0], **without_torch).returncode == 0
    assert rlvd("compare", *files, "--out", tmp_path / "out2", **without_torch).returncode == 0


def test_a_lost_file_is_written_again_without_sampling(tmp_path, store, tiny_qwen2, data, monkeypatch):
    monkeypatch.setenv("RLVD_DATA", str(data))
    arguments = (str(tiny_qwen2), "math500", tmp_path / "a.jsonl")
    sample_file(*arguments, samples=2, questions=2, max_tokens=6)
    before = (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(UserError, match="is there already"):
        sample_file(*arguments, samples=2, questions=2, max_tokens=6)
    parts = set(store.rglob("*.parquet"))
    (tmp_path / "a.jsonl").unlink()
    sample_file(*arguments, samples=2, questions=2, max_tokens=6)
    assert (tmp_path / "a.jsonl").read_bytes() == before and set(store.rglob("*.parquet")) == parts


@pytest.mark.parametrize("changed, message", [
    (["--task", "chess"], "unknown task 'chess'"), (["--out", "x.csv"], "unknown kind of file '.csv'"),
    (["--samples", "0"], "n must be 1 or more"), (["--split", "dev"], "splits train and test, not 'dev'"),
    (["--questions", "501"], "501 test questions asked for"),
    (["--questions", "-1"], "questions must be 0 (all) or more"),
    (["--temperature", "nan"], "temperature must be 0 or more, not nan"),
    (["--model", "./none"], "neither a local folder"),
    (["--temperature", "-1"], "temperature must be 0 or more"), (["--top-p", "0"], "top_p must be above 0"),
    (["--max-tokens", "-3"], "max_tokens must be 1 or more"), (["--template", "rhyme"], "unknown template 'rhyme'"),
    (["--stop", ""], "--stop takes a text that is not empty, such as 'Question:'"),
    (["--model", ""], "model is empty; give a folder"), (["--samples", "many"], "Invalid value")])
def test_bad_sampling_is_one_line(rlvd_here, store, tmp_path, tiny_qwen2, data, monkeypatch, changed, message):
    monkeypatch.setenv("RLVD_DATA", str(data))
    monkeypatch.chdir(tmp_path)
    given = {"--model": tiny_qwen2, "--task": "math500", "--questions": 2, "--samples": 2, "--max-tokens": 4,
             "--out": "x.jsonl"} | dict([changed])
    code, out, err = rlvd_here("sample", *(word for pair in given.items() for word in pair))
    assert (
        code == 2
        and message in err
        and err.startswith("rlvd: ")
        and err.count("\n") == 1
        and not out
        and not (tmp_path / "x.jsonl").exists()
    )
    assert not store.exists()


def test_quality_of_a_file_of_responses(rlvd_here, tmp_path, responses, capsys):
    "Indicators under a real byte-level checkpoint: rows in their order, log-probabilities as transformers gives them."
    import torch
    from tiny_checkpoint import make
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = make(tmp_path / "student")
    rows = [row | dict(question=f"What is {i % 3}?") for i, row in enumerate(responses[:7] + responses[:2])]
    code, out, err = rlvd_here(
        "quality", write_rows(tmp_path / "mine.jsonl", rows), "--model", model, "--out", tmp_path / "quality.parquet"
    )
    assert code == 0 and "9 responses with student_tokens" in out and "surprisal" in out, err
    found = read_rows(tmp_path / "quality.parquet")
    assert [row["number"] for row in found] == [row["number"] for row in rows]
    tokenizer, student = (
        AutoTokenizer.from_pretrained(model),
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval(),
    )
    prompt, said = (
        tokenizer(text, add_special_tokens=False).input_ids for text in (rows[3]["question"], rows[3]["response"])
    )
    ids = torch.tensor([prompt + said + [tokenizer.eos_token_id]])
    with torch.inference_mode(): logprobs = student(ids).logits[0].log_softmax(-1)
    places, tokens = range(len(prompt) - 1, ids.shape[1] - 1), ids[0, len(prompt):]
    chosen = torch.stack([logprobs[place, token] for place, token in zip(places, tokens)])
    ranks = torch.tensor(
        [min(100, 1 + int((logprobs[place] > logprobs[place, token]).sum())) for place, token in zip(places, tokens)]
    )
    assert found[3]["student_tokens"] == len(tokens)
    assert np.isclose(found[3]["student_surprisal"], -chosen.mean(), atol=1e-4)
    assert np.isclose(found[3]["student_rank_surprisal"], ranks.sum() / -chosen.sum(), rtol=1e-3)
    capsys.readouterr()  # transformers' own bar
    assert refused(
        rlvd_here("quality", tmp_path / "quality.parquet", "--model", model, "--out", tmp_path / "again.jsonl"),
        "would be overwritten",
    )


@pytest.mark.parametrize("arguments, message", [
    (["mine.jsonl", "--model", "/no/such/model", "--out", "x.jsonl"], "/no/such/model"),
    (["mine.jsonl", "--model", "student", "--out", "x.txt"], "unknown kind of file"),
    (["none.jsonl", "--model", "student", "--out", "x.jsonl"], "none.jsonl: no such file"),
    (["bare.jsonl", "--model", "student", "--out", "x.jsonl"], "no column 'question'"),
    (["long.jsonl", "--model", "student", "--out", "x.jsonl"], "do not fit")])
def test_bad_input_of_quality_is_one_line(rlvd_here, tmp_path, monkeypatch, capsys, arguments, message):
    from tiny_checkpoint import make
    make(tmp_path / "student")
    write_rows(tmp_path / "mine.jsonl", [dict(question="2 + 2?", response="4")])
    write_rows(tmp_path / "bare.jsonl", [dict(response="4")])
    write_rows(tmp_path / "long.jsonl", [dict(question="2 + 2?", response="4 " * 5000)])
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()  # transformers' own bar
    assert refused(rlvd_here("quality", *arguments), message)
    assert not (tmp_path / "x.jsonl").exists()
