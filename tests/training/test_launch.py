"""Several processes train as one does, fail in one line, and never outlive the notebook."""
import os, select, signal, socket, subprocess, sys, time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st
from tiny_lab import TASK

from rlvd_nb.core.errors import UserError
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.training.distillation import SftConfig, train_sft
from rlvd_nb.training.launch import check_launch, failure_of, launch_command, launched
from rlvd_nb.training.rlvr import GrpoConfig, train_grpo
from rlvd_nb.training.trainers import share, training_history

TWO = "--num_processes 2 --cpu --main_process_port 0"
PATH = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
QUESTIONS = TASK.questions("train")
LESSON = pd.DataFrame(dict(prompt=[q.prompt for q in QUESTIONS], completion=[f" {q.gold}" for q in QUESTIONS]))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    "A folder for the stores of runs."
    return tmp_path_factory.mktemp("launch")


def ended(model: Model):
    "Curves and weights of a training."
    return training_history(model), dict(model.load("cpu")[0].named_parameters())


def test_two_processes_fine_tune_as_one(tiny_base, stores, monkeypatch):
    config, models = SftConfig(epochs=2, batch=8, warmup=0, learning_rate=3e-3, checkpoint=3), []
    for where, launch in (("one", ""), ("two", TWO)):
        monkeypatch.setenv("RLVD_OUT", str(stores / where))
        models.append(train_sft(tiny_base, LESSON, config, launch))
    assert models[0].folder.name == models[1].folder.name, "how it was launched is no part of what it is"
    (one, a), (two, b) = map(ended, models)
    assert len(one) == len(two) == 8 and one["loss"].iloc[-1] < one["loss"].iloc[0]
    assert np.abs(one["loss"] - two["loss"]).max() < 1e-4
    assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)


REINFORCE = GrpoConfig(steps=3, questions=3, group=4, max_tokens=22, warmup=0, checkpoint=2)
MACHINE = """
import sys
from pathlib import Path
from test_launch import QUESTIONS, REINFORCE, TASK, Model, train_grpo
print(train_grpo(Model.at(Path(sys.argv[1])), TASK, QUESTIONS, REINFORCE, launch=sys.argv[2]).folder)
"""


def machine(rank: int, launch: str, base: Model, store: Path) -> subprocess.Popen:
    "One of two machines, with a store of its own."
    return subprocess.Popen(
        [sys.executable, "-c", MACHINE, str(base.folder), f"{launch} --machine_rank {rank}"], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | dict(PYTHONPATH=PATH, RLVD_OUT=str(store)),
    )


def test_two_machines_reinforce_as_one_process(tiny_base, stores, monkeypatch):
    "A process and a store each, one and a half groups to a machine: the same rollouts and rewards, both get the model."
    with socket.socket() as free: free.bind(("127.0.0.1", 0)); port = free.getsockname()[1]
    address = f"--main_process_ip 127.0.0.1 --main_process_port {port}"
    launch = f"--num_machines 2 --num_processes 2 {address} --cpu"
    machines = [machine(rank, launch, tiny_base, stores / f"machine-{rank}") for rank in (0, 1)]
    said = [each.communicate(timeout=300) for each in machines]
    assert [each.returncode for each in machines] == [0, 0], said[0][1][-2000:] + said[1][1][-2000:]
    monkeypatch.setenv("RLVD_OUT", str(stores / "one"))
    alone = train_grpo(tiny_base, TASK, QUESTIONS, REINFORCE)
    (one, a), *others = map(ended, [alone, *(Model.at(Path(out.split()[-1])) for out, _ in said)])
    assert one["gradient norm"].max() > 0
    for two, b in others:
        for name in ("reward", "groups without gradient", "response length"):
            assert np.allclose(one[name], two[name], atol=1e-6), name
        assert np.allclose(one["gradient norm"], two["gradient norm"], rtol=1e-3, atol=1e-6)
        assert all(torch.allclose(a[name], b[name], atol=2e-4) for name in a)


@given(st.integers(1, 64), st.integers(1, 16), st.integers(1, 16))
def test_a_shared_step_takes_as_many_responses(batch, accumulated, processes):
    try: mine, passes = share(batch, accumulated, processes)
    except UserError: assert batch * accumulated % processes or accumulated % (processes // np.gcd(batch, processes))
    else: assert mine * passes * processes == batch * accumulated


def test_what_cannot_be_shared_is_one_line():
    message = "^2 processes cannot share a step of 7 responses x 1 accumulated passes equally; [^\n]*$"
    with pytest.raises(UserError, match=message): share(7, 1, 2)


def test_a_launched_training_that_did_not_train_is_one_line(tiny_base, store):
    "Every process sees it, one of them says it, the parent reports it, none leaves a model."
    idle = SftConfig(epochs=1, batch=8, warmup=0, learning_rate=1e-30)
    with pytest.raises(UserError, match="^distillation changed no weight; [^\n]*$"):
        train_sft(tiny_base, LESSON, idle, TWO)
    assert not [path for path in (store / "store/sft").iterdir() if not path.suffix]


@pytest.mark.parametrize("code, last, kind, message", [
    (1, "E0101 failed\n exitcode  : -9\n traceback : Signal 9 (SIGKILL) received by PID 7\n", RuntimeError,
     "ended by Signal 9 \\(SIGKILL\\); 9 often means that memory ran out"),
    (2, "usage: ...\naccelerate: error: unrecognized arguments: --bogus\n\n", UserError,
     "exit code 2: accelerate: error: unrecognized arguments: --bogus"),
    (3, "", RuntimeError, "exit code 3: it said nothing")])
def test_a_launcher_that_fails_is_one_line(tmp_path, code, last, kind, message):
    with pytest.raises(kind, match=message): raise failure_of(tmp_path / "none", code, last)


def test_a_task_that_processes_could_not_import(monkeypatch):
    class Mine: pass
    monkeypatch.setattr(Mine, "__module__", "__main__")
    with pytest.raises(UserError, match="Mine is defined in a notebook or script"): launched(TWO, print, Mine())


def test_launch_arguments_are_read_as_a_shell_would(tmp_path):
    command, changed = launch_command('--num_processes 4 --config_file "my file.yaml"', tmp_path / "job")
    assert command[3:] == [
        "--num_processes", "4", "--config_file", "my file.yaml", "-m", "rlvd_nb.training.launch",
        str(tmp_path / "job"),
    ]
    assert "CUDA_VISIBLE_DEVICES" not in changed
    with pytest.raises(UserError, match="No closing quotation".lower()): launch_command('"', tmp_path)


@pytest.mark.parametrize("launch, why", [
    ("--num_processes zwei", "invalid int value: 'zwei'"), ("--num_processes", "expected one argument"),
    ("--bogus", "unrecognized arguments: --bogus"), ("2", "'2' is none of them"), ("train.py", "'train.py' is none of"),
    ("-m else", "'else' is none of them"), ("--num_processes 0", "num_processes must be 1 or more, not 0"),
    ("--num_machines 2 --machine_rank 2", "machine_rank must be from 0 to 1, not 2"), ("--help", "help is shown by"),
    ("--config_file none.yaml", "none.yaml: no such file"), ("--mixed_precision x", "invalid choice: 'x'"),
    ("'", "no closing quotation")])
def test_what_accelerate_would_not_take_is_refused_beforehand(launch, why):
    with pytest.raises(UserError) as caught: check_launch(launch)
    assert why in str(caught.value) and "\n" not in str(caught.value) and repr(launch) in str(caught.value)


@pytest.mark.parametrize("launch", ["", " ", TWO, "--num_machines 2 --num_processes 2 --machine_rank 1 --multi_gpu"])
def test_what_accelerate_takes_is_not_refused(launch): check_launch(launch)


WAITING = """
import sys
from pathlib import Path
from launch_jobs import note_and_wait
from rlvd_nb.training.launch import launched
launched(sys.argv[1], note_and_wait, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_launched_processes_end_with_the_notebook(tmp_path, how):
    "Killed or interrupted, the parent leaves no process behind."
    parent = subprocess.Popen(
        [sys.executable, "-c", WAITING, TWO, str(tmp_path)], env=os.environ | dict(PYTHONPATH=PATH),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    deadline = time.time() + 150
    while len(list(tmp_path.glob("*.pid"))) < 2 and parent.poll() is None and time.time() < deadline: time.sleep(.1)
    children = [os.pidfd_open(int(path.read_text())) for path in tmp_path.glob("*.pid")]
    assert len(children) == 2
    parent.send_signal(how)
    for child in children: assert select.select([child], [], [], 20)[0], "a launched process outlived its parent"
    assert parent.wait(20) != 0
