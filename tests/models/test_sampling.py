"""The sampler is exact: the model's own distribution, token by token, whoever else is in the batch."""
import json, warnings

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats

from rlvd_nb.core.errors import UserError
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.word_models import LabModelConfig, new_model, word_tokenizer
from rlvd_nb.models.sampling import Request, SamplingParams, before_stop
from rlvd_nb.models.transformers_sampler import TransformersSampler, warpers

WORDS = "? wait mentor rival Ada Bo Cy Di".split()
PROMPTS = ["mentor Ada ?", "rival mentor Bo ?", "mentor Cy ?", "mentor mentor rival Di ?"]


@pytest.fixture(scope="module")
def lab():
    tokenizer = word_tokenizer(WORDS, ["mentor", "rival"])
    model = new_model(LabModelConfig(width=32, layers=2, heads=4, hidden=32), tokenizer, seed=3).eval()
    with torch.no_grad():
        for parameter in model.parameters(): parameter.mul_(3)  # far from uniform, so that mistakes show
    return model, tokenizer


def other_architecture(name):
    from transformers import AutoConfig, AutoModelForCausalLM
    shapes = {
        "gpt2": dict(n_embd=32, n_layer=2, n_head=2, n_positions=64),
        "llama": dict(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=32
        ),
        "mistral": dict(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=32,
            sliding_window=4,
        ),
        "gemma3_text": dict(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=32,
            head_dim=8, sliding_window=4,
        ),
    }
    tokenizer = word_tokenizer(WORDS, ["mentor", "rival"])
    config = AutoConfig.for_model(
        name, vocab_size=len(tokenizer), eos_token_id=1, pad_token_id=0, bos_token_id=None, **shapes[name]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return AutoModelForCausalLM.from_config(config).eval(), tokenizer


def collected(sampler, requests, params):
    "Prompt to its completions in order of index."
    found = {}
    for batch in sampler.sample(requests, params):
        for request, completions in batch: found.setdefault(request.prompt, []).extend(completions)
    return {prompt: sorted(done, key=lambda c: c.index) for prompt, done in found.items()}


def check_against_forward(model, tokenizer, samples):
    for prompt, completions in samples.items():
        ids = tokenizer(prompt).input_ids
        for c in completions:
            with torch.no_grad(): whole = model(torch.tensor([[*ids, *c.tokens]])).logits[0].float().log_softmax(-1)
            expected = whole[len(ids) - 1:-1].gather(1, torch.tensor(c.tokens)[:, None])[:, 0].numpy()
            np.testing.assert_allclose(c.logprob, expected, atol=1e-5)


def test_log_probabilities_are_those_of_forward(lab):
    sampler = TransformersSampler(*lab)
    check_against_forward(*lab, collected(sampler, [Request(p, 0, 16) for p in PROMPTS], SamplingParams(max_tokens=8)))


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gemma3_text"])
def test_any_causal_model(name):
    model, tokenizer = other_architecture(name)
    sampler = TransformersSampler(model, tokenizer)
    check_against_forward(
        model, tokenizer, collected(sampler, [Request(p, 0, 8) for p in PROMPTS], SamplingParams(max_tokens=9))
    )


def test_a_checkpoint_as_users_have_it(tiny_model):
    model, tokenizer = tiny_model.load("cpu")
    samples = collected(
        TransformersSampler(model, tokenizer), [Request("Find the value of $x$", 0, 4)], SamplingParams(max_tokens=12)
    )
    check_against_forward(model, tokenizer, samples)


def test_greedy_is_generate(lab):
    model, tokenizer = lab
    greedy = collected(
        TransformersSampler(model, tokenizer), [Request(p, 0, 1) for p in PROMPTS],
        SamplingParams(temperature=0, max_tokens=10),
    )
    for prompt, (completion,) in greedy.items():
        ids = torch.tensor([tokenizer(prompt).input_ids])
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10)
        assert list(completion.tokens) == whole[0, ids.shape[1]:].tolist()


DRAWS = [dict(), dict(temperature=.7), dict(top_k=3), dict(temperature=1.4, top_p=.8)]


@pytest.mark.parametrize("params", [SamplingParams(max_tokens=1, **draw) for draw in DRAWS], ids=map(str, DRAWS))
def test_frequencies(lab, params):
    "Sampled first tokens against the exact distribution, by chi-square."
    model, tokenizer = lab
    ids = torch.tensor([tokenizer(PROMPTS[1]).input_ids])
    with torch.no_grad(): exact = warpers(params)(ids, model(ids).logits[:, -1].float()).softmax(-1)[0].double().numpy()
    draws = 20_000
    samples = collected(TransformersSampler(model, tokenizer), [Request(PROMPTS[1], 0, draws)], params)[PROMPTS[1]]
    seen = np.bincount([c.tokens[0] for c in samples], minlength=len(exact))
    assert seen[exact == 0].sum() == 0
    common = exact * draws >= 5
    observed = np.append(seen[common], seen[~common].sum())
    expected = np.append(exact[common], exact[~common].sum()) * draws
    keep = expected > 0
    assert stats.chisquare(observed[keep], expected[keep] * observed.sum() / expected[keep].sum()).pvalue > 1e-3


def test_frequencies_of_whole_responses(lab):
    "Two-token continuations, so that what happens after a split is tested too."
    model, tokenizer = lab
    prompt, draws = PROMPTS[0], 20_000
    ids = tokenizer(prompt).input_ids
    samples = collected(
        TransformersSampler(model, tokenizer), [Request(prompt, 0, draws)], SamplingParams(max_tokens=2)
    )[prompt]
    with torch.no_grad():
        first = model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        second = model(torch.tensor([[*ids, t] for t in range(len(first))])).logits[:, -1].double().softmax(-1)
    words = range(len(first))
    exact = {(t, u): float(first[t] * second[t, u]) for t in words for u in words if t != 1} | {(1,): float(first[1])}
    seen = {}
    for c in samples: seen[c.tokens] = seen.get(c.tokens, 0) + 1
    common = [key for key, p in exact.items() if p * draws >= 5]
    observed = np.array([seen.get(key, 0) for key in common] + [draws - sum(seen.get(key, 0) for key in common)])
    expected = np.array([exact[key] for key in common] + [1 - sum(exact[key] for key in common)]) * draws
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_a_sample_does_not_depend_on_its_company(lab):
    params, other = (SamplingParams(max_tokens=8, seed=seed) for seed in (5, 6))
    alone = collected(TransformersSampler(*lab), [Request(PROMPTS[1], 0, 40)], params)[PROMPTS[1]]
    small = TransformersSampler(*lab, memory=100_000)  # many small batches
    crowd = collected(small, [Request(p, 0, 40) for p in PROMPTS], params)[PROMPTS[1]]
    late = collected(TransformersSampler(*lab), [Request(PROMPTS[1], 30, 10)], params)[PROMPTS[1]]
    elsewhere = collected(TransformersSampler(*lab), [Request(PROMPTS[1], 0, 40)], other)[PROMPTS[1]]
    assert [c.tokens for c in alone] == [c.tokens for c in crowd]
    assert [c.tokens for c in alone[30:]] == [c.tokens for c in late]
    assert [c.tokens for c in alone] != [c.tokens for c in elsewhere]


def test_finished_and_truncated(lab):
    drawn = collected(TransformersSampler(*lab), [Request(PROMPTS[0], 0, 200)], SamplingParams(max_tokens=3))
    for c in drawn[PROMPTS[0]]:
        assert c.finished == (c.tokens[-1] == 1)
        assert c.finished or len(c.tokens) == 3
        assert 1 not in c.tokens[:-1]


def test_global_random_state_is_left_alone(lab):
    torch.manual_seed(7); np.random.seed(7)
    before = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(7); np.random.seed(7)
    collected(TransformersSampler(*lab), [Request(PROMPTS[0], 0, 5)], SamplingParams(max_tokens=3))
    assert (torch.rand(1).item(), np.random.rand()) == before


WRONG = [
    dict(temperature=-1), dict(top_k=-1), dict(top_p=1.5), dict(max_tokens=0), dict(stop="."), dict(stop=("",)),
    dict(stop=["."]),
]


@pytest.mark.parametrize("fields, message", [(fields, *fields) for fields in WRONG])
def test_wrong_parameters(fields, message):
    with pytest.raises(UserError, match=message): SamplingParams(**fields)


def test_a_prompt_that_does_not_fit(lab):
    with pytest.raises(UserError, match="do not fit the model's 128"):
        list(TransformersSampler(*lab).sample([Request(PROMPTS[0], 0, 1)], SamplingParams(max_tokens=126)))


STOPS = (" rival", "Bo Cy")


@pytest.mark.parametrize("temperature, max_tokens", [(1., 8), (1.4, 3)])
def test_stop_strings(lab, temperature, max_tokens):
    "The same responses as without, up to the first token with which the text holds a stop string."
    sampler, requests = TransformersSampler(*lab), [Request(p, 0, 100) for p in PROMPTS]
    params, without = (SamplingParams(temperature, max_tokens=max_tokens, stop=stop) for stop in (STOPS, ()))
    free = collected(sampler, requests, without)
    ended = 0
    for prompt, completions in collected(sampler, requests, params).items():
        for c, whole in zip(completions, free[prompt]):
            texts = sampler.decode([whole.tokens[:i + 1] for i in range(len(whole.tokens))])
            first = next((i for i, text in enumerate(texts) if any(s in text for s in STOPS)), None)
            assert c.tokens == (whole.tokens if first is None else whole.tokens[:first + 1])
            assert c.finished == (first is not None or whole.finished)
            np.testing.assert_allclose(c.logprob, whole.logprob[:len(c.tokens)], atol=1e-5)
            ended += first is not None
    assert ended > 20


def test_stop_strings_that_tokens_do_not_keep_to(tiny_model):
    "In a byte-level vocabulary: a stop string inside a token, over several, and with half characters before it."
    model, tokenizer = tiny_model.load("cpu")
    sampler = TransformersSampler(model, tokenizer)
    for stop in (("e",), ("tep",), ("\x07", "�L")):
        request, params = Request("Find the value of $x$", 0, 300), SamplingParams(max_tokens=12, stop=stop)
        done, = collected(sampler, [request], params).values()
        holds = [any(s in text for s in stop) for text in sampler.decode([c.tokens for c in done])]
        before = [any(s in text for s in stop) for text in sampler.decode([c.tokens[:-1] for c in done])]
        assert sum(holds) > 5 * (stop != ("tep",)) and not any(before)
        assert all(c.finished for c, held in zip(done, holds) if held)
        check_against_forward(model, tokenizer, {"Find the value of $x$": done[:20]})


@given(st.text("ab\n", max_size=12), st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3))
def test_text_is_cut_before_the_first_stop_string(text, stop):
    cut = before_stop(text, stop)
    assert text.startswith(cut) and not any(s in cut for s in stop)
    assert cut == text or any(text[len(cut):].startswith(s) for s in stop)


class Small(torch.nn.Module):
    "A model on a machine with room for so many rows."
    def __init__(self, model, rows, error):
        super().__init__()
        self.model, self.rows, self.error, self.asked = model, rows, error, []

    def __getattr__(self, name):
        try: return super().__getattr__(name)
        except AttributeError: return getattr(self.model, name)

    def forward(self, input_ids, **options):
        self.asked.append(len(input_ids))
        if len(input_ids) > self.rows: raise self.error
        return self.model(input_ids=input_ids, **options)


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_is_halved(lab, error):
    "The same samples, in smaller batches; the smaller size is kept; the model is left in the mode in which it was."
    model, tokenizer = lab
    requests, params = [Request(p, 0, 64) for p in PROMPTS], SamplingParams(max_tokens=6)
    small = Small(model, 9, error).train()
    sampler = TransformersSampler(small, tokenizer)
    with pytest.warns(UserWarning, match="out of memory at .* responses together; going on with"):
        found = collected(sampler, requests, params)
    tokens = lambda samples: {p: [c.tokens for c in done] for p, done in samples.items()}
    assert tokens(found) == tokens(collected(TransformersSampler(*lab), requests, params))
    failures = sum(rows > 9 for rows in small.asked)
    assert 0 < failures < 8 and small.training
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collected(sampler, requests, params)


def test_not_even_one_response_fits(lab):
    model, tokenizer = lab
    sampler = TransformersSampler(Small(model, 0, torch.OutOfMemoryError("CUDA out of memory")), tokenizer)
    message = "not even one response of up to 6 tokens fits into memory"
    with pytest.warns(UserWarning), pytest.raises(UserError, match=message):
        list(sampler.sample([Request(PROMPTS[0], 0, 4)], SamplingParams(max_tokens=6)))


def test_other_errors_are_not_taken_for_a_lack_of_memory(lab):
    model, tokenizer = lab
    sampler = TransformersSampler(Small(model, 0, RuntimeError("shapes differ")), tokenizer)
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(sampler.sample([Request(PROMPTS[0], 0, 4)], SamplingParams(max_tokens=6)))


def test_equal_settings_have_one_name_whatever_their_type():
    one, other = SamplingParams(temperature=1, seed=np.int64(3)), SamplingParams(temperature=np.float32(1), seed=3)
    assert one == other and json.dumps(one.key()) == json.dumps(other.key())
