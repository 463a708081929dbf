"""The library is what its notebooks export, the notebooks are clean, and their outputs belong to their code.

Exports, cleans, and asks whether anything moved: sources, metadata and outputs."""
import hashlib, json, subprocess, sys
from pathlib import Path

from execute import NOTEBOOKS, ROOT, stale
from results import readme, results
from write_map import text as library_map


def contents() -> dict[str, str]:
    files = [*ROOT.glob("rlvd_nb/**/*.py"), *ROOT.glob("nbs/**/*.ipynb")]
    return {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def written() -> list[str]:
    "Pages that a script writes and that do not say what it would write now."
    page = (ROOT / "README.md").read_text()
    pages = {"README.md": (page, readme(page)), "RESULTS.md": ((ROOT / "RESULTS.md").read_text(), results()),
             "nbs/api/README.md": ((ROOT / "nbs/api/README.md").read_text(), library_map())}
    return [name for name, (there, wanted) in pages.items() if there != wanted]


before = contents()
for command in ("nbdev_clean", "nbdev_export"):
    subprocess.run([Path(sys.executable).with_name(command)], cwd=ROOT, check=True)
after = contents()
moved = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
if moved: sys.exit(f"not in sync, now mended, commit them: {', '.join(moved)}")
old = [str(path.relative_to(ROOT)) for path in NOTEBOOKS if stale(json.loads(path.read_text()))]
if old: sys.exit(f"outputs are not those of the code, run python tools/execute.py {' '.join(old)}")
if pages := written():
    sys.exit(f"not what tools/results.py and tools/write_map.py would write, run them: {', '.join(pages)}")
print(f"in sync: {len(after)} files, outputs of {len(NOTEBOOKS)} notebooks")
