"""Our own loop is TRL's trainers, to rounding: the same losses and weights after several steps; a kill changes nothing."""
import json, math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st
from test_training import run_until, weights
from tiny_lab import TASK

from rlvd_nb.core.errors import UserError
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.training.distillation import SftConfig, completion_loss, run_lean, run_sft, sft_trainer, train_sft
from rlvd_nb.training.loop import adamw, first_fit, in_turn, pack
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

def test_supervised_fine_tuning_is_trls(tiny_base, tmp_path):
    "Batches that are not full, warm-up, clipping, a part of an epoch: the same curves and the same weights."
    config = LEAN.model_copy(update=dict(lean=False))
    for run, folder in ((run_sft, "trl"), (run_lean, "lean")):
        (tmp_path / folder).mkdir()
        run(tmp_path / folder, tiny_base, lessons(), config)
    theirs, ours = (Model.at(tmp_path / folder) for folder in ("trl", "lean"))
    a, b = training_history(theirs), training_history(ours)
    assert list(a) == list(b) and len(a) == 10  # 2.5 epochs of 4 steps
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    assert (a["gradient norm"] > 1).all()  # clipped
    start = weights(tiny_base)
    for (name, x), y in zip(weights(theirs).items(), weights(ours).values()):
        moved = (x - start[name]).abs().max()
        assert moved > 1e-3 and (x - y).abs().max() < 2e-3 * moved, name


def test_supervised_fine_tuning_is_trls_to_the_last_digits(tiny_base, tmp_path):
    "In 64 bits nothing is left of rounding: loss and gradient of a batch."
    trainer = sft_trainer(tiny_base, lessons(), SftConfig(batch=20), tmp_path)
    batch, = trainer.get_train_dataloader()
    model = trainer.model.double()
    loss = trainer.compute_loss(model, batch, num_items_in_batch=(batch["labels"] != -100).sum())
    theirs = torch.autograd.grad(loss, list(model.parameters()))
    rows = [dict(input_ids=row["input_ids"], completion_mask=row["completion_mask"]) for row in rows_of(tiny_base)]
    ours_loss, noted = completion_loss(model, rows)
    ours = torch.autograd.grad(ours_loss, list(model.parameters()))
    torch.testing.assert_close(ours_loss, loss.double(), rtol=1e-6, atol=1e-7)
    for x, y in zip(theirs, ours): torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-7)


def rows_of(model):
    from rlvd_nb.models.prompts import completion_rows
    pairs = lessons()
    return completion_rows(model.tokenizer(), pairs["prompt"], pairs["completion"], 128)
