"""Functions for launched processes in tests: they must stand in a module."""
import os, time
from pathlib import Path


def note_and_wait(folder: Path) -> None:
    "Leave the process's id, then do nothing for long."
    (folder / f"{os.environ.get('RANK', 0)}.new").write_text(str(os.getpid()))
    (folder / f"{os.environ.get('RANK', 0)}.new").rename(folder / f"{os.environ.get('RANK', 0)}.pid")
    time.sleep(600)
