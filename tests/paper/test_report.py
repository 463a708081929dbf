"""The command line and papermill as users run them, in the smoke setting, and every kind of bad input."""
import json, os, re, signal, subprocess, sys, time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, command

from rlvd_nb.core.errors import UserError
from rlvd_nb.experiments.protocol import replicates
from rlvd_nb.experiments.reinforcement import check_bins, reinforcement
from rlvd_nb.experiments.run import begin_run
from rlvd_nb.paper import report as paper


def test_every_section_has_run(report):
    sections = sorted(path.name for path in (ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
    assert sorted(path.name for path in report.glob("*.ipynb")) == sections
    for path in report.glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells), path.name


def test_the_report_stands_alone(report):
    page = (report / "index.html").read_text()
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', page)
    assert (
        not [link for link in outside if link.startswith(("http", "//"))]
        and "<script" not in page
        and "@import" not in page
    )
    assert page.count("<section") == len(list(report.glob("*.ipynb"))) and page.count("data:image/png") >= 10


def test_smoke_leaves_the_published_figures_alone(report):
    changed = subprocess.run(["git", "status", "--porcelain", "figures"], cwd=ROOT, capture_output=True, text=True)
    assert changed.returncode or not changed.stdout


def test_each_figure_says_what_made_it(report, smoke_folder):
    record = json.loads((smoke_folder / "rlvr_transitions.json").read_text())
    assert {"name", "caption", "section", "parameters", "inputs", "versions", "files"} == set(record)
    assert {"seed 0", "seed 1", "task"} <= set(record["inputs"]) and set(record["files"]) == {
        "rlvr_transitions.png",
        "rlvr_transitions.svg",
    }
    assert record["parameters"]["profile"] == "smoke" and "torch" in record["versions"]


def test_a_second_run_only_reads(report, shared_store):
    before = {
        path: path.stat().st_mtime_ns
        for path in (shared_store / "store").rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
    assert command("rlvd", "section", "03", "--profile", "smoke", out=shared_store).returncode == 0
    after = {
        path: path.stat().st_mtime_ns
        for path in (shared_store / "store").rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
    assert before == after


def test_papermill_by_itself_from_another_folder(report, shared_store, tmp_path):
    done = command(
        "papermill", ROOT / "nbs" / "03_rlvr.ipynb", "out.ipynb", "-p", "profile", "smoke", "-p", "model", "lab",
        cwd=tmp_path, out=shared_store,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out.ipynb").is_file()


def test_papermill_takes_a_profile_as_a_file(report, shared_store, tmp_path):
    done = command(
        "papermill", ROOT / "nbs" / "01_accuracy_and_capability.ipynb", "out.ipynb", "-f",
        ROOT / "nbs/profiles/smoke.yaml", cwd=tmp_path, out=shared_store,
    )
    assert done.returncode == 0 and "smoke setting" in (tmp_path / "out.ipynb").read_text()


BAD = [
    (["paper", "--profile", "labb"], "unknown profile 'labb'; there are: lab, lab-full, paper, record, smoke"),
    (["section", "99"], "unknown section '99'; there are: 01, 02, 03"),
    (["paper", "--only", "3"], "unknown section '3'"),
    (
        ["section", "03", "-p", "sampels=4"],
        "section 03 has no parameter 'sampels'; there are: engine, group, launch, learning_rate",
    ),
    (["paper", "-p", "sampels=4"], "no section has the parameter 'sampels'"),
    (["section", "03", "-p", "samples=many"], "parameter samples must be of type int, not 'many'"),
    (["section", "03", "-p", "learning_rate=fast"], "parameter learning_rate must be of type float, not 'fast'"),
    (["section", "03", "-p", "samples"], "-p takes NAME=VALUE, not 'samples'"),
    (["cache", "rm", "nothing"], "nothing in"),
    (["section", "03", "--nonsense"], "No such option"),
    (["nonsense"], "No such command"),
]


@pytest.mark.parametrize(
    "arguments, message", BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_line_before_anything_runs(rlvd_here, store, arguments, message):
    code, out, err = rlvd_here(*arguments)
    assert code == 2 and message in err and err.startswith("rlvd: ") and err.count("\n") == 1 and not out, err
    assert not store.exists()


def test_bad_input_is_one_line_of_the_real_command(rlvd, store):
    done = rlvd("section", "03", "-p", "samples=many")
    assert (done.returncode, done.stdout, store.exists()) == (2, "", False)
    assert done.stderr == "rlvd: parameter samples must be of type int, not 'many'\n"


BAD_CELLS = [
    (dict(model="/no/such/folder"), "is neither a local folder nor on the hub|cannot be reached"),
    (dict(task="chess"), "unknown task 'chess'; there are: aime, choice, humaneval_plus, kinship"),
    (dict(task="tracing"), "the lab's model knows the task 'kinship' alone, not 'tracing'"),
    (dict(samples=0), "n must be 1 or more"),
    (dict(test_questions=4000), "4000 test questions asked for, task 'kinship' has 1 to 40"),
    (dict(variant="ppo"), "unknown GRPO variant 'ppo'; there are: grpo, dr_grpo"),
    (dict(template="rhyme"), "unknown template 'rhyme'"),
]


@pytest.mark.parametrize("given, message", BAD_CELLS, ids=[str(given) for given, _ in BAD_CELLS])
def test_bad_values_of_a_section_are_one_line(shared_store, monkeypatch, given, message):
    "What its cell would stop with."
    monkeypatch.setenv("RLVD_OUT", str(shared_store))
    with pytest.raises(UserError, match=message) as error:
        replicates(reinforcement(begin_run("03", profile="smoke", **given)))
    assert "\n" not in str(error.value)


def test_the_command_names_the_cell_and_keeps_the_notebook(shared_store):
    given, message = "task=tracing", "UserError: the lab's model knows the task 'kinship' alone, not 'tracing'"
    done = command("rlvd", "section", "03", "--profile", "smoke", "-p", given, out=shared_store)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("rlvd: section 03 failed in cell "), done.stderr[-1500:]
    assert message in last
    kept = Path(last.rsplit("the notebook so far is ", 1)[1])
    assert "UserError" in kept.read_text()


def test_a_world_whose_bins_are_empty(monkeypatch):
    import numpy as np
    from types import SimpleNamespace
    full = SimpleNamespace(settings=SimpleNamespace(full_bins=True))
    with pytest.raises(UserError, match=r"no test question falls into the base model's bins \[0\]"):
        check_bins(full, SimpleNamespace(counts=np.array([2, 10, 40, 100, 200]), n=256))


def test_interrupt_and_go_on(store):
    "Ctrl-C while the base model is trained: exit code 130, one line; the same command then ends well."
    program = Path(sys.executable).with_name("rlvd")
    env = os.environ | dict(RLVD_OUT=str(store), HF_HUB_OFFLINE="1")
    process = subprocess.Popen(
        [program, "section", "02", "--profile", "smoke"], env=env, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )
    deadline = time.time() + 120
    while not list(store.glob("store/base/*.work")) and time.time() < deadline: time.sleep(.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (
        process.returncode == 130
        and errors.strip().splitlines()[-1] == "rlvd: interrupted; the same command goes on where it was"
    ), errors[-1500:]
    assert command("rlvd", "section", "02", "--profile", "smoke", out=store).returncode == 0


def test_cache_and_doctor(report, shared_store):
    listed = command("rlvd", "cache", "ls", out=shared_store)
    assert listed.returncode == 0 and re.search(r"grpo\s+[0-9a-f]{16}\s+\d+\s+whole", listed.stdout)
    checked = command("rlvd", "doctor", out=shared_store)
    assert checked.returncode == 0 and "torch" in checked.stdout


def test_outside_a_clone(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "RLVD_ROOT"} | dict(
        RLVD_ROOT=str(tmp_path)
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("rlvd"), "paper"], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and "no section notebooks in" in done.stderr


def test_sections_are_found_by_their_number():
    assert list(paper.section_notebooks())[:3] == ["01", "02", "03"]
