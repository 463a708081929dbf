"""The package as a thing to install and carry on: light imports, pins that agree, notebooks that are clean, data that flows one way."""
import ast, json, re, subprocess, sys, tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((ROOT / "nbs" / "api").glob("*.ipynb"))
SECTIONS = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))


def lock() -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.lock").read_text().splitlines()]
    return dict(normal(line).split("==") for line in lines if line)


def normal(requirement: str) -> str: return requirement.lower().replace("_", "-")


def name_of(requirement: str) -> str: return re.match(r"[A-Za-z0-9_.-]+", normal(requirement)).group()


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return project["dependencies"] + extras["train"] + extras["dev"]


def test_lock_pins_every_requirement():
    missing = [r for r in requirements() if name_of(r) not in lock()]
    assert not missing


def test_environment_agrees_with_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pins = dict(normal(pin).split("==") for pin in environment["dependencies"][-1]["pip"])
    assert {name_of(r) for r in requirements()} == set(pins)
    assert {name: lock()[name] for name in pins} == pins


def test_version_stands_in_one_place():
    import rlvd_nb
    settings = (ROOT / "settings.ini").read_text()
    assert f"version = {rlvd_nb.__version__}\n" in settings
    assert f"version: {rlvd_nb.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_importing_loads_no_torch_and_no_notebook_tools():
    "Every module but the transformers sampler, which is torch through and through, imports on the light core alone."
    modules = [path.stem.split("_", 1)[1] for path in LIBRARY if not path.stem.endswith("transformers_sampler")]
    heavy = "torch transformers trl vllm nbdev fastcore papermill IPython".split()
    code = f"import importlib, sys\nfor m in {modules}: importlib.import_module('rlvd_nb.' + m)\nprint([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("path", LIBRARY + SECTIONS, ids=lambda path: path.stem)
def test_notebook_is_clean(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert max(len(cell["source"]) for cell in cells) < 60


@pytest.mark.parametrize("path", SECTIONS, ids=lambda path: path.stem)
def test_section_calls_and_does_not_define(path):
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in code) == 1
    assert not [cell for cell in code if re.search(r"^(def|class) ", "".join(cell["source"]), re.M)]


def imports_of(path: Path) -> set[str]:
    "Modules of the library that a module imports, at its top or inside its functions."
    package = path.parent.relative_to(ROOT / "rlvd_nb").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.add(".".join([*package[:len(package) + 1 - node.level], *(node.module or "").split(".")]))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rlvd_nb."): found.add(node.module.removeprefix("rlvd_nb."))
    return found - {"", "tasks"}


def test_data_flows_one_way():
    "A module imports only from modules whose notebook has a lower number, or the same number and an earlier name."
    rank = {path.stem.split("_", 1)[1]: path.stem for path in LIBRARY}
    for name, stem in rank.items():
        used = imports_of(ROOT / "rlvd_nb" / f"{name.replace('.', '/')}.py")
        upward = [other for other in used if rank[other][:2] > stem[:2]]
        assert not upward, f"{name} imports {upward}"


def test_estimators_know_nothing_of_models():
    assert imports_of(ROOT / "rlvd_nb" / "estimators.py") == set()
    assert imports_of(ROOT / "rlvd_nb" / "comparison.py") == {"estimators"}
    for task in (ROOT / "rlvd_nb" / "tasks").glob("*.py"):
        assert not imports_of(task) & {"sampling", "transformers_sampler", "store", "training", "models"}


def test_readme_says_what_the_figures_say():
    from readme_numbers import block
    assert block() in (ROOT / "README.md").read_text(), "run: python tests/readme_numbers.py"


def test_readme_maps_every_file():
    readme = (ROOT / "README.md").read_text()
    named = [path.name for path in LIBRARY + SECTIONS] + [path.name for path in (ROOT / "benchmarks").glob("*.py")] + [path.name for path in (ROOT / "nbs/profiles").iterdir()]
    assert not [name for name in named if name.removesuffix(".ipynb") not in readme]
