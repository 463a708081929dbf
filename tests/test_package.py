"""The package as a thing to install and carry on: light imports, pins that agree, notebooks that are clean, data
that flows one way."""
import ast, json, re, subprocess, sys, tempfile, tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WINGS = ["core", "tasks", "stats", "models", "training", "responses", "experiments", "paper"]  # as data flows
LIBRARY = [path for wing in WINGS for path in sorted((ROOT / "nbs" / "api" / wing).glob("*.ipynb"))]
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


def test_pins_are_within_the_bounds():
    "What the lock pins is what pyproject.toml allows."
    from packaging.requirements import Requirement
    outside = [r for r in requirements() if not Requirement(r).specifier.contains(lock()[name_of(r)])]
    assert not outside


def test_environment_agrees_with_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pins = dict(normal(pin).split("==") for pin in environment["dependencies"][-1]["pip"])
    assert {name_of(r) for r in requirements()} == set(pins)
    assert {name: lock()[name] for name in pins} == pins


def test_bubblewrap_comes_with_every_way_to_an_environment():
    "It is no Python package: conda has it, CI installs it, and a machine without it is told how."
    assert "bubblewrap" in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert "bubblewrap" in (ROOT / ".ci" / "run").read_text()


def test_version_stands_in_one_place():
    import rlvd_nb
    settings = (ROOT / "settings.ini").read_text()
    assert f"version = {rlvd_nb.__version__}\n" in settings
    assert f"version: {rlvd_nb.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_importing_loads_no_torch_and_no_notebook_tools():
    "Every module imports on the light core alone, but the two that are torch through and through."
    torch_alone = "models.transformers_sampler", "training.muon"
    modules = [module for module in map(module_of, LIBRARY) if module not in torch_alone]
    heavy = "torch transformers trl vllm nbdev fastcore papermill IPython".split()
    code = (
        f"import importlib, sys\nfor m in {modules}: importlib.import_module('rlvd_nb.' + m)\nprint([m for m in {heavy}"
        " if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize("path", LIBRARY + SECTIONS, ids=lambda path: path.stem)
def test_notebook_shows_what_it_found_and_nothing_else(path):
    "Outputs, but no counters, bars, warnings or paths of the machine that made them; no cell longer than a screen."
    text = path.read_text()
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs and not any(cell["execution_count"] for cell in code)
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)
    assert str(ROOT) not in text and tempfile.gettempdir() + "/" not in json.dumps(outputs)
    assert max(len(cell["source"]) for cell in json.loads(text)["cells"]) < 60


@pytest.mark.parametrize("path", LIBRARY + SECTIONS, ids=lambda path: path.stem)
def test_lines_are_short(path):
    lines = [line for cell in json.loads(path.read_text())["cells"] for line in "".join(cell["source"]).split("\n")]
    long = [line for line in lines if len(line) > 120 and not line.startswith("|")]  # a table has its lines whole
    assert not long, long[:3]


def test_lines_of_scripts_are_short():
    scripts = [path for folder in ("tests", "tools", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    long = [
        f"{path.name}:{n}"
        for path in scripts
        for n, line in enumerate(path.read_text().split("\n"), 1)
        if len(line) > 120
    ]
    assert not long, long[:5]


@pytest.mark.parametrize("path", SECTIONS, ids=lambda path: path.stem)
def test_section_calls_and_does_not_define(path):
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in code) == 1
    assert not [cell for cell in code if re.search(r"^(def|class) ", "".join(cell["source"]), re.M)]


def module_of(notebook: Path) -> str: return f"{notebook.parent.name}.{notebook.stem.split('_', 1)[1]}"


def imports_of(module: str) -> set[str]:
    "Modules of the library that a module imports, at its top or inside its functions."
    wing, found = module.split(".")[0], set()
    for node in ast.walk(ast.parse((ROOT / "rlvd_nb" / f"{module.replace('.', '/')}.py").read_text())):
        if not isinstance(node, ast.ImportFrom): continue
        if node.level == 1: found.add(f"{wing}.{node.module}")
        elif node.level == 2: found.add(node.module)
        elif (node.module or "").startswith("rlvd_nb."): found.add(node.module.removeprefix("rlvd_nb."))
    return found


def test_every_notebook_has_its_module_and_its_place():
    "One notebook a module, numbered inside its wing without gaps."
    assert {path.parent.name for path in (ROOT / "nbs" / "api").rglob("*.ipynb")} == set(WINGS)
    for wing in WINGS:
        numbers = [int(path.name[:2]) for path in LIBRARY if path.parent.name == wing]
        assert numbers == list(range(1, len(numbers) + 1)), wing
    modules = {".".join(path.relative_to(ROOT / "rlvd_nb").with_suffix("").parts)
               for path in (ROOT / "rlvd_nb").glob("*/*.py") if path.stem != "__init__"}
    assert modules == set(map(module_of, LIBRARY))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_data_flows_one_way(path):
    "A module imports from wings above its own, and from modules of its own wing that stand before it."
    place = {module_of(each): i for i, each in enumerate(LIBRARY)}
    below = [other for other in imports_of(module_of(path)) if place[other] >= place[module_of(path)]]
    assert not below, f"{module_of(path)} imports {below}"


def test_estimators_know_nothing_of_models():
    "stats takes arrays, tasks know no sampler."
    for path in LIBRARY:
        wings = {other.split(".")[0] for other in imports_of(module_of(path))} - {path.parent.name}
        if path.parent.name in ("tasks", "stats"): assert wings <= {"core"}, path.stem


def test_pages_say_what_their_scripts_write():
    from results import readme, results
    from write_map import text
    page = (ROOT / "README.md").read_text()
    assert page == readme(page) and (ROOT / "RESULTS.md").read_text() == results(), "run: python tools/results.py"
    assert (ROOT / "nbs" / "api" / "README.md").read_text() == text(), "run: python tools/write_map.py"


def test_what_is_needed_first_stands_at_the_top():
    "Ten names without torch, and a help text that says where the others are."
    code = "import sys, rlvd_nb; [getattr(rlvd_nb, name) for name in rlvd_nb.FIRST]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import rlvd_nb
    assert done.stdout.strip() == "False" and len(rlvd_nb.FIRST) == 10
    assert all(wing in rlvd_nb.__doc__ for wing in WINGS)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"): rlvd_nb.nothing


def test_readme_leads_everywhere():
    "Every link of the README goes to a file that is there, and every wing has its line."
    readme = (ROOT / "README.md").read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("http")]
    assert not [link for link in links if link and not (ROOT / link).exists()]
    assert not [wing for wing in WINGS if f"| `{wing}` |" not in readme]
