"""Execute notebooks in place and keep their outputs: python tools/execute.py [NOTEBOOK ...]; all of them when none
is named.

Sections run in the lab's setting, library notebooks as `nbdev_test` runs them. What is shown for a moment (progress
bars, warnings) is dropped. The notebook remembers the sources that its outputs belong to, and `tools/in_sync.py`
refuses one whose sources have changed since."""
import hashlib, json, os, re, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = [*sorted((ROOT / "nbs").glob("*.ipynb")), *sorted((ROOT / "nbs" / "api").glob("*/*.ipynb"))]


def code_digest(notebook: dict) -> str:
    "Sixteen digits that name the code of a notebook."
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def stale(notebook: dict) -> bool:
    "Whether the outputs belong to other code than the notebook has now."
    return notebook["metadata"].get("executed") != code_digest(notebook)


def lasting(output: dict) -> bool:
    "Whether an output is meant to stay."
    shown = output.get("data", {})
    return output.get("name") != "stderr" and not (
        set(shown) == {"text/plain"} and not "".join(shown["text/plain"]).strip()
    )


def without_machine(outputs: list[dict]) -> list[dict]:
    "Outputs with paths as they read from the project's root, whatever machine made them and whenever."
    text = json.dumps(outputs).replace(f"{ROOT}/", "")
    text = re.sub(re.escape(tempfile.gettempdir()) + r"/\w+", "(a temporary folder)", text)
    return json.loads(re.sub(r"\.damaged-\w{6}", ".damaged-(six digits)", text))


def is_shown_only(cell: dict) -> bool:
    "Whether a cell is for reading: `#| eval: false`."
    return cell["cell_type"] == "code" and "#| eval: false" in "".join(cell["source"])


def run(notebook, folder: Path) -> None:
    "Execute all cells but those that are shown only."
    from nbclient import NotebookClient
    shown = [cell for cell in notebook.cells if is_shown_only(cell)]
    for cell in shown: cell.metadata["tags"] = ["skip-execution"]
    NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    for cell in shown: del cell.metadata["tags"]


def execute(path: Path) -> None:
    "Run a notebook and write it with its outputs."
    import nbformat
    notebook, section = nbformat.read(path, as_version=4), path.parent == ROOT / "nbs"
    for name, set_for in (("RLVD_RECORD", True), ("IN_TEST", False)):  # what is committed is recorded
        os.environ.pop(name, None)
        if section == set_for: os.environ[name] = "1"
    run(notebook, path.parent)
    written = json.loads(nbformat.writes(notebook))
    for cell in written["cells"]:
        if cell["cell_type"] == "code": cell["outputs"] = without_machine([o for o in cell["outputs"] if lasting(o)])
    written["metadata"]["executed"] = code_digest(written)
    path.write_text(nbformat.writes(nbformat.from_dict(written)) + "\n")


if __name__ == "__main__":
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or NOTEBOOKS
    for number, path in enumerate(chosen, 1):
        print(f"{number}/{len(chosen)} {path.relative_to(ROOT)}", flush=True)
        execute(path)
    subprocess.run([Path(sys.executable).with_name("nbdev_clean")], cwd=ROOT, check=True)
