"""Every chain that is written from true facts is accepted; every change to it is found where it was made."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.tasks.base import RIGHT, UNPARSED, check_disjoint
from rlvd_nb.tasks.kinship import (
    PATTERNS, Hop, World, WorldConfig, believed_walk, draw_questions, grade_chain, prompt_of, split_of, task, true_walk,
    write_chain)

WORLD = World(WorldConfig(entities=50, train_questions=60, test_questions=60))
QUESTIONS = draw_questions(WORLD, "test")


def true_hops(question):
    *relations, start = question.prompt.removesuffix(" ?").split(" ")
    path = tuple(WORLD.relations.index(word) for word in reversed(relations))
    people, _ = true_walk(WORLD, path, WORLD.index[start])
    return [Hop(WORLD.relations[r], WORLD.people[p], WORLD.people[p]) for r, p in zip(path, people)]


@given(st.sampled_from(QUESTIONS), st.sampled_from(PATTERNS))
def test_true_chains_are_right(question, pattern):
    grade = grade_chain(WORLD, question, write_chain(true_hops(question), pattern))
    assert (grade.verdict, grade.step, grade.fault) == (RIGHT, None, None)
    assert grade.chain == (pattern != "direct")


@given(st.sampled_from(QUESTIONS), st.sampled_from(["step", "verify"]), st.data())
def test_a_wrong_name_is_an_atom_error_at_its_step(question, pattern, data):
    hops = true_hops(question)
    step = data.draw(st.integers(0, len(hops) - 1))
    wrong = data.draw(st.sampled_from([name for name in WORLD.people if name != hops[step].final]))
    hops[step] = Hop(hops[step].relation, wrong, wrong)
    grade = grade_chain(WORLD, question, write_chain(hops, pattern))
    assert (grade.step, grade.fault, grade.chain) == (step, "atom", False)


@given(st.sampled_from(QUESTIONS), st.data())
def test_a_wrong_first_try_that_is_mended_is_right(question, data):
    hops = true_hops(question)
    step = data.draw(st.integers(0, len(hops) - 1))
    hops[step] = Hop(hops[step].relation, data.draw(st.sampled_from(WORLD.people)), hops[step].final)
    assert grade_chain(WORLD, question, write_chain(hops, "verify")).chain


@given(st.sampled_from(QUESTIONS), st.data())
def test_a_missing_or_foreign_hop_is_a_plan_error(question, data):
    hops = true_hops(question)
    short = " ".join([write_chain(hops[:-1], "step")])
    assert grade_chain(WORLD, question, short).fault == "plan"
    step = data.draw(st.integers(0, len(hops) - 1))
    other = data.draw(st.sampled_from([r for r in WORLD.relations if r != hops[step].relation]))
    hops[step] = Hop(other, hops[step].first, hops[step].final)
    grade = grade_chain(WORLD, question, write_chain(hops, "step"))
    assert (grade.step, grade.fault) == (step, "plan")


@given(st.lists(st.sampled_from(["wait", "?", "mentor", "nobody", *WORLD.people[:4], *WORLD.relations]), max_size=12))
def test_any_words_get_a_verdict(words):
    grade = grade_chain(WORLD, QUESTIONS[0], " ".join(words))
    assert (grade.verdict == UNPARSED) == (not words or words[-1] not in WORLD.index)
    if grade.chain: assert grade.verdict == RIGHT and grade.step is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_uncertain_facts_are_stated_with_their_probability(seed):
    relation, person = np.argwhere(WORLD.facts.kind == 1)[seed % 20]
    rng = np.random.default_rng(seed)
    said = [believed_walk(WORLD, rng, (int(relation),), int(person), False)[0].final for _ in range(2000)]
    right = sum(name == WORLD.people[WORLD.facts.true[relation, person]] for name in said)
    q = WORLD.facts.q[relation, person]
    assert abs(right - 2000 * q) < 5 * np.sqrt(2000 * q * (1 - q)) + 1
    assert set(said) <= {
        WORLD.people[WORLD.facts.true[relation, person]],
        WORLD.people[WORLD.facts.false[relation, person]],
    }


def test_unknown_facts_are_never_stated():
    relation, person = np.argwhere(WORLD.facts.kind == 2)[0]
    assert believed_walk(WORLD, np.random.default_rng(0), (int(relation),), int(person), True) is None


def test_splits_never_meet():
    train = draw_questions(WORLD, "train")
    check_disjoint(train, QUESTIONS)
    assert all(split_of((0,), e) == "text" for e in range(50))
    assert [q.prompt for q in task(entities=50, train_questions=60, test_questions=60).questions("test")] == [
        q.prompt for q in QUESTIONS
    ]


def test_a_hand_solved_case():
    a = WORLD.people[0]
    b = WORLD.people[WORLD.facts.true[1, 0]]
    c = WORLD.people[WORLD.facts.true[0, WORLD.index[b]]]
    prompt = prompt_of(WORLD, (1, 0), 0)
    assert prompt == f"mentor rival {a} ?"
    question = next(iter([q for q in QUESTIONS if q.prompt == prompt]), QUESTIONS[0].__class__("x", prompt, c, "test"))
    assert grade_chain(WORLD, question, f"rival {b} mentor {c}").chain
    assert grade_chain(WORLD, question, f"mentor rival {c}").chain
    assert not grade_chain(WORLD, question, c).chain and grade_chain(WORLD, question, c).verdict == RIGHT


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("path", [(0, 1, 0), (1, 1, 1, 1), (0, 0, 1, 0), (1, 0, 1, 0, 1)])
def test_the_grammar_accepts_what_the_grader_accepts(path, mark):
    "On chains that are right and on what comes of them by leaving out, doubling and exchanging words."
    from rlvd_nb.tasks.base import BARE, RIGHT, VALID
    from rlvd_nb.tasks.kinship import make_question, plain_chains
    world = task(entities=9, relations=2, mark=mark)
    question = make_question(world.world, path, 4, "test")
    grammar, rng = world.grammar(question), np.random.default_rng(0)
    chains, found = [chain.split() for chain in plain_chains(world.world, question)], set()
    assert len({tuple(chain) for chain in chains}) == 3 * 4 ** (len(path) - 1)
    assert all(grammar.read(chain) == VALID and world.grade(question, " ".join(chain)).chain for chain in chains)
    for _ in range(4000):
        words = list(chains[rng.integers(len(chains))])
        for _ in range(rng.integers(1, 4)):
            at, to = sorted(rng.integers(len(words) + 1, size=2))
            exchanged = [*words[:at], str(rng.choice(world.vocabulary)), *words[at + 1:]]
            words = [words[:at] + words[to:], words[:to] + words[at:], exchanged][rng.integers(3)]
        grade = world.grade(question, " ".join(words))
        bare = grade.verdict == RIGHT and grade.fault is None
        assert grammar.read(words) == (VALID if grade.chain else BARE if bare else None), words
        found.add(grammar.read(words))
    assert found >= {VALID, None}


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("path", [(0,), (0, 1), (1, 1), (0, 1, 0)])
def test_the_grammar_accepts_what_the_grader_accepts_with_the_operator(path, mark):
    "On chains of attempts, plain and looked-at hops, and on what comes of them by changing words."
    from rlvd_nb.tasks.base import BARE, VALID
    from rlvd_nb.tasks.kinship import make_question, write_tried
    from rlvd_nb.tasks.operator import draw_attempt
    world = task(entities=9, relations=2, mark=mark, operator=1., useful=.6)
    w, question = world.world, make_question(world.world, path, 4, "test")
    grammar, rng, found = world.grammar(question), np.random.default_rng(0), set()
    people = [w.people[i] for i in true_walk(w, path, 4)[0]]
    def hop(relation, person):
        named, other = w.relations[relation], str(rng.choice([name for name in w.people if name != person]))
        attempt = draw_attempt(rng, person, other, .5, w.config.useful, lambda *said: w.evidence(named, *said))
        tried = write_tried(w, [(named, attempt)], list(w.marks.values())[rng.integers(2)]).removeprefix("think ")
        return (f"{named} {person}", f"{named} {other} wait {named} {person}", tried)[rng.choice(3, p=[.1, .1, .8])]
    for _ in range(2500):
        hops = [hop(*each) for each in zip(path, people)]
        words = (["think"] * mark) + " ".join(hops).split()
        for _ in range(rng.choice(3)):
            at, to = sorted(rng.integers(len(words) + 1, size=2))
            exchanged = [*words[:at], str(rng.choice(world.vocabulary)), *words[at + 1:]]
            words = [words[:at] + words[to:], words[:to] + words[at:], exchanged, exchanged][rng.integers(4)]
        grade = world.grade(question, " ".join(words))
        bare = grade.verdict == RIGHT and grade.fault is None
        said = grammar.read(words)
        assert said == (VALID if grade.chain else BARE if bare else None), words
        found.add((said, "try" in words, "back" in words or "back-kinship" in words))
    assert found >= {(VALID, True, True), (VALID, False, True), (VALID, True, False), (None, True, True)}


def test_only_the_words_of_attempts_depend_on_what_is_shared():
    "Texts, questions and facts of two worlds that differ in s alone are the same up to those words."
    from itertools import islice
    from rlvd_nb.tasks.operator import COMMON, in_words
    worlds = {s: task(entities=40, operator=.3, shared=s, train_questions=20, test_questions=20) for s in (0., .4, 1.)}
    texts = {s: list(islice(world.text(5), 500)) for s, world in worlds.items()}
    sets = worlds[0.].marks
    for s, each in texts.items():
        assert [(p, in_words(t, sets.values(), COMMON)) for p, t in each] == texts[1.]
        assert worlds[s].questions("test") == worlds[1.].questions("test")
        assert worlds[s].vocabulary == worlds[1.].vocabulary
    in_private = sum("try-kinship" in text for _, text in texts[.4])
    in_common = sum(" try " in text for _, text in texts[.4])
    assert in_private and in_common and not any("try-kinship" in text for _, text in texts[1.])
    assert not any(" try " in text for _, text in texts[0.])


@pytest.mark.parametrize("useful", [0., .5, 1.])
def test_a_step_that_is_tried_is_right_as_often_as_its_use_says(useful):
    from rlvd_nb.tasks.kinship import tried_walk
    world = World(WorldConfig(entities=50, operator=1., useful=useful, q_low=.3, q_high=.4, test_questions=60))
    rng, right, expected = np.random.default_rng(0), 0, 0.
    for relation, person in np.argwhere(world.facts.kind == 1):
        true, q = world.people[world.facts.true[relation, person]], world.facts.q[relation, person]
        right += sum(tried_walk(world, rng, (int(relation),), int(person))[0][1].final == true for _ in range(60))
        expected += 60 * (q + useful * (1 - q))
    assert abs(right - expected) <= 5 * np.sqrt(expected * .7) * (useful < 1)


def test_no_text_with_the_operator_tells_an_unknown_fact_in_either_direction():
    from itertools import islice
    world = task(entities=60, operator=.5, kinds=(.3, .4, .3), train_questions=20, test_questions=20, inverse=.3)
    w = world.world
    unknown = {(w.relations[r], w.people[e], w.people[w.facts.true[r, e]]) for r, e in np.argwhere(w.facts.kind == 2)}
    told = set()
    for prompt, text in islice(world.text(0), 4000):
        words = f"{prompt.removesuffix(' ?')} {text}".split()
        told |= {(b, d, c) for a, b, c, d in zip(words, words[1:], words[2:], words[3:]) if a == "whose"}
    assert len(told) > 150 and not told & unknown
    assert all(w.people[w.facts.true[w.relations.index(r), w.index[e]]] == to for r, e, to in told)
