"""The gold is looked up by hand; every worked chain verifies; every changed value is found."""
import re
from itertools import islice, product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import RIGHT, UNPARSED, Task, check_disjoint
from rlvd_nb.tasks.choice import CATEGORIES, LETTERS, read_choice, task, thing_names
from rlvd_nb.tasks.kinship import CHECK, PATTERNS, RELATIONS, THINK, World, WorldConfig, entity_names
from rlvd_nb.tasks.tracing import task as tracing
from rlvd_nb.models.word_models import word_reader, word_tokenizer

TASK = task(train_questions=80, test_questions=80)
QUESTIONS = TASK.questions("test")
questions, seeds = st.sampled_from(QUESTIONS), st.integers(0, 1000)


def looked_up(prompt):
    "The letter, read straight from the tables: relations from the thing outwards, then the place of the value."
    category, *words = prompt.split()
    shelf, middle = TASK.shelves[category], words.index("?")
    at = words[middle - 1]
    for relation in words[:middle - 1][::-1]:
        if relation == "of": continue
        row, column = [*shelf.values].index(relation), shelf.things.index(at)
        at = shelf.values[relation][shelf.facts.true[row][column]]
    return words[words.index(at, middle) + 1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_gold_is_what_the_tables_say(split):
    assert isinstance(TASK, Task)
    for q in TASK.questions(split):
        assert looked_up(q.prompt) == q.gold and q.split == split and q.difficulty == q.prompt.split()[0]
        options = q.prompt.split(" ? ")[1].split()
        assert tuple(options[1:8:2]) == LETTERS and len({*options[:8:2]}) == 4


@given(questions, seeds, st.sampled_from(PATTERNS))
def test_worked_chains_are_right(question, seed, pattern):
    response = TASK.worked(question, seed, pattern)
    grade = TASK.grade(question, response)
    assert (grade.verdict, grade.answer, grade.step, grade.fault) == (RIGHT, question.gold, None, None)
    assert grade.chain == (pattern != "direct") == response.startswith(f"{THINK} ") and (CHECK in response) == (
        pattern == "verify"
    )


@given(questions, seeds, st.sampled_from(PATTERNS), st.data())
def test_any_changed_value_is_refused(question, seed, pattern, data):
    words = TASK.worked(question, seed, pattern).split()
    stands = [
        i for i, word in enumerate(words) if word in TASK.values and words[i + 1 : i + 2] != [CHECK]
    ]  # a mended first try may be anything
    stands = [i for i in stands if words[i - 1] in TASK.values]  # the value of a step, not its thing
    at = data.draw(st.sampled_from([*stands, len(words) - 1]))
    others = LETTERS if words[at] in LETTERS else sorted(TASK.values)
    words[at] = data.draw(st.sampled_from([word for word in others if word != words[at]]))
    grade = TASK.grade(question, " ".join(words))
    assert not grade.chain and grade.fault == ("plan" if words[at] in LETTERS and at else "atom")


@given(questions, seeds, st.data())
def test_a_first_try_that_is_mended_is_right(question, seed, data):
    words = TASK.worked(question, seed).split()
    at = data.draw(st.sampled_from([i for i in range(len(words)) if words[i + 1:i + 2] == [CHECK]]))
    words[at] = data.draw(st.sampled_from(sorted(TASK.values)))
    assert TASK.grade(question, " ".join(words)).chain


@given(questions, st.data())
def test_a_foreign_or_missing_fact_is_a_plan_error(question, data):
    words, hops = TASK.worked(question, 0, "step").split(), question.info["hops"]
    at = data.draw(st.sampled_from([i for i in range(1, len(words) - 1) if i % 3]))  # a relation or a thing
    step = (at - 1) // 3
    changed = [
        *words[:at], data.draw(st.sampled_from([w for w in TASK.vocabulary if w not in (words[at], CHECK)])),
        *words[at + 1 :],
    ]
    grade = TASK.grade(question, " ".join(changed))
    assert (grade.verdict, grade.chain, grade.step, grade.fault) == (RIGHT, False, step, "plan")
    if hops == 2: assert TASK.grade(question, " ".join([*words[:4], *words[7:]])).fault == "plan"


@given(st.lists(st.sampled_from([THINK, CHECK, "?", "of", *LETTERS, *TASK.vocabulary[:40]]), max_size=12), questions)
def test_any_words_get_a_verdict(words, question):
    grade = TASK.grade(question, " ".join(words))
    assert (grade.verdict == UNPARSED) == (not words or words[-1] not in LETTERS)
    if grade.chain: assert grade.verdict == RIGHT and grade.step is None and words[0] == THINK


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_text_is_fixed_disjoint_and_in_the_vocabulary(seed):
    pairs = [*islice(TASK.text(seed), 500)]
    assert pairs == [*islice(TASK.text(seed), 500)] != [*islice(TASK.text(seed + 1), 500)]
    assert not {q.prompt for split in ("train", "test") for q in TASK.questions(split)} & {
        prompt for prompt, _ in pairs
    }
    assert {word for pair in pairs for text in pair for word in text.split()} <= set(TASK.vocabulary)
    assert all(
        prompt.split()[0] in TASK.starts and len(f"{prompt} {response}".split()) <= 48 for prompt, response in pairs
    )
    assert all(len(response.split()) == 1 or response.startswith(THINK) for _, response in pairs)
    assert all(len(response.split()) + 1 <= TASK.max_tokens for _, response in pairs)


def test_unknown_facts_are_never_stated():
    for category, shelf in TASK.shelves.items():
        for row, column in np.argwhere(shelf.facts.kind == 2):
            item = read_choice(
                f"{category} {shelf.relations[row]} of {shelf.things[column]} ? red a blue b green c white d ?"
            )
            assert TASK.walk(item, np.random.default_rng(0), None, 1.) is None


def test_the_text_knows_one_category_better():
    pairs = [pair for pair in islice(TASK.text(0), 4000) if read_choice(pair[0]).options]
    asked = [TASK.question(read_choice(prompt)) for prompt, _ in pairs]
    right = {
        name: np.mean([TASK.grade(q, r).verdict == RIGHT for q, (_, r) in zip(asked, pairs) if q.difficulty == name])
        for name in CATEGORIES
    }
    assert right["history"] + .1 < right["physics"] < 1
    sure = [TASK.grade(q, r).verdict == RIGHT for q, (_, r) in zip(asked, pairs) if q.info["kind"] == "known"]
    assert all(sure)


def test_splits_never_share_a_question_or_a_path():
    train = TASK.questions("train")
    check_disjoint(train, QUESTIONS)
    path = lambda q: q.prompt.split(" ?")[0]
    assert not {path(q) for q in train} & {path(q) for q in QUESTIONS}
    assert (
        task(train_questions=80, test_questions=80).questions("test")
        == QUESTIONS
        != task(seed=1, test_questions=80).questions("test")
    )
    assert len({q.id for q in QUESTIONS}) == 80 and {(q.difficulty, q.info["hops"]) for q in QUESTIONS} == set(
        product(CATEGORIES, (1, 2))
    )


def test_words_of_the_domains_do_not_collide():
    "Domains share their punctuation and the marks of a chain, and no word besides; each word is one token."
    world = World(WorldConfig(entities=8000, relations=len(RELATIONS), test_questions=300))
    large = task(things=240)
    marks, traced = {"?", THINK, CHECK}, tracing()
    assert set(large.vocabulary) & set(traced.vocabulary) == marks
    assert (
        set(large.vocabulary) & (set(world.vocabulary) | {*entity_names(8000, 1)})
        == {"?", CHECK}
        == set(traced.vocabulary) & set(world.vocabulary)
    )
    siblings = set("A B C D knight knave assume and or not iff if :".split())
    assert not siblings & (set(large.vocabulary) | set(traced.vocabulary))
    words = list(dict.fromkeys([*TASK.vocabulary, *traced.vocabulary, *world.vocabulary[:500]]))
    tokenizer = word_tokenizer(words, [*TASK.starts, *traced.starts, *world.relations])
    read = word_reader(tokenizer)
    for domain in (TASK, traced):
        for prompt, response in islice(domain.text(0), 200):
            text = f"{prompt} {response}."
            assert tokenizer(text).input_ids == read(text) and len(read(text)) == len(text.split()) + 1


@pytest.mark.parametrize("options, complaint", [
    (dict(hops=(3,)), "hops must be 1 or 2"), (dict(hops=()), "hops must be 1 or 2"),
    (dict(things=500), "things: Input should be less"),
    (dict(facts=2), "facts: Extra inputs"), (dict(patterns=(1., 1., 0., 0.)), "must add up to 1, not 2"),
    (dict(physics=dict(kinds=(.5, .5, .5))), "physics: kinds are shares"),
    (dict(history=dict(kinds=(1., 0., 0.), q_low=.9)), "history: q_low 0.9 is above"),
    (dict(physics=dict(kinds=(1., 0., 0.), q=2)), "physics.q: Extra inputs")])
def test_wrong_parameters_are_refused_in_one_line(options, complaint):
    with pytest.raises(UserError, match=re.escape(complaint)) as error: task(**options)
    assert str(error.value).startswith("choice: ") and "\n" not in str(error.value)


def test_unknown_splits_and_too_many_questions_are_refused():
    with pytest.raises(UserError, match="splits train and test, not 'dev'"): TASK.questions("dev")
    with pytest.raises(UserError, match="unknown pattern 'guess'"): TASK.worked(QUESTIONS[0], 0, "guess")
    assert len(thing_names("physics", 240, 0)) == 240
