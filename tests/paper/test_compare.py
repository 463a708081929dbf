"""Two files of graded samples: a case done by hand, every kind of bad input, and a page that stands alone."""
import json, re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlvd_nb.core.errors import UserError
from rlvd_nb.paper.compare import compare_files, read_samples


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


def test_the_smallest_comparison(write, tmp_path):
    made = compare_files(write("a.jsonl", rows([0, 1], n=2)), write("b.jsonl", rows([1, 2], n=2)), tmp_path / "out")
    assert (made["questions"], made["n"]) == (2, 2)


RECORDS = [
    (rows([0, 1, 2, 4])[:-1], "unequal n: question 'q3' has 3 samples, 'q.' has 4"),
    (rows([0, 1, 2, 2], n=2), "unequal n: 4 samples a question in .*good.jsonl, 2 in"),
    (rows([0, 1, 2]), "1 questions of the other file are missing: 'q3'"),
    (rows([0, 1, 2, 4, 4]), "good.jsonl: 1 questions of the other file are missing: 'q4'"),
    (rows([0, 1, 1, 1], n=1), "n is 1; at least 2 samples a question are needed"),
    (rows([2]), "1 question; at least 2 are needed"),
    (
        [row | dict(verdict="error") if i == 5 else row for i, row in enumerate(rows([0, 1, 2, 4]))],
        "the verifier failed on 1 samples, of questions 'q1'",
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
    ([{"question_id": "q0"}], "no column 'verdict'; there are: question_id"),
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


@pytest.mark.parametrize("name, content, message", [("none.jsonl", None, "no such file"), ("x.csv", b"a", "unknown kind of file '.csv'; there are: .jsonl, .parquet"),
                                                    ("x", b"a", "unknown kind of file ''"), ("x.parquet", b"nonsense", "no readable Parquet file"), ("x.jsonl", b"\xff\xfe", "no UTF-8 text")])
def test_files_that_are_none(tmp_path, name, content, message):
    if content is not None: (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message): read_samples(tmp_path / name)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(UserError, match="no such file"): read_samples(tmp_path / "x.jsonl")


def test_out_must_be_a_folder(good, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file; give a folder"): compare_files(good, good, tmp_path / "out")
