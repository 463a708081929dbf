"""Training trains: real TRL trainers change the weights, errors are no rewards, a killed run ends as it would have."""
import json, os, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import ERROR, RIGHT, WRONG, Grade
from rlvd_nb.tasks.kinship import task as kinship
from rlvd_nb.models.checkpoints import Model, open_model
from rlvd_nb.models.word_models import LabModelConfig
from rlvd_nb.training.pretraining import PretrainConfig, pack, pretrain_base
from rlvd_nb.training.rlvr import GrpoConfig, distinct_rollouts, grpo_trainer, make_reward, train_grpo

TASK = kinship(entities=30, train_questions=30, test_questions=30)
SIZE, BRIEF = LabModelConfig(width=32, layers=1, heads=2, hidden=32), PretrainConfig(
    steps=60, texts=2000, rows=8, checkpoint=20, warmup=5
)
FEW = GrpoConfig(steps=6, questions=8, group=4, max_tokens=22, warmup=0, checkpoint=2)


def weights(model: Model) -> dict: return dict(model.load("cpu")[0].named_parameters())


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40))
def test_packing_keeps_every_token_once(lengths):
    sequences = [list(range(i * 100, i * 100 + n)) for i, n in enumerate(lengths)]
    ids, part, position = pack(sequences, 12)
    assert sorted(ids[part >= 0]) == sorted(token for s in sequences for token in s)
    assert (part >= 0).sum() == sum(lengths)
    starts = (position == 0) & (part >= 0)
    assert starts.sum() == len(sequences)


@pytest.mark.parametrize("variant", ["grpo", "dr_grpo"])
def test_rlvr_changes_every_matrix(store, variant):
    base = pretrain_base(TASK, SIZE, BRIEF)
    trained = train_grpo(base, TASK, TASK.questions("train"), FEW.model_copy(update=dict(variant=variant)))
    before, after = weights(base), weights(trained)
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("proj.weight"))
    history = json.loads((trained.folder / "history.json").read_text())
    assert [row["step"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert {"reward", "groups without gradient", "token entropy", "response length"} <= set(history[0])
    assert not list(trained.folder.glob("checkpoint-*"))


@pytest.mark.parametrize("variant", ["grpo", "dr_grpo"])
def test_distinct_rollouts_have_the_gradient_of_all(store, variant, tmp_path):
    from trl import GRPOTrainer
    trainer = grpo_trainer(
        pretrain_base(TASK, SIZE, BRIEF), TASK, TASK.questions("train"),
        FEW.model_copy(update=dict(variant=variant, steps=1, group=32)), tmp_path,
    )
    ours, seen = trainer._compute_loss, []
    def both(model, inputs):
        rows = len(inputs["advantages"]), len(distinct_rollouts(inputs)["advantages"])
        gradients = [
            torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
            for loss in (GRPOTrainer._compute_loss(trainer, model, inputs), ours(model, inputs))
        ]
        seen.append((rows, gradients))
        return ours(model, inputs)
    trainer._compute_loss = both
    trainer.train()
    [((every, distinct), (whole, short))] = seen
    assert distinct < every and any(gradient.abs().max() > 0 for gradient in whole)
    for a, b in zip(whole, short): torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_rlvr_raises_the_reward_it_is_given(store):
    "A reward that anyone can earn (any name as answer) is earned more and more."
    class AnyName:
        name, version, untrusted, max_tokens = "any-name", "1", False, 22
        questions, source = TASK.questions, TASK.source
        def grade(self, question, completion):
            return Grade(RIGHT if completion.split()[-1:] == [TASK.world.people[0]] else WRONG, "x")
    base = pretrain_base(TASK, SIZE, BRIEF)
    trained = train_grpo(
        base, AnyName(), TASK.questions("train"),
        GrpoConfig(steps=25, questions=16, group=16, max_tokens=22, warmup=0, learning_rate=3e-3),
    )
    reward = [row["reward"] for row in json.loads((trained.folder / "history.json").read_text())]
    assert np.mean(reward[-5:]) > np.mean(reward[:5]) + .2


def test_a_verifier_error_is_no_reward():
    class Broken:
        name, version, untrusted, max_tokens = "broken", "1", False, 22
        questions, source = TASK.questions, TASK.source
        def grade(self, question, completion): return Grade({"r": RIGHT, "w": WRONG}.get(completion, ERROR))
    question = TASK.questions("train")[0]
    assert make_reward(Broken(), [question])(["r", "w", "e"], [question.id] * 3) == [1., 0., None]


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_training import BRIEF, FEW, SIZE, TASK, pretrain_base, train_grpo
print(train_grpo(pretrain_base(TASK, SIZE, BRIEF), TASK, TASK.questions("train"), FEW))
"""


def run_until(condition, out: Path, program: str = KILLED) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent)], env=os.environ | dict(RLVD_OUT=str(out)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    deadline = time.time() + 180
    while not condition() and process.poll() is None and time.time() < deadline: time.sleep(.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"


def test_killed_training_goes_on_with_the_same_trajectory(store):
    "kill -9 in pretraining, again in GRPO, then to the end: the weights of a run that was never killed."
    run_until(lambda: list(store.glob("store/base/*.work/state.safetensors")), store)
    run_until(lambda: list(store.glob("store/grpo/*.work/checkpoint-2/trainer_state.json")), store)
    resumed = train_grpo(pretrain_base(TASK, SIZE, BRIEF), TASK, TASK.questions("train"), FEW)
    os.environ["RLVD_OUT"] = str(store) + "-fresh"
    whole = train_grpo(pretrain_base(TASK, SIZE, BRIEF), TASK, TASK.questions("train"), FEW)
    a, b = weights(resumed), weights(whole)
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
    assert [row["step"] for row in json.loads((resumed.folder / "history.json").read_text())] == [1, 2, 3, 4, 5, 6]


def test_a_model_is_not_trained_twice(store):
    base = pretrain_base(TASK, SIZE, BRIEF)
    stamp = (base.folder / "model.safetensors").stat().st_mtime_ns
    assert pretrain_base(TASK, SIZE, BRIEF) == base and (base.folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert pretrain_base(TASK, SIZE, BRIEF.model_copy(update=dict(seed=1))) != base


def test_damaged_weights_are_found(store, capsys):
    base = pretrain_base(TASK, SIZE, BRIEF)
    good = (base.folder / "model.safetensors").read_bytes()
    (base.folder / "model.safetensors").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert (pretrain_base(TASK, SIZE, BRIEF).folder / "model.safetensors").read_bytes() == good
    assert "model.safetensors is not what was written" in capsys.readouterr().out


@pytest.mark.parametrize("files, message", [({}, "no config.json"), ({"config.json": "{}"}, "no safetensors weights")])
def test_a_folder_that_is_no_model(tmp_path, files, message):
    for name, text in files.items(): (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message): open_model(tmp_path)
