"""Tables hold what stood in their file, whatever kind of file it is and whatever pandas would make of it."""
import numpy as np
import pandas as pd
import pytest

from rlvd_nb.core.tables import KINDS, as_text, read_rows, read_table, write_rows


@pytest.mark.parametrize("value, text", [
    (7, "7"), (7.0, "7"), (-3.0, "-3"), (7.5, "7.5"), ("7.0", "7.0"), ("007", "007"), (2**60, str(2**60)),
    (1e30, "1e+30"),
    (None, None), (float("nan"), None), (pd.NA, None), (np.int64(7), "7"), (np.float64(7), "7"), (True, "True")])
def test_names_and_answers_as_text(value, text): assert as_text(value) == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_holds_what_stood_in_the_file(tmp_path, kind):
    rows = [dict(n=1, gap=7, x=.5, flag=True, none=None, text="a"),
            dict(n=2, gap=None, x=2.0, flag=None, none=None, text="")]
    table = read_table(write_rows(tmp_path / f"a{kind}", rows))
    assert table.to_dict("records") == rows and read_rows(tmp_path / f"a{kind}") == rows
    assert [type(value) for value in table["gap"]] == [int, type(None)]


def test_row_numbers_of_pandas_are_no_column(tmp_path):
    pd.DataFrame(dict(n=[1, 2])).iloc[::-1].to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == [dict(n=2), dict(n=1)]
    assert list(read_table(tmp_path / "a.parquet")) == ["n"]
