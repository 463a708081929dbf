"""The command line and papermill as users run them, in the smoke setting, and every kind of bad input."""
import io, json, os, re, signal, subprocess, sys, time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, command

import rlvd_nb
from rlvd_nb.core.artifacts import inventory, made, write_text
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


def test_the_report_can_be_read(report):
    "A caption and words for each figure, names that hold once, contents that lead somewhere, code folded, its origin."
    page = (report / "index.html").read_text()
    figures, names = re.findall(r'<figure id="figure-.*?</figure>', page, re.S), re.findall(r' id="([^"]*)"', page)
    assert len(figures) >= 10 and not [each for each in figures if not re.search(r'alt="Chart\.[^"]*\w', each)]
    assert all(re.search(r"<figcaption><p><strong>Figure \d+\.\d+\.</strong> \w", each) for each in figures)
    assert len(names) == len(set(names)) and set(re.findall(r'href="#([^"]*)"', page)) <= set(names)
    assert re.search(r"<dt>command</dt><dd>rlvd paper --profile smoke</dd>", page) and "<dt>date</dt><dd>20" in page
    assert page.count("<details><summary>Code</summary>") == page.count("<summary>Code</summary>") > 20


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


def stored(folder):
    "When each file of a store was written."
    files = [path for path in (folder / "store").rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path: path.stat().st_mtime_ns for path in files}


def test_papermill_by_itself_from_another_folder_only_reads(report, shared_store, tmp_path):
    "A second run of a section finds everything in the store, whoever runs it."
    before = stored(shared_store)
    done = command(
        "papermill", ROOT / "nbs" / "03_rlvr.ipynb", "out.ipynb", "-p", "profile", "smoke", "-p", "model", "lab",
        cwd=tmp_path, out=shared_store,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out.ipynb").is_file() and stored(shared_store) == before


def test_papermill_takes_a_profile_as_a_file(report, shared_store, tmp_path):
    done = command(
        "papermill", ROOT / "nbs" / "01_accuracy_and_capability.ipynb", "out.ipynb", "-f",
        ROOT / "nbs/profiles/smoke.yaml", cwd=tmp_path, out=shared_store,
    )
    assert done.returncode == 0 and "smoke setting" in (tmp_path / "out.ipynb").read_text()


BAD = [
    (["paper", "--profile", "labb"], "unknown profile 'labb'; there are: auto, lab, lab-full, paper, record, smoke"),
    (["section", "99"], "unknown section '99'; there are: 01, 02, 03"),
    (["paper", "--only", "3,10x"], "unknown section '10x'"),
    (["paper", "--only", "3", "--only", "03"], "section 03 is named 2 times"),
    (["section", "03", "-p", "profile=smoke"], "the profile is no parameter; give --profile smoke"),
    (["section", "03", "-p", "seed=1", "-p", "seed=2"], "-p seed is given 2 times"),
    (["section", "03", "--profile", "lab", "--profile", "smoke"], "--profile is given 2 times"),
    (["section", "03", "--record", "-p", "seed=1"], "--record renews figures/ from the lab as it is, and -p seed is"),
    (["paper", "--record", "--profile", "smoke"], "and --profile smoke is something else"),
    (
        ["section", "03", "-p", "sampels=4"],
        "section 03 has no parameter 'sampels'; there are: engine, group, launch, learning_rate",
    ),
    (["paper", "-p", "sampels=4"], "no section has the parameter 'sampels'"),
    (["section", "03", "-p", "samples=many"], "parameter samples must be of type int, not 'many'"),
    (["section", "03", "-p", "learning_rate=fast"], "parameter learning_rate must be of type float, not 'fast'"),
    (["section", "03", "-p", "learning_rate=nan"], "parameter learning_rate must be of type float, not 'nan'"),
    (["section", "03", "-p", "samples=0"], "parameter samples must be 1 or more, not 0"),
    (["section", "03", "-p", "template=rhyme"], "unknown template 'rhyme'"),
    (["section", "03", "-p", "task=chess"], "unknown task 'chess'; there are: aime, begun, choice"),
    (["section", "03", "-p", "model=/no/such/folder"], "'/no/such/folder' is neither a local folder nor on the hub"),
    (["section", "03", "-p", "launch=--num_processes zwei"], "not '--num_processes zwei': argument"),
    (["paper", "-p", "launch=--bogus"], "not '--bogus': unrecognized arguments: --bogus"),
    (["section", "03", "-p", "variant=ppo"], "unknown GRPO variant 'ppo'; there are: grpo, dr_grpo, pass_at_k"),
    (["section", "03", "-p", "group=1"], "parameter group must be 2 or more, not 1"),
    (["section", "03", "-p", "learning_rate=0"], "parameter learning_rate must be above 0, not 0"),
    (["section", "03", "-p", "seed=-1"], "parameter seed must be 0 or more, not -1"),
    (["section", "03", "-p", "steps=0"], "parameter steps must be 1 or more, not 0"),
    (["section", "03", "-p", "task=math500"], "the lab's model knows the task 'kinship' alone, not 'math500'"),
    (["section", "03", "-p", "model="], "model is empty; give a folder, a GGUF file or a hub id"),
    (["section", "03", "-p", "model=tests"], "tests is no model folder: it has no config.json"),
    (["section", "05", "-p", "teacher=none.jsonl"], "none.jsonl: no such file"),
    (["section", "05", "-p", "teacher=/no/such"], "'/no/such' is neither a local folder nor on the hub"),
    (["section", "06", "-p", "toy=chess"], "unknown task 'chess'; there are: aime, begun, choice"),
    (["section", "07", "-p", "bound=-1"], "parameter bound must be above 0, not -1"),
    (["section", "07", "-p", "worlds=-1"], "parameter worlds must be 0 or more, not -1"),
    (["grade", "x" * 300 + ".jsonl", "-o", "o.jsonl"], ": file name too long"),
    (["cache", "ls", ""], "is called ''; `rlvd cache ls` shows what there is"),
    (["evidence", ""], "the record has no experiment ''; there are: frontier, record"),
    (["section", "03", "-p", "samples"], "-p takes NAME=VALUE, not 'samples'"),
    (["cache", "rm", "nothing"], "nothing in"),
    (["section", "03", "--nonsense"], "No such option: --nonsense; rlvd section --help shows what there is"),
    (["section"], "Missing argument 'number'; rlvd section --help shows what there is"),
    (["nonsense"], "No such command 'nonsense'; rlvd --help shows what there is"),
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
    (dict(task="tracing"), "the lab's model knows the task 'kinship' alone, not 'tracing'"),
    (dict(test_questions=4000), "4000 test questions asked for, task 'kinship' has 1 to 40"),
    (dict(variant="ppo"), "unknown GRPO variant 'ppo'; there are: grpo, dr_grpo, pass_at_k"),
]


@pytest.mark.parametrize("given, message", BAD_CELLS, ids=[str(given) for given, _ in BAD_CELLS])
def test_bad_values_of_a_section_are_one_line(shared_store, monkeypatch, given, message):
    "What its cell would stop with."
    monkeypatch.setenv("RLVD_OUT", str(shared_store))
    with pytest.raises(UserError, match=message) as error:
        replicates(reinforcement(begin_run("03", profile="smoke", **given)))
    assert "\n" not in str(error.value)


def test_side_runs_and_failed_ones_leave_the_report_alone(report, shared_store):
    "Each has a place of its own; the one that fails names the cell and keeps the notebook, and has no page."
    before = {path: path.read_bytes() for path in report.iterdir()}
    done = command("rlvd", "section", "1", "--profile", "smoke", "-p", "samples=32", out=shared_store)
    page = shared_store / "runs" / "smoke-01-samples=32" / "index.html"
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == f"the page is {page}" and page.is_file()
    failed = command("rlvd", "section", "07", "--profile", "smoke", "-p", "seeds=1", out=shared_store)
    last = failed.stderr.strip().splitlines()[-1]
    assert failed.returncode == 1 and last.startswith("rlvd: section 07 failed in cell "), failed.stderr[-1500:]
    kept = Path(last.rsplit("the notebook so far is ", 1)[1])
    assert "needs at least 2 seeds" in last and kept.parent == shared_store / "runs" / "smoke-07-seeds=1"
    assert "UserError" in kept.read_text() and not (kept.parent / "index.html").exists()
    assert before == {path: path.read_bytes() for path in report.iterdir()}


def test_a_world_whose_bins_are_empty(monkeypatch):
    import numpy as np
    from types import SimpleNamespace
    full = SimpleNamespace(settings=SimpleNamespace(full_bins=True))
    with pytest.raises(UserError, match=r"no test question falls into the base model's bins \[0\]"):
        check_bins(full, SimpleNamespace(counts=np.array([2, 10, 40, 100, 200]), n=256))


def test_interrupt_and_go_on(store):
    "Ctrl-C while the base model is trained: exit code 130, one line and no stack; the same command then ends well."
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
        and "Traceback" not in errors
    ), errors[-1500:]
    assert command("rlvd", "section", "02", "--profile", "smoke", out=store).returncode == 0


@pytest.mark.parametrize("profile, given, workers", [
    ("lab", {}, 16), ("lab", dict(workers="0"), 0), ("smoke", {}, 0), ("smoke", dict(workers="2"), 2),
])
def test_workers_are_those_asked_for_though_not_every_section_has_them(profile, given, workers):
    assert paper.plan_run(profile, [], given).workers == workers


def processes_of(store):
    "Processes whose environment names this store."
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try: found += [int(path.parent.name)] if f"RLVD_OUT={store}\0".encode() in path.read_bytes() else []
        except (FileNotFoundError, ProcessLookupError, PermissionError): continue  # it ended, or is another user's
    return found


@pytest.mark.parametrize("how, code", [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_workers_and_kernels_end_with_the_command(store, how, code):
    "Interrupted or killed while processes make models side by side and sections run in kernels: none is left behind."
    program = Path(sys.executable).with_name("rlvd")
    process = subprocess.Popen(
        [program, "paper", "--profile", "smoke", "--only", "01,06", "-p", "workers=2"], stderr=subprocess.PIPE,
        env=os.environ | dict(RLVD_OUT=str(store), HF_HUB_OFFLINE="1"), text=True, start_new_session=True,
    )
    deadline = time.time() + 120
    while not list(store.glob("runs/*/01_*.ipynb")) and time.time() < deadline: time.sleep(.05)
    assert len(processes_of(store)) >= 3, "no worker or no kernel"
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code and (how == signal.SIGKILL or errors.endswith("goes on where it was\n"))
    deadline = time.time() + 30
    while processes_of(store) and time.time() < deadline: time.sleep(.2)
    assert not processes_of(store)


def test_the_store_is_listed_and_emptied_on_request(rlvd_here, store, monkeypatch):
    for number in range(3): made("cake", dict(task="kitchen", n=number), lambda folder: write_text(folder / "a", "aa"))
    assert re.search(r"cake +3 +[\d.]+ k?B +20\d\d-\d\d-\d\d", rlvd_here("cache", "ls")[1])
    code, listed, _ = rlvd_here("cache", "ls", "cake")
    line = r"20\d\d-\d\d-\d\d \d\d:\d\d +[\d.]+ B whole +cake/[0-9a-f]{16}"
    assert code == 0 and len(re.findall(line, listed)) == 3
    assert "kitchen, 2 samples a question" in listed and "3 artifacts" in listed.splitlines()[-1]
    for answer, code in (("n\n", 1), ("", 1), ("y\n", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        result = rlvd_here("cache", "rm", "all")
        assert result[0] == code and "delete all 3 artifacts" in result[1] + result[2]
        assert len(inventory()) == (3 if code else 0)
    assert rlvd_here("cache", "ls")[1] == f"nothing is stored in {store / 'store'}\n"


def test_a_damaged_artifact_is_listed_and_can_be_deleted(rlvd_here, store):
    folder = made("cake", dict(n=1), lambda folder: write_text(folder / "a", "aa"))
    (folder / "manifest.json").write_text("{")
    assert re.search(rf"damaged +cake/{folder.name}", rlvd_here("cache", "ls", "cake")[1])
    assert rlvd_here("cache", "rm", folder.name)[0] == 0 and not folder.exists()


def test_a_file_is_no_folder_for_what_is_made(rlvd_here, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RLVD_OUT", str(tmp_path / "file"))
    for command in (["doctor"], ["cache", "ls"], ["section", "03"]):
        code, _, err = rlvd_here(*command)
        assert code == 2 and err.splitlines()[-1].endswith("which is a file; it must be a folder")


def test_the_doctor_fits_a_terminal_and_has_optional_things(rlvd_here):
    code, out, _ = rlvd_here("doctor")
    assert code == 0 and max(map(len, out.splitlines())) <= 80 and "ok        torch" in out
    assert not re.search(r"missing +(vLLM|a GPU|a sandbox|peft|nbdev)", out)


def test_a_package_that_is_missing_is_named_with_its_remedy(rlvd_here, monkeypatch):
    monkeypatch.setattr(paper, "find_spec", lambda name: None)
    out = rlvd_here("doctor")[1]
    assert re.search(r'missing +torch .*\n +in a clone of rlvd_nb: pip install "\.\[train\]"', out)
    code, _, err = rlvd_here("section", "03")
    assert code == 2 and err.endswith('needs papermill; in a clone of rlvd_nb: pip install ".[train,dev]"\n')


def test_help_is_there_at_once():
    "Nothing heavy is imported for it."
    heavy = "numpy pandas scipy matplotlib torch papermill pyarrow".split()
    code = f"import sys, rlvd_nb.paper.report; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


COMMANDS = ["paper", "section", "doctor", "grade", "passk", "sample", "quality", "compare", "cache ls", "cache rm"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(rlvd_here, name):
    code, out, _ = rlvd_here(*name.split(), "-h")
    assert code == 0 and f"Example: rlvd {name}" in " ".join(out.split()) and max(map(len, out.splitlines())) <= 80
    assert (code, out) == rlvd_here(*name.split(), "--help")[:2]


def test_alone_it_shows_its_help(rlvd_here):
    for words in ((), ("cache",)): assert rlvd_here(*words) == rlvd_here(*words, "-h") and rlvd_here(*words)[0] == 0


def test_the_module_is_the_command(rlvd_here):
    done = subprocess.run([sys.executable, "-m", "rlvd_nb", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == rlvd_here("--version")[1] == f"rlvd_nb {rlvd_nb.__version__}\n"


def test_outside_a_clone(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "RLVD_ROOT"} | dict(
        RLVD_ROOT=str(tmp_path)
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("rlvd"), "paper"], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and "no section notebooks in" in done.stderr


def test_help_names_what_there_is(rlvd_here):
    "Every template, layout, profile and kind of model, and each command in one line that is not cut off."
    from rlvd_nb.models.prompts import TEMPLATES
    from rlvd_nb.responses.logs import LAYOUTS
    names = "sample", "quality", "passk", "compare"
    said = {name: " ".join(rlvd_here(name, "--help")[1].split()) for name in names}
    assert not [name for name in TEMPLATES if name not in said["sample"] or name not in said["quality"]]
    assert not [name for name in LAYOUTS if name not in said["passk"] or name not in said["compare"]]
    assert all("GGUF" in said[name] and "smollm2" in said[name] for name in ("sample", "quality"))
    for alone in ([], ["cache"]): assert "..." not in rlvd_here(*alone, "--help")[1].replace("[ARGS]...", "")
