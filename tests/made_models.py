"""Responses of models with known success rates, and evidence made of them, for tests that need no model."""
from rlvd_nb.responses.arrays import simulate_responses
from rlvd_nb.responses.evaluation import BeforeAfter


def model(rates, seed, n=64): return simulate_responses(rates, n, seed)


def pair(before, after, seed=0, n=64):
    return BeforeAfter(model(before, seed, n), model(after, seed + 1, n), model(before, seed + 2, n))


class MadeEvidence:
    "A replicate in which every trained model is the same pair, on training and test questions."
    def __init__(self, made): self.made = made

    def pair(self, name, split="test"): return self.made
