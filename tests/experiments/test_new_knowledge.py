"""Sections 07 and 08: the grid's analysis against a mixed model, trials side by side, killed and taken up again, every kind of bad input."""
import copy, os, signal, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import command
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.kinship import path_of, split_of, task as kinship, unknown_facts
from rlvd_nb.stats.factorial import crossed_effect, slope_weights
from rlvd_nb.stats.ranking import orders, partial_tau, tau_of
from rlvd_nb.experiments.jobs import side_by_side, trials
from rlvd_nb.experiments.new_knowledge import Study, grid_of, syllabus, taught_at
from rlvd_nb.experiments.response_sets import Sets
from rlvd_nb.experiments.run import Run, base_of, replicates
from rlvd_nb.experiments import new_knowledge as knowledge

WORLD = kinship(entities=60, train_questions=40, test_questions=60)


# the analysis

def test_the_closed_form_is_the_mixed_models():
    "Crossed random seeds and questions by REML (statsmodels) give the same mean and standard error, where all variances are above zero."
    import statsmodels.formula.api as smf
    rng = np.random.default_rng(3)
    values = 1 + rng.normal(0, 1, (6, 1)) + rng.normal(0, 1, 12) + rng.normal(0, 1, (6, 12))
    rows = pd.DataFrame([dict(y=values[s, q], seed=s, question=q, all=1) for s, q in np.ndindex(6, 12)])
    fitted = smf.mixedlm(
        "y ~ 1", rows, groups="all", vc_formula=dict(seed="0 + C(seed)", question="0 + C(question)")
    ).fit(reml=True)
    effect = crossed_effect(values)
    assert np.isclose(effect.value, fitted.params["Intercept"], atol=1e-6) and np.isclose(
        effect.se, fitted.bse["Intercept"], rtol=1e-2
    )


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True).filter(lambda levels: max(levels) - min(levels) > .01), st.floats(-5, 5), st.floats(-5, 5))
def test_a_slope_is_the_least_squares_slope(levels, slope, start):
    assert np.isclose(slope_weights(levels) @ (start + slope * np.array(levels)), slope, atol=1e-6)


@given(st.lists(st.integers(0, 5), min_size=4, max_size=12), st.integers(0, 999))
def test_partial_tau_by_definition(values, seed):
    rng = np.random.default_rng(seed)
    y, z = rng.normal(size=len(values)), rng.normal(size=len(values))
    a, b, c = (tau_of(orders(one), orders(two)) for one, two in ((values, y), (values, z), (y, z)))
    found = partial_tau(orders(values), orders(y), orders(z))
    if np.isnan(a) or (1 - b**2) * (1 - c**2) <= 1e-12: assert np.isnan(found)
    else: assert np.isclose(found, (a - b * c) / np.sqrt((1 - b**2) * (1 - c**2)))


# lessons

@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_lessons_of_every_dose_are_equal_but_for_the_facts(seed):
    run = SimpleNamespace(task=WORLD, settings=SimpleNamespace(seed=seed), questions=WORLD.questions)
    lessons, test = syllabus(run, 1), WORLD.questions("test")
    doses = [lessons.at(dose) for dose in (0, .5, 1)]
    stated = [unknown_facts(WORLD.world, questions) for questions in doses]
    assert stated[0] == set() and stated[0] < stated[1] < stated[2] == unknown_facts(WORLD.world, test)
    assert len({tuple(sorted(q.info["depth"] for q in questions)) for questions in doses}) == 1
    for questions in doses:
        assert len({q.id for q in questions}) == len(questions) and {
            split_of(*path_of(WORLD.world, q)) for q in questions
        } == {"train"}


# trials

def killing(job):
    "A worker's work in tests: the job named `die` kills its process."
    if job == "die": os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_a_worker_that_is_killed_is_no_result():
    with pytest.raises(Exception) as caught: list(side_by_side(killing, ["a", "die", "b"], 2, "jobs"))
    assert not isinstance(caught.value, UserError)


def smoke(section, **changes):
    run = Run(section, profile="smoke")
    run.settings = SimpleNamespace(**{**vars(run.settings), **changes})
    return run


ARMS = [(0., "step", 1), (1., "step", 1)]

def test_workers_change_nothing_but_the_time(tmp_path, monkeypatch):
    "Students of one thread are the same in one process and in two."
    found = []
    for workers in (1, 2):
        monkeypatch.setenv("RLVD_OUT", str(tmp_path / str(workers)))
        run = smoke("07", workers=workers)
        found.append(trials(run, replicates(run, 2), base_of(run), taught_at, ARMS, "students"))
    assert all((found[0][name] == found[1][name]).all() for name in found[0])


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_new_knowledge import ARMS, base_of, replicates, smoke, taught_at, trials
run = smoke("07", workers=0)
trials(run, replicates(run, 2), base_of(run), taught_at, ARMS, "students")
"""

def test_killed_trials_go_on_where_they_were(store):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    students = lambda: [path for path in store.glob("store/sft/*") if path.is_dir() and not path.suffix]
    deadline = time.time() + 180
    while not students() and process.poll() is None and time.time() < deadline: time.sleep(.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    before = {path: path.stat().st_mtime_ns for path in students()}
    run = smoke("07", workers=0)
    found = trials(run, replicates(run, 2), base_of(run), taught_at, ARMS, "students")
    assert before and len(students()) == 4 and {path: path.stat().st_mtime_ns for path in before} == before
    assert found["accuracy"].shape == (2, 2, 40)


# bad input

@pytest.mark.parametrize("section, changes, message", [
    ("07", dict(doses=[0., 1.5]), "a dose is a share between 0 and 1, not 1.5"), ("07", dict(doses=[-.5, 0.]), "not -0.5"), ("07", dict(doses=[0., .01, 1.]), "a cell of the grid would be empty"),
    ("07", dict(patterns=[]), "grid: patterns"), ("07", dict(patterns=["stepp"]), "unknown pattern 'stepp'"), ("07", dict(about=[500]), "arms cannot be made equal: 500 lessons"),
    ("07", dict(seeds=1), "needs at least 2 seeds"), ("08", dict(seeds=1), "needs at least 2 seeds"), ("08", dict(sets=[["written stepp", "any"]]), "unknown source 'written stepp'"),
    ("08", dict(sets=[["written step", "best"]]), "unknown rule 'best'"), ("08", dict(least_questions=1000), "the sets cannot be made equal: only")])
def test_bad_settings_are_one_line(shared_store, monkeypatch, section, changes, message):
    monkeypatch.setenv("RLVD_OUT", str(shared_store))
    with pytest.raises(UserError) as caught: {"07": Study, "08": Sets}[section](smoke(section, **changes))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_refuses_what_it_cannot_use(shared_store):
    for arguments, message in (
        (["-p", "seeds=1"], "needs at least 2 seeds"),
        (["-p", "workers=-1"], "workers must be 0"),
        (["-p", "bound=0"], "the bound of an equivalence test must be above 0"),
    ):
        done = command("rlvd", "section", "07", "--profile", "smoke", *arguments, out=shared_store, timeout=400)
        assert done.returncode == 1 and message in done.stderr.strip().splitlines()[-1], done.stderr[-2000:]


def test_a_task_without_facts_cannot_be_dosed(shared_store, monkeypatch):
    monkeypatch.setenv("RLVD_OUT", str(shared_store))
    run = smoke("07")
    other = copy.copy(run)
    other.task = SimpleNamespace(name="chess")
    with pytest.raises(UserError, match="task 'chess' does not say which facts a model lacks"): syllabus(other, 2)
    assert grid_of(run).doses == (0., 1.) and knowledge.GROUPS[0] == "all"
