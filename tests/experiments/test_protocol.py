"""An experiment as data: the same evidence in one process or several, killed and taken up again, and records that
stay the same."""
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest

from rlvd_nb.core.errors import UserError
from rlvd_nb.experiments.capability import exact_evidence
from rlvd_nb.experiments.new_knowledge import dosed_distillation
from rlvd_nb.experiments.protocol import Arm, Ask, Evidence, Experiment, changes, make_base, make_rlvr, replicates
from rlvd_nb.experiments.reinforcement import reinforcement
from rlvd_nb.experiments.run import begin_run


def grid(workers: int) -> Experiment:
    "Two students of different doses."
    return dosed_distillation(begin_run("07", "smoke").vary(workers=workers, patterns=["step"], about=[1]))


def measured(workers: int):
    experiment = grid(workers)
    return changes(replicates(experiment, 2), [name for name in experiment.arms if name != "base"])


@pytest.fixture
def one_thread():
    "This process computes in one thread, as workers do."
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_workers_change_nothing_but_the_time(tmp_path, monkeypatch, one_thread):
    "Students of one thread are the same in this process and in two others."
    found = []
    for workers in (0, 2):
        monkeypatch.setenv("RLVD_OUT", str(tmp_path / str(workers)))
        if found: shutil.copytree(tmp_path / "0/store/base", tmp_path / "2/store/base")  # students alone are compared
        found.append(measured(workers))
    assert all((found[0][name] == found[1][name]).all() for name in found[0])


KILLED = "import sys; sys.path.insert(0, sys.argv[1]); from test_protocol import measured; measured(0)"


def test_a_killed_run_goes_on_where_it_was(store):
    "kill -9 after the first student: what was trained is not trained again."
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    students = lambda: [path for path in store.glob("store/sft/*") if path.is_dir() and not path.suffix]
    deadline = time.time() + 300
    while not students() and process.poll() is None and time.time() < deadline: time.sleep(.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    before = {path: path.stat().st_mtime_ns for path in students()}
    found = measured(0)
    assert before and len(students()) == 4 and {path: path.stat().st_mtime_ns for path in before} == before
    assert found["accuracy"].shape == (2, 2, 40)


def test_a_record_is_the_same_however_its_inputs_were_come_by(store, capsys):
    """Made, then read from the store: the same models, lessons and samples are noted.

    A model that is gone is made again, and is the same again."""
    noted = []
    for _ in range(2):
        experiment = reinforcement(begin_run("03", "smoke"))
        for one in replicates(experiment, 2): one.answers()
        noted.append(json.dumps(experiment.run.inputs, sort_keys=True))
    assert noted[0] == noted[1] and "samples" in noted[0]
    first = Evidence(experiment).model("RLVR")
    shutil.rmtree(first.folder)
    assert Evidence(experiment).model("RLVR") == first and "is gone or not what it was" in capsys.readouterr().out


def test_a_model_of_another_tokenizer_has_no_exact_numbers(store, tiny_model, capsys):
    "Measured along with all else they are gaps; a section shows none and says why."
    run = begin_run("03", "smoke", model=str(tiny_model.folder), samples=2)
    one = Evidence(Experiment("base", run, {"base": Arm(make_base, start="")}, (Ask("base"),), exact=("base",)))
    assert all(np.isnan(gaps).all() for gaps in one.exact("base").values())
    assert exact_evidence([one]) == [] and "No exact numbers: this tokenizer can write" in capsys.readouterr().out


@pytest.mark.parametrize("arms, asks, message", [
    ({"RLVR": Arm(make_rlvr)}, (), "the arm 'RLVR' is made from 'base', which must stand before it"),
    ({"base": Arm(make_base, start="")}, (Ask("RL"),), "asks the arm 'RL'; there are: base"),
])
def test_an_experiment_that_cannot_be_made_is_refused(arms, asks, message):
    with pytest.raises(UserError, match=message): Experiment("bad", begin_run("03", "smoke"), arms, asks)


def test_replicates_are_counted():
    with pytest.raises(UserError, match="at least 1 replicate is needed, not -1"):
        replicates(reinforcement(begin_run("03", "smoke")), -1)
