"""Our own loop is TRL's trainers, to rounding: the same losses and weights after several steps; a kill changes
nothing."""
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st
from test_training import Judge, weights
from tiny_lab import TASK

import rlvd_nb.training.loop as loop
import rlvd_nb.training.rlvr as rlvr
from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import ERROR, RIGHT, WRONG
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.prompts import completion_rows
from rlvd_nb.training.distillation import SftConfig, completion_loss, run_lean, run_sft, sft_trainer, train_sft
from rlvd_nb.training.loop import first_fit, in_turn, pack
from rlvd_nb.training.rlvr import (
    GrpoConfig, grpo_trainer, policy_loss, rollout_weights, run_grpo, run_lean_grpo, train_grpo,
)
from rlvd_nb.training.trainers import training_history

QUESTIONS = TASK.questions("train")
LEAN = SftConfig(epochs=2.5, batch=6, warmup=3, learning_rate=2e-3, checkpoint=2, lean=True)


def lessons(count=20):
    "Right chains, of every length."
    return pd.DataFrame([
        dict(prompt=q.prompt, completion=" " + TASK.worked(q, seed)) for seed in (0, 1) for q in QUESTIONS[:count // 2]
    ])


# rows

@given(st.lists(st.integers(1, 12), min_size=1, max_size=60), st.sampled_from([in_turn, first_fit]))
def test_packing_keeps_every_token_once(lengths, into):
    sequences = [list(range(i * 100, i * 100 + n)) for i, n in enumerate(lengths)]
    ids, part, position = pack(sequences, 12, into)
    for number, sequence in enumerate(sequences):
        place = np.argwhere(part == number)
        assert ids[part == number].tolist() == sequence and len(set(place[:, 0])) == 1
        assert position[part == number].tolist() == list(range(len(sequence)))
    assert (part >= 0).sum() == sum(lengths)
    assert len(ids) <= 2 * math.ceil(sum(lengths) / 12) + 1


@given(st.lists(st.integers(1, 12), min_size=1, max_size=60))
def test_the_first_fit_takes_no_more_rows(lengths):
    assert len(first_fit(lengths, 12)) <= 1.23 * len(in_turn(lengths, 12)) + 1
    assert sorted(sum(first_fit(lengths, 12), [])) == list(range(len(lengths)))


# supervised fine-tuning

def both(runs, tmp_path, *given):
    "The models of TRL's run and of ours."
    for run, name in zip(runs, ("trl", "lean")):
        (tmp_path / name).mkdir()
        run(tmp_path / name, *given)
    return [Model.at(tmp_path / name) for name in ("trl", "lean")]


def assert_same(theirs, ours, start):
    "Curves and weights are those of TRL, and the weights have moved."
    a, b = training_history(theirs), training_history(ours)
    assert list(a) == list(b)
    np.testing.assert_allclose(a, b, rtol=5e-4, atol=5e-5)
    before = weights(start)
    for (name, x), y in zip(weights(theirs).items(), weights(ours).values()):
        moved = (x - before[name]).norm().item()
        assert moved > 1e-3 and (x - y).norm().item() < 1e-2 * moved, name


def test_supervised_fine_tuning_is_trls(tiny_base, tmp_path):
    "Batches that are not full, warm-up, clipping, a part of an epoch: the same curves and the same weights."
    theirs, ours = both((run_sft, run_lean), tmp_path, tiny_base, lessons(), LEAN)
    assert_same(theirs, ours, tiny_base)
    assert len(training_history(ours)) == 10  # 2.5 epochs of 4 steps
    assert (training_history(ours)["gradient norm"] > 1).all()  # so they are clipped


def test_supervised_fine_tuning_is_trls_to_the_last_digits(tiny_base, tmp_path):
    "In 64 bits nothing is left of rounding: loss and gradient of a batch."
    trainer = sft_trainer(tiny_base, lessons(), SftConfig(batch=20), tmp_path)
    batch, = trainer.get_train_dataloader()
    model = trainer.model.double()
    loss = trainer.compute_loss(model, batch, num_items_in_batch=(batch["labels"] != -100).sum())
    theirs = torch.autograd.grad(loss, list(model.parameters()))
    pairs = lessons()
    rows = completion_rows(tiny_base.tokenizer(), pairs["prompt"], pairs["completion"], 128)
    ours_loss, noted = completion_loss(model, rows)
    ours = torch.autograd.grad(ours_loss, list(model.parameters()))
    torch.testing.assert_close(ours_loss, loss.double(), rtol=1e-6, atol=1e-7)
    for x, y in zip(theirs, ours): torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-7)


# RLVR

def uneven(text): return ERROR if len(text) % 7 == 0 else RIGHT if "a" in text.split()[-1:][0] else WRONG


JUDGE = Judge("uneven", lambda text: uneven(text or "none"))
SETTINGS = [dict(variant="grpo"), dict(variant="dr_grpo", temperature=.7, trl=dict(beta=.3))]


@pytest.mark.parametrize("given", SETTINGS, ids=lambda given: given["variant"])
def test_rlvr_is_trls(tiny_base, tmp_path, monkeypatch, given):
    "Both variants, temperature, divergence from the start, verifier errors, a second epoch: TRL's curves and weights."
    monkeypatch.setattr(rlvr, "plain_mean", lambda trainer, inputs: False)  # TRL's own loss, every rollout in it
    config = GrpoConfig(steps=4, questions=12, group=6, max_tokens=22, warmup=2, learning_rate=2e-3, **given)
    theirs, ours = both((run_grpo, run_lean_grpo), tmp_path, tiny_base, JUDGE, QUESTIONS, config, "question")
    a, b = training_history(theirs), training_history(ours)
    np.testing.assert_allclose(a["token entropy"], b["token entropy"], atol=.25)  # ours is that of what was drawn
    for history in (a, b): history["token entropy"] = 0.
    for model, history in ((theirs, a), (ours, b)): history.to_json(model.folder / "history.json", orient="records")
    assert_same(theirs, ours, tiny_base)


@pytest.mark.parametrize("given", SETTINGS, ids=lambda given: given["variant"])
def test_rlvr_is_trls_to_the_last_digits(tiny_base, tmp_path, given):
    "In 64 bits nothing is left of rounding: loss and gradient of the same rollouts."
    from trl import GRPOTrainer
    config = GrpoConfig(steps=1, questions=3, group=48, max_tokens=22, **given)
    trainer = grpo_trainer(tiny_base, JUDGE, QUESTIONS, config, tmp_path)
    inputs = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
    rows = zip(*(inputs[f"{part}_{what}"].tolist() for part in ("prompt", "completion") for what in ("ids", "mask")))
    only = lambda ids, mask: tuple(token for token, there in zip(ids, mask) if there)
    rollouts = [(only(*row[:2]), only(*row[2:])) for row in rows]
    model, reference = trainer.model.double(), tiny_base.load("cpu")[0].double()
    if config.trl:
        parts = [[inputs[f"{part}_{what}"] for part in ("prompt", "completion")] for what in ("ids", "mask")]
        whole = [torch.cat(each, 1) for each in parts]
        keep = inputs["completion_ids"].shape[1]
        inputs["ref_per_token_logps"] = trainer._get_per_token_logps_and_entropies(model, *whole, keep)[0].detach()
        with torch.no_grad():
            for value in model.parameters(): value.mul_(1.01)  # else the divergence has no gradient
    loss = GRPOTrainer._compute_loss(trainer, model, inputs)
    theirs = torch.autograd.grad(loss, list(model.parameters()))
    distinct, weights, counts = rollout_weights(rollouts, inputs["advantages"], config)
    assert len(distinct) < len(rollouts)
    ours_loss = policy_loss(model, distinct, weights.double(), counts.double(), config, reference)
    ours = torch.autograd.grad(ours_loss, list(model.parameters()))
    torch.testing.assert_close(ours_loss, loss.double(), rtol=1e-4, atol=1e-6)
    for x, y in zip(theirs, ours): torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-6)


# a run that is cut off

class Cut(Exception): "The run ends here."


def cut_at(monkeypatch, wanted):
    "Let the loop end when it has noted so many steps; what it noted before."
    seen, real = [], loop.check_loss
    def check(noted, label):
        real(noted, label)
        seen.append(len(noted))
        if len(noted) == wanted: raise Cut
    monkeypatch.setattr(loop, "check_loss", check)
    return seen


@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_a_run_that_was_cut_off_ends_where_it_would_have(tiny_base, store, monkeypatch, kind):
    "Weights, curves and snapshots."
    few = GrpoConfig(steps=6, questions=6, group=4, max_tokens=22, warmup=2, checkpoint=2, lean=True, snapshots=True)
    imitate = LEAN.model_copy(update=dict(snapshots=True))
    def train():
        if kind == "sft": return train_sft(tiny_base, lessons(), imitate)
        return train_grpo(tiny_base, JUDGE, QUESTIONS, few)
    with monkeypatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(Cut): train()
    with monkeypatch.context() as patch:
        seen = cut_at(patch, 0)
        resumed = train()
    assert seen[0] == 5  # step 4 was in the checkpoint
    monkeypatch.setenv("RLVD_OUT", f"{store}-fresh")
    whole = train()
    assert resumed.fingerprint == whole.fingerprint and training_history(resumed).equals(training_history(whole))
    steps = [sorted(path.name for path in model.folder.glob("step-*")) for model in (resumed, whole)]
    assert steps[0] == steps[1] and f"step-{len(training_history(whole))}" in steps[0] and "step-2" in steps[0]
    for name in steps[0]:
        assert Model.at(resumed.folder / name).fingerprint == Model.at(whole.folder / name).fingerprint


def test_what_only_trl_has_is_refused(tiny_base, store):
    with pytest.raises(UserError, match=r"lora \(4\) is for TRL's trainers"):
        train_sft(tiny_base, lessons(), LEAN.model_copy(update=dict(lora=4)))
    with pytest.raises(UserError, match="launch .--cpu. is for TRL's trainers"):
        train_sft(tiny_base, lessons(), LEAN, "--cpu")
    with pytest.raises(UserError, match=r"trl \(top_k\) is for TRL's trainers"):
        train_grpo(tiny_base, TASK, QUESTIONS, GrpoConfig(questions=4, trl=dict(top_k=3, beta=.1), lean=True))


def test_a_lean_model_has_a_name_of_its_own(tiny_base, store):
    assert "lean" not in SftConfig().model_dump(mode="json") and LEAN.model_dump(mode="json")["lean"] is True
