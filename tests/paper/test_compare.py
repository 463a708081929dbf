"""Two files of graded samples: a case done by hand, every kind of bad input, and a page that stands alone."""
import json, re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from rlvd_nb.core.errors import UserError
from rlvd_nb.core.tables import write_rows
from rlvd_nb.paper import compare
from rlvd_nb.paper.compare import compare_files, compared, golds, read_samples


def rows(counts, n=4, **more):
    "Samples with so many right ones a question."
    return [
        dict(question_id=f"q{i}", sample_index=j, verdict="right" if j < right else "wrong") | more
        for i, right in enumerate(counts)
        for j in range(n)
    ]


def written(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


@pytest.fixture
def write(tmp_path): return lambda name, records: written(tmp_path / name, records)


@pytest.fixture
def no_pictures(monkeypatch):
    "For tests of numbers and sentences: the page has no pictures, which take most of the time."
    monkeypatch.setattr(compare, "_picture", lambda figure, text: text)


@pytest.fixture
def good(write): return write("good.jsonl", rows([0, 1, 2, 4]))


A, B = [0, 0, 0, 1, 2, 4, 4, 3], [1, 2, 0, 0, 4, 4, 4, 3] # two gained, one lost, one never, four kept


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return compare_files(written(folder / "a.jsonl", rows(A)), written(folder / "b.jsonl", rows(B)), folder / "out")


def test_by_hand(made):
    assert {name: made["mcnemar"][name] for name in ("gained", "lost", "kept", "never", "p")} == dict(
        gained=2, lost=1, kept=4, never=1, p=1.0
    )
    by_measure = {row["measure"]: row for row in made["differences"]}
    assert by_measure["accuracy"]["difference"] == pytest.approx((sum(B) - sum(A)) / 32) and set(by_measure) == {
        "accuracy",
        "pass@4",
    }
    assert made["pass_at_k_difference"]["ks"] == [1, 2, 3, 4] and made["pass_at_k_difference"]["value"][
        3
    ] == pytest.approx(1 / 8)
    assert np.sum(made["transitions"]["observed"]) == made["questions"] == 8 and made["n"] == 4
    assert np.isclose(np.sum(made["transitions"]["expected"]), 8)


def test_json_is_what_was_returned(made):
    read = json.loads(Path(made["json"]).read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read == {name: value for name, value in made.items() if name not in ("html", "json")}


def test_the_page_stands_alone(made):
    page = Path(made["html"]).read_text()
    assert (
        not re.findall(r'(?:src|href)="(?!data:)[^"]*"', page)
        and "http" not in page
        and "<script" not in page
        and "@import" not in page
        and "url(" not in page
    )
    assert page.count("data:image/png;base64,") == 4 and "A: a" in page and "2 questions gained, 1 lost" in page


def test_names_are_escaped(write, tmp_path):
    made = compare_files(write("<b>x.jsonl", rows(A)), write("b.jsonl", rows(B)), tmp_path / "out")
    assert "<b>x" not in Path(made["html"]).read_text()


def test_parquet_gives_the_same(tmp_path, made):
    for name, counts in (("a", A), ("b", B)):
        pd.DataFrame(rows(counts)).sample(frac=1, random_state=0).to_parquet(tmp_path / f"{name}.parquet")
    again = compare_files(tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "again")
    assert again["differences"] == made["differences"] and again["transitions"] == made["transitions"]


def test_a_second_run_writes_the_same_bytes(tmp_path, made):
    again = compare_files(made["a"]["file"], made["b"]["file"], tmp_path / "again")
    for kind in ("html", "json"): assert Path(again[kind]).read_bytes() == Path(made[kind]).read_bytes()


def test_answers_and_chains_add_their_measures(write, tmp_path):
    full = lambda counts: [
        row
        | dict(
            answer=row["question_id"] if row["verdict"] == "right" else f"no {row['sample_index']}",
            gold=row["question_id"],
            chain=row["verdict"] == "right",
        )
        for row in rows(counts)
    ]
    made = compare_files(write("a.jsonl", full(A)), write("b.jsonl", full(B)), tmp_path / "out")
    assert [row["measure"] for row in made["differences"]] == ["accuracy", "maj@4", "pass@4", "verified pass@4"]
    assert "guess pass@4" in [row["measure"] for row in made["models"]]


def test_question_without_index_is_enough(write, tmp_path):
    short = lambda counts: [dict(question=row["question_id"], verdict=row["verdict"]) for row in rows(counts)]
    assert (
        compare_files(write("a.jsonl", short(A)), write("b.jsonl", short(B)), tmp_path / "out")["mcnemar"]["gained"]
        == 2
    )


def test_samples_of_two_models_in_one_file_are_no_model(write, tmp_path):
    "They would be pooled without a word."
    two, one = write("two.jsonl", rows([1, 2], model="m1") + rows([0, 4], model="m2")), write("one.jsonl", rows([1, 2]))
    for pair in ((two, one), (one, two)):
        with pytest.raises(UserError, match="two.jsonl has samples of 2 models, 'm1' and 'm2' among them"):
            compare_files(*pair, tmp_path / "out")


def test_the_smallest_comparison(write, tmp_path):
    made = compare_files(write("a.jsonl", rows([0, 1], n=2)), write("b.jsonl", rows([1, 2], n=2)), tmp_path / "out")
    assert (made["questions"], made["n"]) == (2, 2)


@pytest.mark.parametrize("a, b", [
    ([0, 1, 2, 4], [4, 4, 4, 4]), ([0, 0, 0, 0, 4], [4, 4, 4, 4, 0]), ([0] * 30, [0] * 30)])
def test_too_few_questions_or_none_right_are_told_as_such(write, tmp_path, a, b):
    made = compare_files(write("a.jsonl", rows(a)), write("b.jsonl", rows(b)), tmp_path / "out")
    for row in made["differences"]:
        assert [row[name] for name in ("low", "high", "p", "p_holm")] == [None] * 4
        assert row["difference"] is not None
    assert made["said"][0].endswith("points (too few to say)") and "p = " not in made["said"][0]
    assert made["pass_at_k_difference"]["low"] == [None] * 4
    for row in made["by_bin"] + made["transitions"]["rows"]: assert row["p_holm"] is None
    for row in made["models"]: assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1 and row["low"] < row["high"]


# errors

def failing(records, which):
    "The samples with some of them, by their place, as errors."
    return [row | dict(verdict="error") if i in which else row for i, row in enumerate(records)]


C, D = [4, 3, 2, 1, 0, 4, 2, 3, 1, 1], [4, 4, 4, 4, 1, 4, 3, 3, 2, 0]


def by_measure(made, table="differences"): return {row["measure"]: row for row in made[table]}


def test_errors_count_as_not_right_and_bound_the_difference(write, tmp_path):
    a, b = rows(C), rows(D)
    whole = compare_files(write("a.jsonl", a), write("b.jsonl", b), tmp_path / "whole")
    wrong = [i for i, row in enumerate(b) if row["verdict"] == "wrong"][-5:]  # one question's all, and one more
    made = compare_files(write("a.jsonl", a), write("b.jsonl", failing(b, wrong)), tmp_path / "made")
    for name in ("accuracy", "pass@4"):
        found, before = by_measure(made)[name], by_measure(whole)[name]
        assert {key: found[key] for key in before} == before  # failing has gained nothing
        assert found["lowest"] == pytest.approx(found["difference"])
        assert found["highest"] == pytest.approx(found["difference"] + (5 / 40 if name == "accuracy" else 1 / 10))
    assert made["failures"] == [dict(failure="verdict error", a=0, a_of=40, b=5, b_of=40, p=pytest.approx(
        stats.fisher_exact([[0, 40], [5, 35]]).pvalue))]
    assert "from +20.0 points to +32.5 points, whatever the errors were" in made["said"][0]
    assert "verdict error: 0 of 40 of A: a and 5 of 40 of B: b (p = 0.055, Fisher's exact test)" in made["said"]
    assert not any(sentence.startswith("warning") for sentence in made["said"])
    assert "whatever the errors were" in Path(made["html"]).read_text()
    plain = by_measure(whole)["accuracy"]
    assert "lowest" not in plain and "verdict error: none" in whole["said"]


def test_errors_of_the_first_model_move_the_other_end(write, tmp_path):
    a = failing(rows(C), [i for i, row in enumerate(rows(C)) if row["verdict"] == "wrong"][:5])
    made = compare_files(write("a.jsonl", a), write("b.jsonl", rows(D)), tmp_path / "out")
    found = by_measure(made)["accuracy"]
    assert found["highest"] == pytest.approx(found["difference"])
    assert found["lowest"] == pytest.approx(found["difference"] - 5 / 40)
    first = by_measure(made, "models")  # of the second model, which comes last: it has no errors
    assert first["accuracy"]["if_right"] == first["accuracy"]["value"]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("a, b, warns", [(0, 6, True), (6, 0, True), (5, 6, False), (1, 0, False), (8, 8, False)])
def test_a_warning_where_one_model_has_more_errors(write, tmp_path, a, b, warns):
    files = [write(f"{name}.jsonl", failing(rows([0] * 3 + counts), range(errors)))
             for name, counts, errors in (("a", C, a), ("b", D, b))]
    made = compare_files(*files, tmp_path / "out")
    said = [sentence for sentence in made["said"] if sentence.startswith("warning: verdict error: no chance")]
    assert len(said) == warns and made["failures"][0]["p"] == pytest.approx(
        stats.fisher_exact([[a, 52 - a], [b, 52 - b]]).pvalue)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8), st.integers(0, 10**6))
def test_the_truth_lies_between_the_bounds(tmp_path_factory, counts, seed):
    "Whatever the verdicts would have been that the machine failed to give."
    folder, rng = tmp_path_factory.mktemp("bounds"), np.random.default_rng(seed)
    truth = [rows(list(each)) for each in zip(*counts)]
    lost = [failing(each, set(rng.choice(len(each), rng.integers(1, len(each)), replace=False))) for each in truth]
    read = lambda pair: compared([written(folder / f"{i}.jsonl", each) for i, each in enumerate(pair)], "AB")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "compare_counts", lambda *given, **more: None)  # bins and nulls are not asked here
        true, made = (read(pair).set_index("measure") for pair in (truth, lost))
    for name, row in made.iterrows():
        assert row["lowest"] - 1e-9 <= true.loc[name, "difference"] <= row["highest"] + 1e-9
        assert row["lowest"] - 1e-9 <= row["difference"] <= row["highest"] + 1e-9


def test_errors_leave_votes_and_chains_comparable(write, tmp_path):
    full = lambda counts: [row | dict(answer=row["question_id"] if row["verdict"] == "right" else "no",
                                      gold=row["question_id"], chain=row["verdict"] == "right") for row in rows(counts)]
    error = dict(verdict="error", answer=None, chain=None)
    lost = [row | error if i in (3, 7) else row for i, row in enumerate(full(D))]
    made = compare_files(write("a.jsonl", full(C)), write("b.jsonl", lost), tmp_path / "out")
    assert list(by_measure(made)) == ["accuracy", "maj@4", "pass@4", "verified pass@4"]
    for row in made["differences"]: assert row["lowest"] <= row["difference"] <= row["highest"]


# responses that were cut off

@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("column, yes, no", [
    ("finished", False, True), ("finish_reason", "length", "stop"), ("finish_reason", "MAX_TOKENS", "STOP"),
    ("finish_reason", "max_tokens", "end_turn"), ("finish_reason", "model_length", None)])
@pytest.mark.parametrize("every, warns", [(3, True), (20, False)])
def test_truncation_is_told(write, tmp_path, column, yes, no, every, warns):
    a = [row | {column: yes if i % every == 0 else no} for i, row in enumerate(rows(C))]
    made = compare_files(write("a.jsonl", a), write("b.jsonl", rows(D)), tmp_path / "out")
    cut, known = sum(row[column] == yes for row in a), sum(row[column] is not None for row in a)
    assert f"cut off: {cut} of {known} of A: a and 0 of 0 of B: b" in "\n".join(made["said"])
    share = cut / known
    many = "warning: A: a: more than 10 % of the responses were cut off; give them more tokens"
    assert (many in made["said"]) == (share > .1) >= warns


def test_without_such_a_column_nothing_is_said(made):
    assert not any("cut off" in sentence for sentence in made["said"])
    assert [row["failure"] for row in made["failures"]] == ["verdict error"]


# numbers in tables

@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("column", ["gold", "answer", "question_id", "sample_index"])
def test_whole_numbers_with_a_gap_stay_whole(tmp_path, kind, column):
    "A gap makes pandas turn a column of whole numbers into floats; the files must be read as what they hold."
    kinds = ("right", 0), ("right", 0), ("wrong", 99), ("wrong", 99)
    each = [dict(question_id=i, sample_index=j, verdict=verdict, gold=i, answer=i + more)
            for i in range(7) for j, (verdict, more) in enumerate(kinds)]
    if column in ("gold", "answer"): each = [row | ({column: None} if row["verdict"] == "right" and i % 4 == 0 else {})
                                             for i, row in enumerate(each)]
    files = [write_rows(tmp_path / f"{name}.{kind}", each) for name in "ab"]
    floats = pd.DataFrame(each).astype({column: float})  # as another program would have left them
    floats.to_parquet(tmp_path / "floats.parquet")
    table = read_samples(files[0])
    assert table["question_id"].tolist() == [str(i) for i in range(7) for _ in range(4)]
    assert table["sample_index"].tolist() == list(range(4)) * 7
    assert golds(table, read_samples(tmp_path / "floats.parquet")) == {str(i): str(i) for i in range(7)}
    made = [compare_files(files[0], other, tmp_path / f"out{i}") for i, other in
            enumerate((files[1], tmp_path / "floats.parquet"))]
    assert made[0]["differences"] == made[1]["differences"] and made[0]["models"][0] == made[1]["models"][0]
    assert all(row["difference"] == 0 for row in made[0]["differences"]) and "maj@4" in by_measure(made[0])


# nothing is overwritten

def test_a_comparison_is_not_overwritten_unless_asked(good, write, tmp_path):
    other, out = write("other.jsonl", rows([4, 4, 4, 4])), tmp_path / "out"
    first = Path(compare_files(good, good, out)["json"]).read_bytes()
    with pytest.raises(UserError, match="comparison.html is there already; give another folder, or --force"):
        compare_files(good, other, out)
    (out / "comparison.html").unlink()
    with pytest.raises(UserError, match="comparison.json is there already"): compare_files(good, other, out)
    assert (out / "comparison.json").read_bytes() == first and len(list(out.iterdir())) == 1
    compare_files(good, other, out, force=True)
    assert (out / "comparison.json").read_bytes() != first and len(list(out.iterdir())) == 2


def test_the_command_prints_its_tables(rlvd, write, tmp_path):
    files = write("a.jsonl", rows(C)), write("b.jsonl", failing(rows(D), [20, 21]))
    done = rlvd("compare", *files, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for text in ("A: a", "accuracy", "sign flip", "McNemar", "if_right", "lowest", "highest", "p = ",
                 "verdict error: 0 of 40 of A: a and 2 of 40 of B: b", f"the comparison is in {tmp_path / 'out'}"):
        assert text in done.stdout, text
    again = rlvd("compare", *files, "--out", tmp_path / "out")
    assert (again.returncode, again.stdout) == (2, "") and again.stderr.count("\n") == 1
    assert rlvd("compare", *files, "--out", tmp_path / "out", "--force").returncode == 0


RECORDS = [
    (rows([0, 1, 2, 4])[:-1], "unequal n: question 'q3' has 3 samples, 'q.' has 4"),
    (rows([0, 1, 2, 2], n=2), "unequal n: 4 samples a question in .*good.jsonl, 2 in"),
    (rows([0, 1, 2]), "1 questions of the other file are missing: 'q3'"),
    (rows([0, 1, 2, 4, 4]), "good.jsonl: 1 questions of the other file are missing: 'q4'"),
    (rows([0, 1, 1, 1], n=1), "n is 1; at least 2 samples a question are needed"),
    (rows([2]), "1 question; at least 2 are needed"),
    (
        [row | dict(verdict="error") for row in rows([0, 1, 2, 4])],
        "bad.jsonl: none of 16 responses could be graded \\(verdict error\\); grade them again",
    ),
    ([row | dict(sample_index=0.5) for row in rows([0, 1, 2, 4])], "sample_index must be whole numbers"),
    ([row | dict(sample_index=None) for row in rows([0, 1, 2, 4])], "sample_index must be whole numbers"),
    (
        [row | dict(finished="yes") for row in rows([0, 1, 2, 4])],
        "sample 1 has the finished 'yes'; it must be true, false or missing",
    ),
    (
        [row | dict(verdict="correct") for row in rows([0, 1, 2, 4])],
        "sample 1 has the verdict 'correct'; there are: right, wrong, unparsed, error",
    ),
    ([row | dict(verdict=None) for row in rows([0, 1, 2, 4])], "sample 1 has the verdict 'None'"),
    ([row | dict(verdict=["right"]) for row in rows([0, 1, 2, 4])], "sample 1 has the verdict"),
    ([row | dict(question_id=None) for row in rows([0, 1, 2, 4])], "sample 1 has no question"),
    ([row | dict(sample_index=0) for row in rows([0, 1, 2, 4])], "question 'q0' has sample 0 twice"),
    ([row | dict(sample_index="first") for row in rows([0, 1, 2, 4])], "sample_index must be whole numbers"),
    (
        [row | dict(chain="yes") for row in rows([0, 1, 2, 4])],
        "sample 1 has the chain 'yes'; it must be true, false or missing",
    ),
    ([{"question_id": "q0"}], "no column 'verdict', 'right' or 'correct'; there are: question_id"),
    ([{"verdict": "right"}], "no column 'question_id'; there are: verdict"),
    ([], "no samples in it"),
    ([[1, 2]], "line 1: a row must be an object, not list"),
]


@pytest.mark.parametrize("records, message", RECORDS, ids=[message[:40] for _, message in RECORDS])
def test_bad_samples_are_named_in_one_line(good, write, tmp_path, records, message):
    with pytest.raises(UserError, match=message) as error:
        compare_files(good, write("bad.jsonl", records), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_different_graders(write, tmp_path):
    files = [write(f"{name}.jsonl", rows([0, 1, 2, 4], grader=f"v{name}")) for name in "12"]
    with pytest.raises(UserError, match="different graders: 'v1', 'v2'"): compare_files(*files, tmp_path / "out")


def test_different_golds(write, tmp_path):
    files = [write(f"{name}.jsonl", rows([0, 1, 2, 4], gold=name)) for name in "12"]
    with pytest.raises(UserError, match="question 'q.' has different gold answers: '1', '2'"):
        compare_files(*files, tmp_path / "out")


def test_a_broken_line_is_named_by_its_number(tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"question": "q", "verdict": "right"}\n\n{"question": "q", "ver\n')
    with pytest.raises(UserError, match="broken.jsonl line 3: no valid JSON"): read_samples(path)


@pytest.mark.parametrize("name, content, message", [
    ("none.jsonl", None, "no such file"), ("x", b"a", "unknown kind of file ''"),
    ("x.txt", b"a", "unknown kind of file '.txt'; there are: .jsonl, .parquet"), ("x.csv", b"a", "no samples in it"),
    ("x.parquet", b"nonsense", "no readable Parquet file"), ("x.jsonl", b"\xff\xfe", "no UTF-8 text")])
def test_files_that_are_none(tmp_path, name, content, message):
    if content is not None: (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message): read_samples(tmp_path / name)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(UserError, match="x.jsonl is a folder; give a file"): read_samples(tmp_path / "x.jsonl")


def test_out_must_be_a_folder(good, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file; give a folder"): compare_files(good, good, tmp_path / "out")


@pytest.mark.parametrize("weights, seeds, said", [
    ("xx", (0, 0), True), ("xx", (0, 1), False), ("xy", (0, 0), False), ("xx", (None, None), False)])
def test_the_same_draws_are_said(write, tmp_path, no_pictures, weights, seeds, said):
    "`rlvd sample` gives a model the same responses again if it has the same seed, and another model others."
    drawn = [{name: value for name, value in (("weights", each), ("seed", seed)) if seed is not None}
             for each, seed in zip(weights, seeds)]
    files = [write(f"{i}.jsonl", rows(counts, **of)) for i, (counts, of) in enumerate(zip((A, B), drawn))]
    found = compare_files(*files, tmp_path / "out")
    assert any("both files hold draws of one model with seed 0" in each for each in found["said"]) == said
