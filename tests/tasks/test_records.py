"""Rows come whole and checked from wherever they lie, or one line says what is wrong and where."""
import gzip, json, string
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.artifacts import checksum
from rlvd_nb.core.errors import UserError
from rlvd_nb.core.seeds import digest
from rlvd_nb.tasks.records import (
    Schema, check_choice, check_options, fetch, file_in, load_records, read_file, split_by_hash, without_shared, words)

SUMS = Schema(
    "sums.jsonl", "someone/sums", dict(problem=str, name=str, level=(int, str), parts=list), id="name",
    filled=("problem", "name"),
)


def row(number, **changes):
    return dict(problem=f"{number} + 1?", name=f"sum-{number}", level=number, parts=["1", str(number)]) | changes


ROWS = [row(i) for i in range(1, 6)]


def text(rows): return "".join(json.dumps(each) + "\n" for each in rows)


def write(path, content):
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
    return path


def one_line(call):
    "The message of the UserError that `call` raises, which is one line."
    with pytest.raises(UserError) as caught: call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def forms(tmp_path):
    "The same rows as lines, compressed lines, and a table."
    pd.DataFrame(ROWS).to_parquet(tmp_path / "c.parquet")
    return [
        write(tmp_path / "a.jsonl", text(ROWS)), write(tmp_path / "b.jsonl.gz", gzip.compress(text(ROWS).encode())),
        tmp_path / "c.parquet",
    ]


def test_every_form_gives_the_same_rows_and_names_its_file(forms):
    for path in forms:
        rows, source = load_records(SUMS, path)
        assert rows == ROWS and source == dict(file=path.name, sha256=checksum(path))
        assert load_records(SUMS, str(path)) == (rows, source)


@pytest.mark.parametrize("name", ["sums.jsonl", "sums.jsonl.gz", "sums.parquet"])
def test_a_folder_is_searched_for_every_form(tmp_path, monkeypatch, forms, name):
    (tmp_path / "in").mkdir()
    next(path for path in forms if path.name.endswith(name.removeprefix("sums"))).rename(tmp_path / "in" / name)
    assert load_records(SUMS, tmp_path / "in")[0] == ROWS and file_in(tmp_path / "in", "sums.jsonl").name == name
    monkeypatch.setenv("RLVD_DATA", str(tmp_path / "in"))
    assert load_records(SUMS)[1]["file"] == name
    assert f"it is a directory without {SUMS.file}" in one_line(lambda: load_records(SUMS, tmp_path))


def test_blank_lines_a_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path):
    content = "\ufeff\r\n" + text(ROWS).replace("\n", "\r\n\n") + "\n\n"
    assert load_records(SUMS, write(tmp_path / "a.jsonl", content.encode()))[0] == ROWS


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    odd = row(1, problem="a\u2028b\u0085c")
    assert load_records(SUMS, write(tmp_path / "a.jsonl", json.dumps(odd, ensure_ascii=False)))[0] == [odd]


BAD = [
    ("a.jsonl", "", "a.jsonl has no questions"),
    ("a.jsonl", "\n \n", "has no questions"),
    ("a.jsonl", text(ROWS[:2])[:-9], "a.jsonl line 2: no valid JSON"),
    ("a.jsonl", "\n\n{", "line 3: no valid JSON"),
    ("a.jsonl", "[1, 2]", "line 1: a row must be an object, not list"),
    ("a.jsonl", "null", "not NoneType"),
    ("a.jsonl", "[" * 100_000, "line 1: no valid JSON"),
    ("a.jsonl", b"\xff\xfe\x00", "a.jsonl line 1: no UTF-8 text"),
    ("a.jsonl", '{"problem": "x"}', "line 1: no column 'name'; a row has problem, name, level, parts"),
    ("a.jsonl", text([row(1), row(2, name=2)]), "line 2: column 'name' must be text, not int"),
    ("a.jsonl", text([row(1, level=True)]), "column 'level' must be a whole number or text, not bool"),
    ("a.jsonl", text([row(1, level=None)]), "not NoneType"),
    ("a.jsonl", text([row(1, level=1.0)]), "not float"),
    ("a.jsonl", text([row(1, parts="1")]), "column 'parts' must be a list, not str"),
    ("a.jsonl", text([row(1, problem=" \n")]), "line 1: column 'problem' is empty"),
    ("a.jsonl", text([row(1), row(2), row(1)]), "a.jsonl: name 'sum-1' stands there 2 times, in lines 1, 3"),
    ("a.jsonl", text([row(1)] * 9), "9 times, in lines 1, 2, 3, 4, ..."),
    ("a.jsonl.gz", gzip.compress(text(ROWS).encode())[:-9], "no whole gzip file"),
    ("a.jsonl.gz", text(ROWS), "no whole gzip file"),
    ("a.jsonl.gz", gzip.compress(b"", mtime=0), "has no questions"),
    ("a.parquet", text(ROWS), "no readable Parquet file"),
    ("a.parquet", "", "no readable Parquet file"),
]


@pytest.mark.parametrize("name, content, message", BAD)
def test_a_bad_file_is_told_in_one_line(tmp_path, name, content, message):
    assert message in one_line(lambda: load_records(SUMS, write(tmp_path / name, content)))


def test_a_bad_table_names_the_row(tmp_path, forms):
    assert "no readable Parquet file" in one_line(
        lambda: read_file(write(tmp_path / "half.parquet", forms[2].read_bytes()[:-30]), SUMS)
    )
    pd.DataFrame([row(1), row(2, problem="")]).to_parquet(tmp_path / "d.parquet")
    assert "d.parquet row 2: column 'problem' is empty" in one_line(lambda: read_file(tmp_path / "d.parquet", SUMS))
    pd.DataFrame([row(1)]).drop(columns="parts").to_parquet(tmp_path / "e.parquet")
    assert "e.parquet row 1: no column 'parts'" in one_line(lambda: read_file(tmp_path / "e.parquet", SUMS))
    pd.DataFrame(ROWS[:0]).to_parquet(tmp_path / "f.parquet")
    assert "f.parquet has no questions" in one_line(lambda: read_file(tmp_path / "f.parquet", SUMS))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_gives_whole_rows_or_one_line(tmp_path_factory, data):
    content = text(ROWS).encode()
    path = write(tmp_path_factory.mktemp("cut") / "a.jsonl", content[:data.draw(st.integers(0, len(content)))])
    try: rows, _ = load_records(SUMS, path)
    except UserError as error: assert "line " in str(error) or "has no questions" in str(error)
    else: assert rows == ROWS[:len(rows)]


def test_where_rows_come_from(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    calls = []
    class Table(list):
        info = SimpleNamespace(
            download_checksums={"hf://datasets/someone/sums@0123456789abcdef0123456789abcdef01234567/a.jsonl": {}}
        )
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *arguments, **options: calls.append((arguments, options)) or Table(ROWS)
    )
    monkeypatch.delenv("RLVD_DATA", raising=False)
    rows, source = load_records(SUMS, revision="v1")
    assert rows == ROWS and source == dict(
        hub="someone/sums", revision="0123456789abcdef0123456789abcdef01234567", rows=digest(ROWS)
    )
    assert calls == [(("someone/sums",), dict(split="test", revision="v1"))]
    monkeypatch.setenv("RLVD_DATA", str(tmp_path)) # a folder that was named is never passed over
    assert (
        one_line(lambda: load_records(SUMS))
        == f"{tmp_path / 'sums.jsonl'}: no such file; {SUMS.remedy}"
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments, **options: Table([row(1), row(1)]))
    assert "someone/sums: name 'sum-1' stands there 2 times, in rows 1, 2" in one_line(lambda: fetch(SUMS, None))
    def unreachable(*arguments, **options): raise ConnectionError("Couldn't reach the Hub")
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    assert (
        one_line(lambda: fetch(SUMS, None))
        == "cannot fetch someone/sums (ConnectionError); set RLVD_DATA to a folder with sums.jsonl, or, in Python, pass"
        " path="
    )


def test_options_are_checked():
    assert check_choice("math", "levels", (5, 3, 3), range(1, 6)) == [3, 5]
    for chosen in (3, "3", [], None, {3: 4}):
        assert "math: levels must be a list of 1, 2, 3" in one_line(
            lambda: check_choice("math", "levels", chosen, range(1, 4))
        )
    for wrong in (4, "3", True, [1], None):
        assert "math: levels has no" in one_line(lambda: check_choice("math", "levels", [1, wrong], range(1, 4)))
    for wrong in (0, -1, True, 1.5, None):
        assert "max_tokens must be a whole number above 0" in one_line(
            lambda: check_options("math", {}, max_tokens=wrong)
        )


# What may be learned from

def test_the_split_is_fixed_for_ever():
    assert [i for i in range(40) if split_by_hash("math500", f"test/algebra/{i}.json", 5) == "train"] == [
        5, 10, 11, 12, 15, 24, 33, 38,
    ]
    assert {split_by_hash("x", str(i), 1) for i in range(50)} == {"train"}


asked = st.text(string.ascii_letters + string.digits + " +-*/=.,?$\\{}", max_size=40)


@given(asked)
def test_words_forget_case_punctuation_and_spacing(question):
    assert (
        words(question)
        == words(question.upper())
        == words(question.replace(" ", "  ") + " ?!")
        == words(question.replace(",", ";"))
    )


def test_words_keep_what_makes_another_question():
    assert (
        len({
            words(text)
            for text in ("3 + 5", "3 - 5", "3 * 5", "3 / 5", "3 = 5", "3 < 5", "3 > 5", "35", "5 3", "-3 5", "3.5")
        })
        == 11
    )
    assert (
        words("a well-known fact") == words("A well known fact") and words("x-y") != words("x y") and words("?") == ()
    )


@settings(max_examples=50)
@given(st.lists(asked, max_size=8), st.lists(asked, max_size=8))
def test_no_training_text_is_a_test_text(train, test):
    kept = without_shared(train, test, str)
    assert (
        not {words(each) for each in kept} & {words(each) for each in test} and without_shared(kept, test, str) == kept
    )
    assert without_shared(test, test, str) == [] and without_shared(train, [], str) == train
