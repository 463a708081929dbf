"""The library is what its notebooks export, and the notebooks are clean: export, clean, and ask whether anything moved."""
import hashlib, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def contents() -> dict[str, str]:
    files = [*ROOT.glob("rlvd_nb/**/*.py"), *ROOT.glob("nbs/**/*.ipynb")]
    return {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


before = contents()
for command in ("nbdev_clean", "nbdev_export"):
    subprocess.run([Path(sys.executable).with_name(command)], cwd=ROOT, check=True)
after = contents()
moved = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
if moved: sys.exit(f"not in sync, now mended, commit them: {', '.join(moved)}")
print(f"in sync: {len(after)} files")
