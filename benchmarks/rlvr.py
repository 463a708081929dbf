"""RLVR steps that learn from every distinct rollout with a gradient once, against TRL's own: python
benchmarks/rlvr.py [STEPS]

The lab's world and model, rollouts and verifier; three rounds in turns, each in a store of its own.
"""
import os, statistics, sys, tempfile, time

import pandas as pd

from rlvd_nb.tasks.kinship import task as kinship
from rlvd_nb.models.word_models import LabModelConfig
from rlvd_nb.training.pretraining import PretrainConfig, pretrain_base
from rlvd_nb.training import rlvr

DISTINCT = rlvr.distinct_rollouts


def seconds(base, task, steps: int) -> float:
    start = time.perf_counter()
    rlvr.train_grpo(
        base, task, task.questions("train"),
        rlvr.GrpoConfig(steps=steps, questions=64, group=16, max_tokens=22, learning_rate=1e-3, warmup=10),
    )
    return time.perf_counter() - start


def main(steps: int = 20) -> None:
    task, times = kinship(), {"every rollout": [], "distinct rollouts": []}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RLVD_OUT"] = folder
        base = pretrain_base(task, LabModelConfig(), PretrainConfig(steps=300, texts=20_000, checkpoint=300))
        for turn in range(3):
            for name, chosen in (("every rollout", lambda inputs: inputs), ("distinct rollouts", DISTINCT)):
                os.environ["RLVD_OUT"], rlvr.distinct_rollouts = f"{folder}/{name}-{turn}", chosen
                times[name].append(seconds(base, task, steps) / steps)
    step = {name: statistics.median(found) for name, found in times.items()}
    print(
        pd.DataFrame([
            dict(
                learns_from=name, seconds_a_step=round(value, 3), times_as_fast=round(step["every rollout"] / value, 2)
            )
            for name, value in step.items()
        ]).to_string(index=False)
    )


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
