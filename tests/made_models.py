"""Responses of models with known success rates, for tests that need no model."""
import numpy as np

from rlvd_nb.tasks.base import Question
from rlvd_nb.responses.arrays import Responses
from rlvd_nb.responses.evaluation import BeforeAfter


def model(rates, seed, n=64):
    "Responses of a model with one success rate a question."
    rng = np.random.default_rng(seed)
    right = rng.random((len(rates), n)) < np.asarray(rates)[:, None]
    gold = np.arange(len(rates))
    asked = tuple(Question(str(i), f"{i} ?", str(i), "test") for i in gold)
    answers = np.where(right, gold[:, None], len(rates) + rng.integers(30, size=right.shape))
    return Responses(asked, right, right, answers, gold, np.ones(right.shape, int))


def pair(before, after, seed=0, n=64):
    return BeforeAfter(model(before, seed, n), model(after, seed + 1, n), model(before, seed + 2, n))
