"""The number of draws it takes is the number that simulation needs; the base model's own responses were never absent;
log-probabilities are ones."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.models.checkpoints import Model, save
from rlvd_nb.models.word_models import LabModelConfig, new_model, word_tokenizer
from rlvd_nb.models.sampling import Request, SamplingParams
from rlvd_nb.models.scoring import by_length, logprobs
from rlvd_nb.models.transformers_sampler import TransformersSampler
from rlvd_nb.responses.novelty import (
    beyond_null, distinct_right, expected_draws, longer_than, never_written, novelty, novelty_sets, question_values)

WORDS = "? mentor rival Ada Bo Cy".split()


def graded(*each):
    "Graded rows from (question, completion, verdict)."
    return pd.DataFrame(
        [dict(question_id=q, completion=text, verdict=verdict, finished=True) for q, text, verdict in each]
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(.01, 1), min_size=2, max_size=6), st.data())
def test_expected_draws_are_those_of_simulation(weights, data):
    "Text i is written with known probability, until a chosen one comes: mean number of draws within 5 standard errors."
    p = np.array(weights) / sum(weights)
    chosen = data.draw(st.sets(st.integers(0, len(p) - 1), min_size=1))
    chains = pd.DataFrame(dict(question_id="q", completion=[str(i) for i in sorted(chosen)]))
    expected = expected_draws(chains, np.log(p[sorted(chosen)]))["q"]
    rng = np.random.default_rng(0)
    hit = np.flatnonzero(np.isin(rng.choice(len(p), size=20_000, p=p), list(chosen)))
    waits = np.diff(np.concatenate([[-1], hit]))
    assert abs(waits.mean() - expected) < 5 * max(waits.std(), 1e-9) / np.sqrt(len(waits)) + .01 * expected


@given(st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "z"]), st.sampled_from(["right", "wrong"])),
    min_size=1, max_size=20))
def test_a_set_against_itself_is_never_absent(each):
    rows = graded(*each)
    chains = distinct_right(rows)
    assert not never_written(chains, rows).any()
    assert never_written(
        chains, rows.assign(question_id="elsewhere")
    ).all()  # the same text to another question is no evidence
    assert len(chains) == len({pair[:2] for pair in each if pair[2] == "right"})


def test_a_question_by_hand():
    chains = distinct_right(
        graded(("a", "x", "right"), ("a", "x", "right"), ("a", "y", "right"), ("b", "z", "right"), ("b", "w", "wrong"))
    )
    values = question_values(chains, never_written(chains, graded(("a", "x", "right"))), np.log([.25, .25, .001]))
    assert values["chains"].to_dict() == dict(a=2, b=1) and values["absent"].to_dict() == dict(a=.5, b=1)
    assert values["draws"].to_dict() == pytest.approx(dict(a=2, b=1000))
    table = novelty({"RL": values}, 256).set_index("quantity")["value"]
    assert table["share of questions that would take the base model more than 256 draws"] == .5
    assert longer_than({"RL": values}, [1, 2, 999, 1001]) == {"RL": [1, .5, .5, 0]}
    assert beyond_null(values, values).query("quantity == 'log-probability'")["difference"].item() == 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    "A model of six words, far from uniform."
    import torch
    tokenizer = word_tokenizer(WORDS, ["mentor", "rival"])
    model = new_model(LabModelConfig(width=32, layers=2, heads=4, hidden=32), tokenizer, seed=1)
    with torch.no_grad():
        for parameter in model.parameters(): parameter.mul_(3)
    return Model.at(save(model, tokenizer, tmp_path_factory.mktemp("tiny") / "model"))


def test_probabilities_of_all_one_token_answers_are_at_most_one(tiny, store):
    "All answers of one token and their end: with the longer ones and the empty one they would make 1."
    answers = [f" {word}" for word in WORDS]
    p = np.exp(logprobs(tiny, pd.DataFrame(dict(prompt="mentor Ada ?", completion=answers))))
    assert 0 < p.sum() <= 1 and (p > 0).all()
    import torch
    model, tokenizer = tiny.load("cpu")
    ids = tokenizer("mentor Ada ?").input_ids
    with torch.no_grad():
        first = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        after = [
            model(torch.tensor([ids + tokenizer(a, add_special_tokens=False).input_ids]))
            .logits[0, -1]
            .softmax(-1)[tokenizer.eos_token_id]
            for a in answers
        ]
    expected = [
        first[tokenizer(a, add_special_tokens=False).input_ids[0]] * e for a, e in zip(answers, after)
    ]
    np.testing.assert_allclose(p, np.array(expected), rtol=1e-4)


def test_scores_are_the_samplers_and_no_batch_changes_them(tiny, store):
    "What the sampler says of its own finished responses, whatever they are padded with."
    model, tokenizer = tiny.load("cpu")
    sampler, pairs, expected = TransformersSampler(model, tokenizer), [], []
    for batch in sampler.sample(
        [Request("mentor Ada ?", 0, 40), Request("rival mentor Bo ?", 0, 40)], SamplingParams(max_tokens=12)
    ):
        for request, completions in batch:
            done = [c for c in completions if c.finished]
            for c, text in zip(done, sampler.decode([c.tokens for c in done])):
                if not text or 0 in c.tokens:
                    continue  # an empty text is refused; padding, which an untrained model writes, no text shows
                pairs.append((request.prompt, text))
                expected.append(c.logprob.sum())
    found = logprobs(tiny, pd.DataFrame(pairs, columns=["prompt", "completion"]))
    assert len(found) > 20
    np.testing.assert_allclose(found, expected, atol=1e-4)
    alone = logprobs(tiny, pd.DataFrame(pairs, columns=["prompt", "completion"]).iloc[::-1], memory=1)
    np.testing.assert_allclose(alone[::-1], found, atol=1e-5)


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_batches_hold_every_row_once_and_fit(lengths, room):
    batches = by_length(lengths, room)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= room for batch in batches)


def test_nothing_right_is_said(tiny, store):
    rows = graded(("a", " Ada", "right"))
    with pytest.raises(UserError, match="RL has no right response"):
        novelty_sets(tiny, {"base": rows, "RL": graded(("a", " Bo", "wrong"))}, {"a": "mentor Ada ?"})
    found = novelty_sets(tiny, {"base": rows, "again": rows}, {"a": "mentor Ada ?"})["again"]
    assert found["absent"].tolist() == [0] and found["draws"].item() == pytest.approx(np.exp(-found["logprob"].item()))
