"""Steps of our own loop for lab models against TRL's trainers and transformers' forward pass: python
benchmarks/training.py [ROUNDS]

The lab's world and model; old and new in turns in one process of one thread, in seconds of the processor, so that a
busy machine disturbs both alike. A step's cost is what a longer run takes more than a shorter one, setting up left out.
The code before the loop is that of commit 5b434c4; "TRL" and "transformers" are its paths. Muon's steps are dearer, and
fewer are needed (CHANGELOG.md); torch's own multiplies in bfloat16, which some processors only imitate.
"""
import os, statistics, sys, tempfile, time
from pathlib import Path

import pandas as pd
import torch

os.environ.setdefault("TQDM_DISABLE", "1")
torch.set_num_threads(1)

from rlvd_nb.tasks.kinship import task as kinship
from rlvd_nb.models.word_models import LabModelConfig, new_model, word_tokenizer
from rlvd_nb.training import distillation, rlvr
from rlvd_nb.training.pretraining import PretrainConfig, optimizers_of, packed_loss, packed_text, pretrain_base


def longer(run, short: int, long: int) -> float:
    "Processor seconds a step, of the steps that the longer run has more."
    spent = []
    for steps in (short, long):
        with tempfile.TemporaryDirectory() as work:
            start = time.process_time()
            run(Path(work), steps)
            spent.append(time.process_time() - start)
    return (spent[1] - spent[0]) / (long - short)


def fine_tuning(base, task):
    "A step on 128 worked chains."
    questions = task.questions("train")
    pairs = pd.DataFrame([dict(prompt=q.prompt, completion=" " + task.worked(q, s)) for s in (0, 1) for q in questions])
    pairs = pairs.head(1152)  # nine steps an epoch
    config = lambda epochs: distillation.SftConfig(epochs=epochs, batch=128, learning_rate=4e-4, checkpoint=10**6)
    kinds = dict(TRL=distillation.run_sft, loop=distillation.run_lean)
    return {
        name: lambda run=run: longer(lambda work, steps: run(work, base, pairs, config(steps / 9)), 9, 27)
        for name, run in kinds.items()
    }


def reinforcement(base, task):
    "A step of 64 questions x 16 rollouts, sampling and grading included."
    config = lambda steps: rlvr.GrpoConfig(steps=steps, max_tokens=22, checkpoint=10**6)
    kinds, asked = dict(TRL=rlvr.run_grpo, loop=rlvr.run_lean_grpo), task.questions("train")
    return {
        name: lambda run=run: longer(lambda work, n: run(work, base, task, asked, config(n), "question"), 2, 8)
        for name, run in kinds.items()
    }


def transformers_loss(model, ids, part, position):
    "The loss with transformers' own forward pass, as it was before the loop."
    causal = torch.tril(torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool))
    mask = ((part[:, :, None] == part[:, None, :]) & causal)[:, None]
    logits = model(input_ids=ids, attention_mask=mask, position_ids=position, use_cache=False).logits
    inside = (part[:, 1:] == part[:, :-1]) & (part[:, 1:] >= 0)
    return torch.nn.functional.cross_entropy(logits[:, :-1][inside], ids[:, 1:][inside])


def pretraining(task):
    "A step on 29 rows of 64 tokens."
    tokenizer = word_tokenizer(task.vocabulary, task.starts)
    data = packed_text(task, tokenizer, PretrainConfig(texts=5000))
    def run(loss, optimizer, of_torch=False):
        model = new_model(LabModelConfig(), tokenizer, 0)
        trained = optimizers_of(model, PretrainConfig(optimizer=optimizer))
        if of_torch: trained[1] = torch.optim.Muon(trained[1].param_groups[0]["params"], adjust_lr_fn="match_rms_adamw")
        def steps(_, count):
            for step in range(count):
                model.zero_grad(set_to_none=True)
                loss(model, *(tensor[step:step + 29] for tensor in data)).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
                for each in trained: each.step()
        return lambda: longer(steps, 2, 22)
    ways = dict(transformers=(transformers_loss, "adamw"), loop=(packed_loss, "adamw"), Muon=(packed_loss, "muon"))
    return {name: run(*way) for name, way in (ways | {"torch's Muon": (packed_loss, "muon", True)}).items()}


def main(rounds: int = 3) -> None:
    task = kinship()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RLVD_OUT"] = folder
        base = pretrain_base(task, LabModelConfig(), PretrainConfig(steps=300, texts=20_000, checkpoint=300))
        kinds = dict(
            pretraining=pretraining(task), fine_tuning=fine_tuning(base, task), reinforcement=reinforcement(base, task)
        )
        found = {(kind, name): [] for kind, ways in kinds.items() for name in ways}
        for _ in range(rounds):
            for (kind, name), spent in found.items(): spent.append(kinds[kind][name]())
    table, first = [], {kind: next(iter(ways)) for kind, ways in kinds.items()}
    for (kind, name), spent in found.items():
        step, before = statistics.median(spent), statistics.median(found[kind, first[kind]])
        table.append(dict(
            step_of=kind, by=name, milliseconds=round(1000 * step), steps_a_second=round(1 / step, 2),
            times_as_fast=round(before / step, 2),
        ))
    print(pd.DataFrame(table).to_string(index=False))


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
