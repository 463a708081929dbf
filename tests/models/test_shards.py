"""Shards hold what was asked, each response once; gaps are those of a plain count; processes change nothing."""
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.core.workers import Place
from rlvd_nb.models import shards as module
from rlvd_nb.models.sampling import Request, SamplingParams
from rlvd_nb.models.shards import ShardedSampler, pairs, runs, sharded, shards
from rlvd_nb.models.store import Gaps, add_part, missing, respond
from rlvd_nb.tasks.kinship import task as kinship

PAIRS = st.sets(st.tuples(st.sampled_from(["a", "bb", "ccc"]), st.integers(0, 40)))
TASK, PARAMS = kinship(entities=40, train_questions=30, test_questions=30), SamplingParams(max_tokens=8)


@given(PAIRS, st.integers(1, 20))
def test_nothing_is_lost_and_nothing_is_twice(wanted, size):
    requests = runs(wanted)
    assert pairs(requests) == wanted and sum(r.count for r in requests) == len(wanted)
    cut = shards(requests, size).values()
    assert sorted(pair for shard in cut for pair in pairs(shard)) == sorted(wanted)
    assert all(sum(r.count for r in shard) <= size for shard in cut) and sum(map(len, cut)) >= len(requests)


@given(PAIRS, st.integers(0, 30))
def test_gaps_are_what_is_wanted_less_what_is_there(there, n):
    prompts = ["a", "bb", "another"]
    gaps = Gaps(prompts, n)
    gaps.mark(*zip(*there) if there else ((), ()))
    wanted = {(prompt, i) for prompt in prompts for i in range(n)}
    assert pairs(Request(*gap) for gap in gaps.left()) == wanted - there


def test_gaps_of_parts_with_other_columns(tmp_path):
    "Texts are not read: a part may have others, or none."
    for text in ({}, dict(completion="x"), dict(completion="y", more=1)):
        add_part(tmp_path, pd.DataFrame(dict(prompt=["a"], sample_index=[len(text)])).assign(**text))
    assert missing(tmp_path, ["a", "b"], 4) == [("a", 3, 1), ("b", 0, 4)]


def test_processes_draw_what_one_engine_draws(store, tiny_model, monkeypatch):
    questions, place = TASK.questions("test"), Place("processes", 2)
    many = lambda model: ShardedSampler(model, str(model.folder), "transformers", place, 40)
    found = respond(tiny_model, TASK, questions, 8, PARAMS, engine="transformers", sampler=many)
    monkeypatch.setenv("RLVD_OUT", str(store) + "-here")
    alone = respond(tiny_model, TASK, questions, 8, PARAMS, engine="transformers")
    pd.testing.assert_frame_equal(found.drop(columns="logprob"), alone.drop(columns="logprob"))


def test_processes_do_not_share_a_gpu(tiny_model, monkeypatch):
    monkeypatch.setattr(module, "best_device", lambda: "cuda")
    draw = sharded(str(tiny_model.folder), "transformers", Place("processes", 2))(tiny_model).rows
    with pytest.raises(UserError, match="^--on processes shares processors, and this machine has a GPU; take --on ray"):
        next(draw([Request("a", 0, 1)], PARAMS))
