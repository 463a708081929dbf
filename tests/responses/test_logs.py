"""Logs of other programs, as those programs wrote them, and everything that may be wrong with one.

The files in tests/logs were written by lm-eval 0.4.13, lighteval 0.13.0, inspect-ai 0.3.285 and evalplus 0.3.1, with
models that answer by lot; in inspect_one.json the transcripts were left out."""
import importlib.util, json, re, shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from typer.testing import CliRunner

from rlvd_nb.core.errors import UserError
from rlvd_nb.core.tables import read_rows, write_rows
from rlvd_nb.paper.compare import compare_files
from rlvd_nb.paper.commands import passk_file
from rlvd_nb.paper.report import app
from rlvd_nb.responses.logs import LAYOUTS, inspect_samples, layout_of, open_log, read_log

LOGS = Path(__file__).resolve().parent.parent / "logs"
INSPECT = importlib.util.find_spec("inspect_ai")


def marks(table): return table.groupby("question_id", sort=False)["verdict"].agg(" ".join).to_dict()


# as the programs wrote them

def test_lm_eval_one_response():
    table, notes = read_log(LOGS / "lm_eval_one.jsonl")
    stated = [json.loads(line)["exact_match"] for line in (LOGS / "lm_eval_one.jsonl").read_text().splitlines()]
    assert (table["verdict"] == "right").tolist() == [value == 1 for value in stated] and not notes
    assert set(table["verdict"]) == {"right", "wrong", "unparsed"} or len(table) == 6
    assert table["gold"].tolist() == ["14", "9", "8", "15", "7", "11"]


def test_lm_eval_repeats():
    "A filter that keeps all four responses: its own metric is their mean."
    rows = [json.loads(line) for line in (LOGS / "lm_eval_many.jsonl").read_text().splitlines()]
    table, notes = read_log(LOGS / "lm_eval_many.jsonl", metric="exact_match,all")
    means = table["verdict"].eq("right").groupby(table["question_id"], sort=False).mean()
    assert means.tolist() == [row["exact_match"] for row in rows if row["filter"] == "all"] and not notes
    assert (table["question_id"].value_counts() == 4).all() and "unparsed" in set(table["verdict"])
    first, notes = read_log(LOGS / "lm_eval_many.jsonl", metric="exact_match,first")
    assert len(first) == 6 and "4 responses a question, of which 'exact_match,first' judges 1" in notes[0]


def test_lm_eval_choices():
    table, _ = read_log(LOGS / "lm_eval_choice.jsonl", metric="acc_norm")
    assert len(table) == 6 and "answer" not in table


@pytest.mark.parametrize("metric, hits", [("base", 6), ("plus", 3)])
def test_evalplus(metric, hits):
    table, _ = read_log(LOGS / "evalplus_eval_results.json", metric=metric)
    assert len(table) == 9 and (table["verdict"] == "right").sum() == hits
    found, _ = passk_file(LOGS / "evalplus_eval_results.json", metric=metric)
    assert found.set_index("measure").loc["pass@1", "value"] == pytest.approx(hits / 9)


def test_inspect_without_its_library():
    "The same samples as its library gives, read from its JSON as they stand there."
    log = json.loads((LOGS / "inspect_one.json").read_text(), object_hook=lambda row: SimpleNamespace(**row))
    for sample in log.samples: sample.scores, sample.error = vars(sample.scores), getattr(sample, "error", None)
    table = inspect_samples(log, "inspect_one.json", None)
    assert marks(table)["q0"] == "right wrong wrong" and len(table) == 9
    assert layout_of(open_log(LOGS / "inspect_one.json")) is layout_of(open_log(LOGS / "inspect_one.eval"))
    log.status = "cancelled"
    with pytest.raises(UserError, match="did not end .status cancelled, 9 samples"): inspect_samples(log, "x", None)


@pytest.mark.skipif(not INSPECT, reason="inspect-ai is an extra: pip install \"rlvd_nb[inspect]\"")
def test_inspect_by_its_library():
    assert marks(read_log(LOGS / "inspect_one.eval")[0]) == marks(read_log(LOGS / "inspect_one.json")[0])
    with pytest.raises(UserError, match="several metrics: match, includes"): read_log(LOGS / "inspect_two.eval")
    with pytest.raises(UserError, match="did not end \\(status started"): read_log(LOGS / "inspect_started.eval")


@pytest.mark.skipif(bool(INSPECT), reason="inspect-ai is here")
def test_without_inspect_the_extra_is_named():
    with pytest.raises(UserError, match="is a log of inspect; reading it needs, in a clone of rlvd_nb: pip install"):
        read_log(LOGS / "inspect_one.eval")


def lighteval(path, *metrics, task="words|0"):
    "Details as lighteval writes them: the fields of its Doc and ModelResponse that matter here, and all its metrics."
    rows = [dict(doc=dict(id=str(i), task_name=task, query=f"Q: {i}", choices=["7"], gold_index=0, num_samples=4),
                 metric=metric, model_response=dict(text=["7", "8", "7", "7"])) for i, metric in enumerate(metrics)]
    return write_rows(path, rows)


def test_lighteval_as_it_writes():
    "Four responses to each question: the two metrics of all of them agree, and are what it wrote."
    path = LOGS / "lighteval_details.parquet"
    each = [read_log(path, metric=name) for name in ("avg@n:n=4", "pass@k:k=1&n=4")]
    assert each[0][0].equals(each[1][0]) and not each[0][1]
    stated = [row["metric"]["avg@n:n=4"] for row in read_rows(path)]
    shares = each[0][0]["verdict"].eq("right").groupby(each[0][0]["question_id"], sort=False).mean()
    assert shares.tolist() == stated == [1, .5, .5, .75, .25, .25]
    table, notes = read_log(path, metric="em")
    assert len(table) == 6 and "4 responses a question, of which 'em' gives one verdict" in notes[0]
    with pytest.raises(UserError, match="several metrics: em, avg@n:n=4, pass@k:k=1&n=4"): read_log(path)


def test_lighteval(tmp_path):
    path = lighteval(tmp_path / "details.parquet", {"avg@n:n=4": .75, "em": 1.}, {"avg@n:n=4": 0., "em": 0.})
    table, _ = read_log(path, metric="avg@n:n=4")
    assert marks(table) == {"0": "right right right wrong", "1": "wrong wrong wrong wrong"}
    assert marks(read_log(path, metric="em")[0]) == {"0": "right", "1": "wrong"}
    with pytest.raises(UserError, match="several metrics: avg@n:n=4, em; choose one with --metric"): read_log(path)


# tables of counts

COUNTS = [dict(question=f"q{i}", n=4, correct=c) for i, c in enumerate([0, 1, 2, 4, 4, 3])]


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet", ".json"])
def test_counts_of_every_kind(tmp_path, kind):
    path = tmp_path / f"counts{kind}"
    if kind == ".csv": pd.DataFrame(COUNTS).to_csv(path, index=False)
    elif kind == ".json": path.write_text(json.dumps(COUNTS))
    else: write_rows(path, COUNTS)
    found, _ = passk_file(path)
    assert found.set_index("measure").loc["accuracy", "value"] == pytest.approx(14 / 24)
    assert found.set_index("measure").loc["pass@4", "value"] == pytest.approx(5 / 6)


def test_counts_beside_samples(tmp_path):
    "A table of counts against the samples that it counts: no difference, and no answers to vote by."
    samples = [dict(question=row["question"], correct=i < row["correct"]) for row in COUNTS for i in range(4)]
    files = write_rows(tmp_path / "counts.jsonl", COUNTS), write_rows(tmp_path / "samples.jsonl", samples)
    found = compare_files(*files, tmp_path / "out")
    assert [row["difference"] for row in found["differences"]] == [0, 0]


# what may be wrong

BAD = [
    ([dict(question="q0", n=4, correct=5)], {}, "question 'q0': correct is 5, which is more than n, 4"),
    ([dict(question="q0", n=4, correct=-1)], {}, "question 'q0': correct is -1; it must be a whole number"),
    ([dict(question="q0", n="four", correct=1)], {}, "question 'q0': n is 'four'; it must be a whole number"),
    ([dict(question="q0", n=10**400, correct=1)], {}, "question 'q0': n is 1000000000000000000000000"),
    ([*COUNTS, dict(question="q9", n=4)], {}, "question 'q9': correct is None; it must be a whole number"),
    ([row | dict(model="m" * (i > 0)) for i, row in enumerate(COUNTS)], {}, "sample 1 has no model"),
    (COUNTS + COUNTS[:1], {}, "question 'q0': it stands there twice"),
    ([row | dict(task=f"t{i % 2}") for i, row in enumerate(COUNTS)], {}, "several tasks: t0, t1; choose one with --t"),
    ([row | dict(task="t0") for row in COUNTS], dict(task="t9"), "no task 't9'; there are: t0"),
    (COUNTS, dict(task="t0"), "no column 'task' to choose 't0' by"),
    ([dict(problem="q", score=.5)], {}, "unknown layout, columns: problem, score; known are inspect: "),
    (COUNTS, dict(format="lm-eval"), "is no file of lm-eval (rows with doc_id, resps); it has columns: question, n"),
    (COUNTS, dict(format="helm"), "unknown format 'helm'; there are: auto, inspect, evalplus, lm-eval"),
]


@pytest.mark.parametrize("rows, layout, message", BAD, ids=[message[:40] for *_, message in BAD])
def test_bad_tables_are_one_line(tmp_path, rows, layout, message):
    with pytest.raises(UserError) as error: passk_file(write_rows(tmp_path / "a.jsonl", rows), **layout)
    assert message in str(error.value) and "\n" not in str(error.value)


WRONG_METRIC = [
    ("lm_eval_many.jsonl", {}, "several metrics: exact_match,first, exact_match,all, exact_match,maj; choose one"),
    ("lm_eval_many.jsonl", dict(metric="exact_match"), "several metrics: exact_match,first, exact_match,all"),
    ("lm_eval_one.jsonl", dict(metric="f1"), "no metric 'f1'; there are: exact_match,first"),
    ("lm_eval_choice.jsonl", {}, "several metrics: acc,none, acc_norm,none; choose one with --metric"),
    ("evalplus_eval_results.json", {}, "several metrics: base, plus; choose one with --metric"),
    ("evalplus_eval_results.json", dict(task="x", metric="plus"), "are of one task; leave --task out"),
]


@pytest.mark.parametrize("name, layout, message", WRONG_METRIC, ids=[f"{n[:12]} {m[:30]}" for n, _, m in WRONG_METRIC])
def test_several_metrics_are_named(name, layout, message):
    with pytest.raises(UserError) as error: read_log(LOGS / name, **layout)
    assert message in str(error.value)


@pytest.mark.parametrize("name, message", [
    ("lm_eval_one.jsonl", "line 6: no valid JSON"), ("evalplus_eval_results.json", "no whole JSON file"),
    ("inspect_one.eval", "no whole inspect log; it may be cut off"), ("inspect_one.json", "no whole JSON file")])
def test_a_log_that_was_cut_off(tmp_path, name, message):
    path = tmp_path / name
    path.write_bytes((LOGS / name).read_bytes()[:-40])
    with pytest.raises(UserError, match=message): read_log(path)


SAID = [["72", "72"]]
MANY = dict(doc_id=0, target="so 70 + 2 = 72 #### 72", resps=SAID, filtered_resps=SAID, filter="all")


@pytest.mark.parametrize("row, message", [
    (MANY | dict(exact_match=1.), "is 1.0, and 0 of its 2 answers are its target: the metric compares otherwise"),
    (MANY, "the row of doc_id 0 has no exact_match, which other rows have"),
    (MANY | dict(exact_match=1., resps=[]), "the row of doc_id 0 has no resps, which other rows have"),
])
def test_rows_of_lm_eval_that_do_not_say_what_is_right(tmp_path, row, message):
    other = MANY | dict(doc_id=1, target="72", exact_match=1.)
    path = write_rows(tmp_path / "a.jsonl", [row, other])
    with pytest.raises(UserError, match=re.escape(message)): read_log(path, metric="exact_match")
    table, _ = read_log(write_rows(tmp_path / "b.jsonl", [other]))
    assert table["verdict"].tolist() == ["right", "right"]


def test_a_long_response_in_a_csv_file(tmp_path):
    (tmp_path / "a.csv").write_text("question_id,verdict,response\nq0,right," + 200_000 * "x" + "\n")
    assert len(read_log(tmp_path / "a.csv")[0]["response"][0]) == 200_000


def test_logs_of_two_tasks_in_one_file(tmp_path):
    rows = [json.loads(line) for line in (LOGS / "lm_eval_one.jsonl").read_text().splitlines()]
    path = write_rows(tmp_path / "both.jsonl", rows + [rows[0] | dict(doc_hash="another")])
    with pytest.raises(UserError, match="doc_id 0 stands for two questions; give the log of one task"): read_log(path)


def test_runs_put_together_are_samples(tmp_path):
    rows = [json.loads(line) for line in (LOGS / "lm_eval_one.jsonl").read_text().splitlines()]
    table, _ = read_log(write_rows(tmp_path / "both.jsonl", rows + rows))
    assert len(table) == 12 and (table["question_id"].value_counts() == 2).all()


# questions that only one file has

def rlvd(*arguments):
    "The command line in this process."
    return CliRunner().invoke(app, list(map(str, arguments)), env=dict(COLUMNS="200"))


def test_common_questions(tmp_path):
    more = [row | dict(question=row["question"].replace("q0", "q9")) for row in COUNTS]
    files = write_rows(tmp_path / "a.jsonl", COUNTS), write_rows(tmp_path / "b.jsonl", more)
    with pytest.raises(UserError, match="of the other file are missing: 'q0'; --common takes the 5 that both have"):
        compare_files(*files, tmp_path / "out")
    done = rlvd("compare", *files, "--common", "--out", tmp_path / "out")
    assert done.exit_code == 0 and "compared are the 5 questions that both files have, of 6 of" in done.output
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "compared are the 5 questions that both files have" in page and "5 questions, 4 samples each" in page
    shutil.rmtree(tmp_path / "out")
    none = write_rows(tmp_path / "c.jsonl", [row | dict(question=f"x{i}") for i, row in enumerate(COUNTS)])
    with pytest.raises(UserError, match="have no question in common"):
        compare_files(files[0], none, tmp_path / "out", common=True)
    assert not (tmp_path / "out").exists()


def test_unequal_n(tmp_path):
    files = [write_rows(tmp_path / f"{n}.jsonl", [row | dict(n=n) for row in COUNTS]) for n in (4, 8)]
    with pytest.raises(UserError, match="unequal n: 4 samples a question in .*4.jsonl, 8 in"):
        compare_files(*files, tmp_path / "out")


def test_layouts_are_told_in_the_help():
    for command in ("passk", "compare"):
        said = rlvd(command, "--help").output
        assert all(name in said for name in LAYOUTS) and "--metric" in said and "--task" in said
