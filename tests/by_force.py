"What the chance of a valid response must be: the sum over every sequence of tokens there is, each of them graded."
import numpy as np, pytest, torch

from rlvd_nb.tasks.base import RIGHT
from rlvd_nb.tasks.kinship import make_question
from rlvd_nb.models.exact import next_logprobs
from rlvd_nb.models.prompts import prompt_ids
from rlvd_nb.models.word_models import LabModelConfig, new_model, word_tokenizer

FEW = dict(entities=8, relations=2, question_depths=(2,))


def pair(task):
    "Two questions of a world that has too few to draw some: with two relations, and with one twice."
    return [make_question(task.world, path, start, "test") for path, start in (((0, 1), 3), ((1, 1), 5))]


def untrained(task, seed=0, scale=1.):
    "A model with random weights; a larger scale makes it surer of what it says."
    tokenizer = word_tokenizer(task.vocabulary, task.starts)
    network = new_model(LabModelConfig(width=16, layers=2, heads=2, hidden=16), tokenizer, seed).eval()
    with torch.no_grad(): network.model.norm.weight *= scale
    return network, tokenizer


def every_response(network, tokenizer, prompt, params, opening=()):
    "(tokens, probability) of every response with any; `opening` has the tokens that may stand at the first places."
    (front,), mass, end = prompt_ids(tokenizer, [prompt]), np.ones(1), tokenizer.eos_token_id
    said = np.zeros((1, 0), int)
    for place in range(params.max_tokens):
        whole = torch.tensor(np.column_stack([np.tile(front, (len(said), 1)), said]))
        with torch.inference_mode(): logits = torch.cat([network(part).logits[:, -1] for part in whole.split(8192)])
        if place < len(opening):
            forbidden = torch.ones(logits.shape[1], dtype=torch.bool)
            forbidden[opening[place]] = False
            logits = logits.masked_fill(forbidden, -torch.inf)
        probability = mass[:, None] * next_logprobs(logits, params).double().exp().numpy()
        yield from zip(said.tolist(), probability[:, end])
        probability[:, end] = 0
        row, token = probability.nonzero()
        said, mass = np.column_stack([said[row], token]), probability[row, token]
        if not len(said): return
    yield from zip(said.tolist(), mass)


def is_bare(grade): return grade.verdict == RIGHT and not grade.chain and grade.fault is None


def by_force(network, tokenizer, task, question, params, power=1., opening=()):
    "Probability of a valid response and of the bare right answer, by grading everything."
    tokens, mass = zip(*every_response(network, tokenizer, question.prompt, params, opening))
    assert sum(mass) == pytest.approx(1, abs=1e-5)
    mass = np.array(mass) ** power / np.sum(np.array(mass) ** power)
    texts = tokenizer.batch_decode(list(tokens), skip_special_tokens=True)
    grades = {text: task.grade(question, text) for text in set(texts)}
    valid = sum(p for text, p in zip(texts, mass) if grades[text].chain)
    bare = sum(p for text, p in zip(texts, mass) if is_bare(grades[text]))
    return valid, bare
