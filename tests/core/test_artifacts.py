"""The store beside other processes, and what a full disk is said to have been."""
import errno, shutil

import pytest

from rlvd_nb.core import artifacts
from rlvd_nb.core.artifacts import disk_errors, inventory, made
from rlvd_nb.core.errors import UserError


def test_what_goes_away_while_it_is_listed_is_left_out(store, monkeypatch):
    for name in "ab": made("kind", dict(name=name), lambda work: (work / "file").write_text("x"))
    first, key = inventory()[0]["name"], artifacts._key
    def gone(folder):
        if folder.name == first: shutil.rmtree(folder)
        return key(folder)
    monkeypatch.setattr(artifacts, "_key", gone)
    (row,) = inventory()
    assert row["name"] != first and row["state"] == "whole" and row["bytes"] > 0


@pytest.mark.parametrize("file, named", [("/elsewhere/part", "/elsewhere/part"), ("{}/a.part", "{}/a"), (None, "{}/a")])
def test_a_full_disk_names_the_file_that_it_was(tmp_path, file, named):
    "A temporary folder may be full where the store is not."
    error = OSError(errno.ENOSPC, "full", file and file.format(tmp_path))
    with pytest.raises(UserError, match=f"^cannot write {named.format(tmp_path)}: "), disk_errors(tmp_path / "a"):
        raise error
