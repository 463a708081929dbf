"Sharpened responses: against every token sequence there is, against drawing again by weight, and what is refused."
import numpy as np, pandas as pd, pytest
from by_force import FEW, by_force, every_response, pair, untrained

from rlvd_nb.core.errors import NotEnumerable, UserError
from rlvd_nb.tasks.base import RIGHT
from rlvd_nb.tasks.kinship import PATTERNS, task as kinship
from rlvd_nb.models.checkpoints import Model, save
from rlvd_nb.models.exact import exact
from rlvd_nb.models.sampling import SamplingParams
from rlvd_nb.models.sharpened import begun, opening_tokens, power_sums, raised
from rlvd_nb.models.store import respond
from rlvd_nb.models.word_models import LabModelConfig
from rlvd_nb.training.pretraining import PretrainConfig, pretrain

ALL = dict(max_tokens=4, budget=10**6, least=1e-12)  # leave nothing out


def drawn(model, task, questions, n, room):
    return respond(model, task, questions, n, SamplingParams(max_tokens=room, seed=5), engine="transformers")


@pytest.fixture(scope="module", params=[False, True], ids=["unmarked", "marked"])
def few(request, tmp_path_factory):
    "A world with two relations, an untrained model of it that is sure of what it says, two questions, samples."
    task = kinship(**FEW, mark=request.param)
    network, tokenizer = untrained(task, seed=3, scale=2.)
    model, questions = Model.at(save(network, tokenizer, tmp_path_factory.mktemp("model"))), pair(task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLVD_OUT", str(tmp_path_factory.mktemp("out")))
        return task, model, questions, drawn(model, task, questions, 2000, 4)


@pytest.mark.parametrize("power", [1, 2, 3.5, 8])
def test_sums_of_powers_are_those_over_all_token_sequences(few, power):
    task, model, questions, rows = few
    network, tokenizer = model.load("cpu")
    found, params = power_sums(rows, power), SamplingParams(max_tokens=4)
    for question in questions:
        p = np.array([each for _, each in every_response(network, tokenizer, question.prompt, params)])
        sums = found.loc[question.id]
        assert sums["total"] == pytest.approx(np.sum(p**power), abs=4 * sums["error"] + 1e-6 * np.sum(p**power))
        assert sums["error"] < .05 * sums["total"]


@pytest.mark.parametrize("power", [1, 2, 3.5, 8])
def test_to_a_power_it_is_the_share_of_all_token_sequences(few, power):
    task, model, questions, rows = few
    network, tokenizer = model.load("cpu")
    found = np.exp(raised(model, task, questions, power, rows, **ALL).set_index("question_id"))
    errors = power_sums(rows, power).eval("error / total")
    for question in questions:
        row, error = found.loc[question.id], 4 * errors[question.id] + 1e-3
        valid, bare = by_force(network, tokenizer, task, question, SamplingParams(max_tokens=4), power)
        assert row["valid"] == pytest.approx(valid, rel=error, abs=row["left_out"] + 1e-12)
        assert row["right"] - row["valid"] == pytest.approx(bare, rel=error, abs=1e-9)


@pytest.mark.parametrize("temperature", [1, .6])
@pytest.mark.parametrize("begin", PATTERNS)
def test_a_forced_beginning_is_the_sum_over_all_token_sequences_that_begin_so(few, begin, temperature):
    task, model, questions, _ = few
    network, tokenizer = model.load("cpu")
    opening, params = opening_tokens(tokenizer, task, begin), SamplingParams(temperature, max_tokens=4)
    found = np.exp(begun(model, task, questions, begin, temperature, **ALL).set_index("question_id"))
    for question in questions:
        row = found.loc[question.id]
        valid, bare = by_force(network, tokenizer, task, question, params, opening=opening)
        assert row["valid"] == pytest.approx(valid, rel=1e-3, abs=row["left_out"] + 1e-12)
        assert row["right"] - row["valid"] == pytest.approx(bare, rel=1e-3, abs=1e-9)
    if begin == "direct": assert not found["valid"].any() and found["right"].all()


@pytest.mark.parametrize("mark", [False, True])
def test_what_the_task_writes_begins_as_its_pattern_says(mark):
    task = kinship(entities=20, relations=4, question_depths=(2, 3, 5), mark=mark, train_questions=5, test_questions=30)
    for question in task.questions("test"):
        for pattern in PATTERNS:
            words = [*task.worked(question, 0, pattern).split(), ""]
            fits = lambda opening: all(word in may for word, may in zip(words, opening))
            assert [name for name, opening in task.openings.items() if fits(opening)] == [pattern], words


def test_what_was_left_out_bounds_what_is_missing(few):
    task, model, questions, rows = few
    for power in (1.5, 4):
        whole = np.exp(raised(model, task, questions, power, rows, **ALL)["valid"])
        hasty = raised(model, task, questions, power, rows, max_tokens=4, budget=1, least=.1, share=1.)
        hasty = np.exp(hasty[["valid", "left_out"]])
        gap = whole - hasty["valid"]
        assert (gap >= -1e-6).all() and (gap <= hasty["left_out"] + 1e-6).all()


@pytest.fixture(scope="module")
def taught(tiny_store, tmp_path_factory):
    "A small world, a model that has read enough of it to be right now and then, and its answers."
    world = kinship(entities=40, relations=5, question_depths=(2,), text_depths=(.5, .5), train_questions=8,
                    test_questions=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLVD_OUT", str(tiny_store))
        size = LabModelConfig(width=48, layers=2, heads=4, hidden=96)
        model = pretrain("base", world, size, PretrainConfig(steps=500, texts=8000, rows=16, learning_rate=1e-2))
        return world, model, drawn(model, world, world.questions("test"), 1000, world.max_tokens)


def test_agrees_with_weighing_samples(taught):
    "Importance weights p^(α-1), over all questions together, within what chance allows."
    task, model, rows = taught
    questions, power = task.questions("test"), 2
    found = np.exp(raised(model, task, questions, power, rows).set_index("question_id")["right"])
    weight = np.exp((power - 1) * rows["logprob"])
    fair = rows["chain"].fillna(False).astype(bool) | (rows["verdict"].eq(RIGHT) & rows["fault"].isna())
    table = pd.DataFrame(dict(question_id=rows["question_id"], weight=weight, right=weight * fair))
    share = table.groupby("question_id").sum().eval("right / weight")
    table["spread"] = (table["weight"] * (fair - table["question_id"].map(share))) ** 2
    error = np.sqrt(table.groupby("question_id")["spread"].sum()) / table.groupby("question_id")["weight"].sum()
    assert abs((share - found).mean()) < 4 * np.sqrt((error**2).sum()) / len(share)
    assert share.mean() > .1  # and it says something


def test_a_power_of_one_is_what_exact_computes_and_a_high_one_nearly_greedy(taught):
    task, model, rows = taught
    questions = task.questions("test")
    both = exact(model, task, questions), raised(model, task, questions, 1, rows)
    plain, one = (np.exp(each["right"]) for each in both)
    error = power_sums(rows, 1).loc[[q.id for q in questions], "error"].to_numpy()
    assert (abs(one / plain - 1) < 4.5 * error + 1e-3).all()
    high = np.exp(raised(model, task, questions, 32, rows)["right"])
    assert ((high < .05) | (high > .95)).mean() > .8  # one response has nearly all of it


def test_refusals(taught):
    task, model, rows = taught
    questions, other = task.questions("test")[:2], type("Other", (), dict(name="other", max_tokens=9))()
    for wrong, said in (
        (lambda: raised(model, other, questions, 2, rows), "task 'other' has no enumerable responses; it is sampled"),
        (lambda: raised(model, task, [], 2, rows), "no questions"),
        (lambda: raised(model, task, questions, .9, rows), "power must be 1 to 32, not 0.9"),
        (lambda: raised(model, task, questions, float("nan"), rows), "power must be 1 to 32, not nan"),
        (lambda: raised(model, task, questions, 33, rows), "power must be 1 to 32, not 33"),
        (lambda: raised(model, task, questions, 2, rows[:1000]), f"{questions[1].id} has no samples"),
        (lambda: begun(model, task, questions, "think"), "no responses that begin with the pattern 'think'; there are"),
        (lambda: begun(model, other, questions, "step"), "task 'other' has no enumerable responses"),
        (lambda: begun(model, task, [], "step"), "no questions"),
    ):
        with pytest.raises(UserError, match=said) as refusal: wrong()
        assert isinstance(refusal.value, NotEnumerable) == ("enumerable" in said)
