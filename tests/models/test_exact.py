"Exact probabilities against every token sequence there is, against counts of samples, and against plain scoring."
import numpy as np, pytest, torch
from by_force import FEW, by_force, every_response, is_bare, pair, untrained
from scipy import stats

from rlvd_nb.core.errors import NotEnumerable, UserError
from rlvd_nb.tasks.kinship import make_question, plain_chains, task as kinship
from rlvd_nb.models import exact as exact_module
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.exact import Lanes, exact, exact_mass, forward, lanes_of
from rlvd_nb.models.prompts import completion_rows
from rlvd_nb.models.sampling import Request, SamplingParams
from rlvd_nb.models.scoring import batch_logprobs
from rlvd_nb.models.transformers_sampler import TransformersSampler
from rlvd_nb.models.word_models import LabModelConfig
from rlvd_nb.training.pretraining import PretrainConfig, pretrain

WORLD = dict(
    entities=40, relations=5, question_depths=(2, 3, 3, 3, 3), text_depths=(.5, .3, .2), train_questions=8,
    test_questions=200,
)


@pytest.fixture(scope="module")
def taught(tiny_store):
    "A small world and a model that has read enough of it to be right now and then."
    world = kinship(**WORLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLVD_OUT", str(tiny_store))
        size = LabModelConfig(width=48, layers=2, heads=4, hidden=96)
        return world, pretrain("base", world, size, PretrainConfig(steps=500, texts=8000, rows=16, learning_rate=1e-2))


def ask(network, tokenizer, task, questions, params, **options):
    return exact_mass(network, tokenizer, task, questions, [q.prompt for q in questions], params, **options)


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize(
    "how", [{}, dict(temperature=.6), dict(top_k=5), dict(top_p=.8), dict(temperature=1.5, top_k=9, top_p=.9)]
)
def test_equals_the_sum_over_all_token_sequences(mark, how):
    task = kinship(**FEW, mark=mark)
    network, tokenizer = untrained(task, seed=3, scale=2.)
    params, questions = SamplingParams(max_tokens=4, **how), pair(task)
    mass = ask(network, tokenizer, task, questions, params, budget=10**6, least=1e-12)
    for i, question in enumerate(questions):
        valid, bare = by_force(network, tokenizer, task, question, params)
        assert valid > 0 or how  # truncation may forbid everything
        assert mass.valid[i] == pytest.approx(valid, rel=1e-4, abs=mass.left[i] + 1e-12)
        assert mass.bare[i] == pytest.approx(bare, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("how", [dict(top_k=3), dict(top_k=3, temperature=2.), dict(top_p=.6)])
def test_equals_the_sum_over_all_long_sequences_that_truncation_leaves(taught, how):
    task, model = taught
    network, tokenizer = model.load("cpu")
    params, questions = SamplingParams(max_tokens=8, **how), task.questions("test")[:15:5]
    mass = ask(network, tokenizer, task, questions, params, budget=10**6, least=1e-12)
    for i, question in enumerate(questions):
        valid, _ = by_force(network, tokenizer, task, question, params)
        assert mass.valid[i] == pytest.approx(valid, rel=1e-4, abs=1e-9)


def test_what_was_left_out_bounds_what_is_missing():
    task = kinship(**FEW)
    questions, missing = pair(task), []
    for seed in range(2):
        network, tokenizer = untrained(task, seed, scale=3.)
        params = SamplingParams(max_tokens=4)
        valid = np.array([by_force(network, tokenizer, task, q, params)[0] for q in questions])
        for floor, doubt in ((1e-7, 1e-3), (1e-3, 1e-1), (1e-2, 1.)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(exact_module, "FLOOR", floor)
                patch.setattr(exact_module, "DOUBT", doubt)
                mass = ask(network, tokenizer, task, questions, params, budget=1, least=1.)
            gap = valid - mass.valid
            assert (gap >= -1e-6).all() and (gap <= mass.left + 1e-6).all()
            missing += gap.tolist()
    assert max(missing) > 1e-4  # the bound was needed


def test_greedy_is_right_or_not(taught):
    task, model = taught
    questions = task.questions("test")[:60]
    found = exact(model, task, questions, temperature=0)
    sampler = TransformersSampler(*model.load("cpu"))
    params = SamplingParams(temperature=0, max_tokens=task.max_tokens)
    requests = [Request(q.prompt, 0, 1) for q in questions]
    drawn = {request.prompt: done for batch in sampler.sample(requests, params) for request, done in batch}
    texts = [sampler.decode([drawn[q.prompt][0].tokens])[0] for q in questions]
    right = [bool(task.grade(q, text).chain) for q, text in zip(questions, texts)]
    assert any(right) and np.exp(found["valid"]).tolist() == [float(each) for each in right]


@pytest.mark.parametrize("how", [{}, dict(temperature=.7, top_p=.95)])
def test_counts_of_samples_are_binomial_with_these_probabilities(taught, how):
    "Randomized so that counts have a continuous distribution: standard normal if the probabilities are right."
    (task, model), n = taught, 256
    questions = task.questions("test")
    params = SamplingParams(max_tokens=task.max_tokens, seed=5, **how)
    network, tokenizer = model.load("cpu")
    mass = ask(network, tokenizer, task, questions, params)
    sampler, counts = TransformersSampler(network, tokenizer), np.zeros((2, len(questions)), int)
    number = {q.prompt: i for i, q in enumerate(questions)}
    for batch in sampler.sample([Request(q.prompt, 0, n) for q in questions], params):
        for request, completions in batch:
            i = number[request.prompt]
            grades = [task.grade(questions[i], text) for text in sampler.decode([c.tokens for c in completions])]
            counts[0, i] += sum(grade.chain is True for grade in grades)
            counts[1, i] += sum(map(is_bare, grades))
    rng = np.random.default_rng(0)
    for count, p in zip(counts, (mass.valid, mass.bare)):
        binomial = stats.binom(n, p)
        z = stats.norm.ppf(binomial.cdf(count - 1) + rng.random(len(p)) * binomial.pmf(count))
        assert stats.kstest(z, "norm").pvalue > 1e-3
        assert .7 < z.var() < 1.35 and abs(z.mean()) < .25
        assert ((n * p > 3) & (n * (1 - p) > 3)).sum() > 20  # and they say something
    spread = np.sqrt(n * (mass.valid * (1 - mass.valid)).sum())
    assert counts[0].sum() == pytest.approx(n * mass.valid.sum(), abs=4 * spread)


def test_plain_chains_scored_one_by_one_are_nearly_all_of_it(taught):
    task, model = taught
    questions = task.questions("test")[:4]
    network, tokenizer = model.load("cpu")
    mass = ask(network, tokenizer, task, questions, SamplingParams(max_tokens=task.max_tokens), budget=2000)
    for i, question in enumerate(questions):
        chains = [f" {chain}" for chain in plain_chains(task.world, question)]
        rows = completion_rows(tokenizer, [question.prompt] * len(chains), chains, 128)
        plain = np.exp(batch_logprobs(network, rows)).sum()
        assert plain <= mass.valid[i] * (1 + 1e-4) + mass.left[i]
        assert plain >= .3 * mass.valid[i]


@pytest.mark.parametrize("shared", [1, 2])
def test_lanes_are_what_the_model_says(shared):
    "For the lab's models, and for others, whose heads share keys, by their own forward pass."
    from transformers import Qwen2Config, Qwen2ForCausalLM
    torch.manual_seed(0)
    network = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, intermediate_size=24, num_attention_heads=4,
        num_key_value_heads=4 // shared,
    )).eval()
    assert isinstance(lanes_of(network), Lanes) == (shared == 1)
    rng = np.random.default_rng(0)
    prefix, lanes, pads = rng.integers(40, size=(3, 6)), rng.integers(40, size=(3, 5)), np.array([0, 2, 5])
    with torch.inference_mode():
        before = forward(network, prefix, pads, None, True)[1]
        logits, after = lanes_of(network)(lanes, pads, before)
        slow, slow_after = forward(network, lanes, pads, before, False)
        texts = [[*prefix[i, pads[i]:], lanes[i, j]] for i in range(3) for j in range(5)]
        plain = [network(torch.tensor([text])).logits[0, -1] for text in texts]
    assert torch.allclose(logits.flatten(0, 1), torch.stack(plain), atol=1e-5)
    assert torch.allclose(slow, logits, atol=1e-5)
    for fast, known in zip(after, slow_after): assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(fast, known))


def test_batches_change_nothing(taught, monkeypatch):
    task, model = taught
    network, tokenizer = model.load("cpu")
    questions, params = task.questions("test")[:7], SamplingParams(max_tokens=task.max_tokens)
    whole = ask(network, tokenizer, task, questions, params)
    monkeypatch.setattr(exact_module, "TOGETHER", 3)
    monkeypatch.setattr(exact_module, "ROWS", 1)
    parts = ask(network, tokenizer, task, questions, params, size=30)  # most prefixes wait and are computed anew
    assert np.allclose(parts.valid, whole.valid, rtol=1e-4) and np.allclose(parts.left, whole.left, rtol=1e-2)


def test_refusals(taught, tiny_model):
    task, model = taught
    questions, other = task.questions("test"), type("Other", (), dict(name="other", max_tokens=9))()
    for wrong, said in (
        (lambda: exact(model, other, questions), "task 'other' has no enumerable responses; it is sampled"),
        (lambda: exact(model, task, []), "no questions"),
        (lambda: exact(model, task, questions, temperature=-1), "temperature must be 0 or more, not -1"),
        (lambda: exact(model, task, questions, top_p=0), "top_p must be above 0"),
        (lambda: exact(model, task, questions, top_k=-2), "top_k must be 0"),
        (lambda: exact(model, task, questions, max_tokens=4000), "do not fit the model's"),
        (lambda: exact(model, task, questions, template="no such"), "unknown template"),
        (lambda: exact(tiny_model, task, questions), "exact numbers need one token a word"),
    ):
        with pytest.raises(UserError, match=said.replace("(", r"\(")) as refusal: wrong()
        # where a section goes on without exact numbers, and where it does not
        assert isinstance(refusal.value, NotEnumerable) == any(x in said for x in ("enumerable", "one token a word"))


def test_hard_questions_are_found_without_looking_long(taught):
    "Where a first thought is likely to be wrong and taken back, it is followed however improbable the way to it was."
    task, model = taught
    network, tokenizer = model.load("cpu")
    deep = [make_question(task.world, path, 7, "test") for path in ((0, 1, 2, 3, 4), (4, 4, 1, 0, 2), (1, 2, 1, 2, 3))]
    params = SamplingParams(max_tokens=27)
    little, much = (ask(network, tokenizer, task, deep, params, budget=budget) for budget in (400, 4000))
    assert (much.valid > 0).all() and np.allclose(little.valid, much.valid, rtol=.3)
    assert (little.valid <= much.valid * (1 + 1e-3)).all() and (much.left < little.left).all()


@pytest.fixture(scope="module")
def trying(tiny_store):
    "A world whose chains try and check, with a model that has read it, and every question of one hop."
    world = kinship(
        entities=8, relations=2, kinds=(.4, .5, .1), question_depths=(2,), train_questions=2, test_questions=10,
        text_depths=(1.,), patterns=(.1, 0., .9, 0.), operator=.6, shared=.5, useful=.6, inverse=.3,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLVD_OUT", str(tiny_store))
        size = LabModelConfig(width=32, layers=2, heads=4, hidden=64)
        model = pretrain("base", world, size, PretrainConfig(steps=300, texts=6000, rows=16, learning_rate=1e-2))
    return world, model, [make_question(world.world, (r,), e, "test") for r in range(2) for e in range(8)]


@pytest.mark.parametrize("how", [dict(top_k=2), dict(top_p=.7), dict(top_k=3, temperature=.5, top_p=.9)])
def test_chains_that_try_and_check_are_counted(trying, how):
    "Against the sum over every sequence that truncation leaves; a good part of it is attempts."
    task, model, questions = trying
    network, tokenizer = model.load("cpu")
    params, tried = SamplingParams(max_tokens=11, **how), 0.
    mass = ask(network, tokenizer, task, questions[::5], params, budget=10**6, least=1e-12)
    for i, question in enumerate(questions[::5]):
        tokens, p = zip(*every_response(network, tokenizer, question.prompt, params))
        texts = tokenizer.batch_decode(list(tokens), skip_special_tokens=True)
        valid = np.array([task.grade(question, text).chain for text in texts])
        tried += sum(each for each, text, good in zip(p, texts, valid) if good and "try" in text)
        assert mass.valid[i] == pytest.approx(np.array(p)[valid].sum(), rel=1e-4, abs=1e-9)
    assert tried > .1


def test_counts_of_chains_that_try_are_binomial_with_these_probabilities(trying):
    (task, model, questions), n = trying, 400
    network, tokenizer = model.load("cpu")
    params = SamplingParams(max_tokens=11, seed=1)
    mass, counts = ask(network, tokenizer, task, questions, params, share=1e-3, budget=4000), np.zeros(len(questions))
    for batch in TransformersSampler(network, tokenizer).sample([Request(q.prompt, 0, n) for q in questions], params):
        for request, done in batch:
            i = [q.prompt for q in questions].index(request.prompt)
            counts[i] += sum(task.grade(questions[i], text).chain for text in tokenizer_texts(tokenizer, done))
    z = (counts - n * mass.valid) / np.sqrt(n * mass.valid * (1 - mass.valid))
    assert (mass.left < 2e-3).all() and abs(z).max() < 4 and abs(z.mean()) < .9


def tokenizer_texts(tokenizer, completions):
    return tokenizer.batch_decode([each.tokens for each in completions], skip_special_tokens=True)
