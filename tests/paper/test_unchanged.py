"""A section that stands as it was made is not run again; a change of what made it, or of what it left, runs it."""
import json

from conftest import command


def test_what_is_unchanged_is_not_run_again(store, tmp_path):
    "Through the command line: the same bytes at once; a changed figure, half a note, or a word of the user's run it."
    def run(*more):
        done = command("rlvd", "paper", "--profile", "smoke", "--only", "01", *more, out=store, TMPDIR=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        return "were not run again" not in done.stdout
    assert run()
    copy, = store.glob("runs/*/01_*.ipynb")
    figures = sorted(tmp_path.glob("rlvd_nb-smoke-*/lab/*.csv"))
    files = {path: path.read_bytes() for path in [copy, *copy.parent.glob("*.html"), *figures]}
    assert figures and not run()
    assert files == {path: path.read_bytes() for path in files}
    figures[0].write_text("")
    assert run() and figures[0].read_bytes() == files[figures[0]]
    note, = store.glob("runs/*/01_*.made.json")
    note.write_text(note.read_text()[:30])
    assert run() and json.loads(note.read_text())["files"]
    assert run("--again") and not run()


def test_files_of_ones_own_may_change_without_a_word(store, tmp_path):
    "So what is made from them is always run: no note is taken."
    given = ["--profile", "smoke", "--only", "01", "-p", "samples=8"]
    assert command("rlvd", "paper", *given, out=store, TMPDIR=tmp_path).returncode == 0
    assert list(store.glob("runs/*/01_*.ipynb")) and not list(store.glob("runs/*/*.made.json"))
