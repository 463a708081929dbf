"""Evidence files: what they hold is what was measured, whole or refused; a killed run ends with the same bytes."""
import os, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rlvd_nb.core.artifacts import pack
from rlvd_nb.core.errors import UserError
from rlvd_nb.experiments.capability import check_gates, gates, over_replicates, question_groups, replicate_table
from rlvd_nb.experiments.frontier import frontier
from rlvd_nb.experiments.measurements import (
    EXACT, SAMPLED, Measurements, measured, read_measurements, store_for, write_measurements,
)
from rlvd_nb.experiments.run import begin_run

QUESTIONS = 400


def made(seed: int, rise: float = 0.) -> Measurements:
    "A base model with questions of every difficulty, and a model whose log-probabilities are higher by `rise`."
    rng = np.random.default_rng(seed)
    asked = pd.DataFrame(dict(
        id=[f"q{i}" for i in range(QUESTIONS)], depth=rng.integers(2, 8, QUESTIONS),
        kind=rng.choice(["known", "uncertain", "unknown"], QUESTIONS, p=[.4, .5, .1]),
    ))
    base = np.log(rng.beta(.3, 1.2, QUESTIONS).clip(1e-9))
    models = pd.DataFrame([dict(arm=arm, step=0, fingerprint=arm, kl=0.) for arm in ("base", "RLVR")])
    logs = np.stack([base, np.minimum(base + rise, 0)])
    values = {name: np.exp(logs) for name in SAMPLED} | {name: logs for name in EXACT}
    return Measurements(dict(seed=seed), asked, models, values)


def test_intervals_are_students_over_replicates():
    tables = [replicate_table(made(seed, .5)) for seed in range(5)]
    row = over_replicates(tables, against="base").query("arm == 'RLVR' and measure == 'valid'").iloc[0]
    each = [table["valid"][1] - table["valid"][0] for table in tables]
    expected = stats.ttest_1samp(each, 0)
    low, high = expected.confidence_interval(.95)
    assert row[["value", "low", "high", "p"]].tolist() == pytest.approx([np.mean(each), low, high, expected.pvalue])


def test_replicates_with_other_models_are_refused():
    one, other = (replicate_table(made(seed)) for seed in (0, 1))
    with pytest.raises(UserError, match="the replicates have different models"): over_replicates([one, other[:1]])


def test_hard_questions_are_answerable_and_rare():
    found = made(0)
    groups, p = question_groups(found), np.exp(found.of("base", "log_valid"))
    assert (p[groups["hard"]] < 1 / 256).all() and (found.questions["kind"][groups["hard"]] != "unknown").all()
    assert (groups["hard"] == groups["hard by knowledge"] | groups["hard by composition"]).all()


def test_a_gate_that_is_missed_is_named():
    found = made(0)
    check = gates(found)
    counted = ((found.of("base", "log_valid") < np.log(1 / 256)) & (found.of("base", "log_valid") >= np.log(1e-6))
               & (found.questions["kind"] != "unknown")).sum()
    assert check["there"][0] == counted
    assert check["passed"].all()
    often = {name: np.full_like(each, -.1) for name, each in found.values.items()}
    easy = Measurements(found.protocol, found.questions, found.models, often)
    with pytest.raises(UserError, match=r"misses a gate: answerable questions with p in \[1e-6, 1/256\) are 0"):
        check_gates(easy)


@pytest.mark.parametrize("keep", [0, 10, 300, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path, keep):
    whole = write_measurements(tmp_path / "0.npz", made(0)).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:keep])
    with pytest.raises(UserError, match="cut.npz is no whole file of evidence"): read_measurements(tmp_path / "cut.npz")


def test_a_file_with_a_changed_byte_is_refused(tmp_path):
    whole = bytearray(write_measurements(tmp_path / "0.npz", made(0)).read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "changed.npz").write_bytes(whole)
    with pytest.raises(UserError, match="changed.npz is no whole file of evidence"):
        read_measurements(tmp_path / "changed.npz")


def test_the_store_of_a_killed_worker_goes_and_that_of_one_at_work_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, name = tmp_path / f"rlvd-store-{os.getuid()}-dead", f"rlvd-store-{os.getuid()}-*"
    (left / "store").mkdir(parents=True)
    left.with_name(left.name + ".lock").touch()
    with store_for(pack([])):
        mine, = (path for path in tmp_path.glob(name) if path.is_dir())
        assert mine != left and os.environ["RLVD_OUT"] == str(mine)
        with store_for(pack([])): assert len([path for path in tmp_path.glob(name) if path.is_dir()]) == 2
        assert mine.is_dir()
    assert not list(tmp_path.glob(name))


def measure(folder: Path) -> None:
    "The seventh replicate of a small frontier: a base model, its RLVR and two snapshots."
    run = begin_run("03", "smoke").vary(
        replicate="world", snapshots=True, checkpoint=1, steps=2, samples=4, rates=[1e-3], test_questions=2
    )
    measured(frontier(run), [7], folder)


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(":")
from test_measurements import measure
measure(Path(sys.argv[2]))
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    "Killed after its base model was measured, and gone on with in an empty store: only the file was left."
    here, file = Path(__file__).resolve().parent, tmp_path / "killed" / "7.npz"
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, f"{here}:{here.parent}", str(file.parent)],
        env=os.environ | dict(RLVD_OUT=str(tmp_path / "first")), start_new_session=True,
    )
    deadline = time.time() + 120
    while not file.exists() and killed.poll() is None and time.time() < deadline: time.sleep(.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(10)
    assert len(read_measurements(file).models) == 1
    for folder, store in (("killed", "second"), ("whole", "third")):
        monkeypatch.setenv("RLVD_OUT", str(tmp_path / store))
        measure(tmp_path / folder)
    assert file.read_bytes() == (tmp_path / "whole" / "7.npz").read_bytes()
