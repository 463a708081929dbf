"""Try, check, take back: the words, what an attempt comes to, and that every domain refuses what is not in order."""
from itertools import islice
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.core.seeds import digest
from rlvd_nb.tasks import choice, kinship, knights, tracing
from rlvd_nb.tasks.base import RIGHT, grammar_of
from rlvd_nb.tasks.operator import (
    COMMON, OPERATOR, Attempt, draw_attempt, in_words, opening, operator_chains, operator_rates, operator_words,
    private_marks, read_attempt, require_operator, unfold, uses, write_attempt)

FEW = dict(train_questions=20, test_questions=40)
MODULES = dict(kinship=kinship, tracing=tracing, choice=choice, knights=knights)
WORLDS = {name: module.task(operator=.3, **FEW) for name, module in MODULES.items()}
TARGETS = [name for name in WORLDS if name != "knights"]
WORD = st.sampled_from([*COMMON, *private_marks("tracing"), *private_marks("kinship"), "7", "8", "x", "so", "think"])


@given(st.lists(WORD, max_size=25))
def test_any_words_are_read_and_none_is_lost(words):
    "What stands outside of attempts stays, in its order; without a set of words nothing is an attempt."
    weigh = lambda before, candidate: ((), True)
    assert unfold(words, [], weigh) == (words, None, None)
    plain, place, fault = unfold(words, [COMMON, private_marks("tracing")], weigh)
    assert (place is None) == (fault is None) and fault in (None, "atom", "plan")
    rest = iter(words)
    assert all(word in rest for word in plain)
    if not set(words) & {"try", "try-tracing"}: assert plain == words and not fault


@given(st.sampled_from("123"), st.lists(st.sampled_from("45-"), max_size=4), st.booleans(), st.sampled_from("123"))
def test_an_attempt_is_read_as_it_is_written(candidate, evidence, kept, final):
    attempt = Attempt(candidate, tuple(evidence), kept, candidate if kept else final)
    for marks in (COMMON, private_marks("x")):
        words = write_attempt(attempt, marks)
        assert read_attempt(words, 0, marks) == (attempt, len(words)) and uses(words, marks)
        assert read_attempt(["y", *words, "so"], 1, marks) == (attempt, len(words) + 1)


@pytest.mark.parametrize("q", [0., .3, 1.])
@pytest.mark.parametrize("useful", [0., .4, 1.])
def test_an_attempt_comes_out_right_as_often_as_is_said(q, useful):
    rng, n = np.random.default_rng(1), 4000
    drawn = [draw_attempt(rng, "r", "w", q, useful, lambda candidate, taken: (candidate, taken)) for _ in range(n)]
    p = q + useful * (1 - q)
    assert abs(sum(each.final == "r" for each in drawn) - n * p) <= 5 * np.sqrt(n * p * (1 - p))
    if useful == 1:
        assert all(each.kept == (each.candidate == "r") and each.evidence[1] == each.candidate for each in drawn)
    if useful == 0:  # the verdict has nothing to do with what is true
        for candidate in {each.candidate for each in drawn}:
            kept = [each.kept for each in drawn if each.candidate == candidate]
            assert abs(np.mean(kept) - .7) < 5 * np.sqrt(.21 / len(kept))


@pytest.mark.parametrize("name", WORLDS)
def test_the_teacher_is_right_and_no_other_verdict_passes(name):
    "A kept candidate taken back, one taken back that is kept, one word of the operator changed: each is refused."
    world = WORLDS[name]
    asked = world.questions("test")[:12]
    for question, chain in zip(asked, operator_chains(world, asked, 0)):
        assert world.grade(question, chain).chain and world.grade(question, chain).verdict == RIGHT
        words = chain.split()
        assert len(words) < world.max_tokens
        for i, word in enumerate(words):
            if word not in COMMON: continue
            others = {*COMMON, *private_marks("somebody"), "wait"} - {word}
            for other in sorted(others):
                assert not world.grade(question, " ".join([*words[:i], other, *words[i + 1:]])).chain
            assert not world.grade(question, " ".join(words[:i] + words[i + 1:])).chain
        foreign = in_words(chain, [COMMON], private_marks("somebody"))
        assert not world.grade(question, foreign).chain


@pytest.mark.parametrize("name", TARGETS)
def test_the_private_words_of_a_target_are_as_good_as_the_common_ones(name):
    world = WORLDS[name]
    question = world.questions("test")[0]
    chain = world.worked(question, 0, OPERATOR)
    for owner, marks in world.marks.items():
        assert world.grade(question, in_words(chain, [COMMON], marks)).chain
        if owner == "placebo": continue  # it is read, and never written
        other = MODULES[name].task(operator=.3, shared=float(owner == "common"), **FEW)
        assert operator_rates(operator_chains(other, other.questions("test"), 0), other.marks)[owner] == 1
    owners = {name: set(each.marks) for name, each in WORLDS.items()}
    assert owners[name] == {"common", name, "placebo"} and owners["knights"] == {"common"}


@pytest.mark.parametrize("name", ["tracing", "choice"])
def test_only_words_depend_on_what_is_shared(name):
    "In kinship the same is tested beside its facts; the toy has nothing to share."
    texts = {s: [*islice(MODULES[name].task(operator=.3, shared=s, **FEW).text(2), 400)] for s in (0., .5, 1.)}
    for each in texts.values():
        assert [(p, in_words(t, WORLDS[name].marks.values(), COMMON)) for p, t in each] == texts[1.]
    rate = {s: operator_rates([t for _, t in each], WORLDS[name].marks) for s, each in texts.items()}
    assert rate[0.][name] == rate[1.]["common"] == rate[.5]["any"] > .05 and rate[0.]["common"] == rate[1.][name] == 0


@pytest.mark.parametrize("name", ["tracing", "choice"])
def test_use_is_what_the_operator_adds(name):
    "Text of the operator alone: at u = 1 every hard step is mended, at u = 0 as many are wrong as in plain chains."
    def right(**options):
        world = MODULES[name].task(patterns=(0., 0., 1., 0.), correction=0., **FEW, **options)
        wanted = options["operator"] == 1
        pairs = [(p, t) for p, t in islice(world.text(0), 800) if uses(t.split(), COMMON) == wanted]
        if name == "tracing": pairs = [(p, t) for p, t in pairs if "+" in p or "-" in p]
        else: pairs = [(p, t) for p, t in pairs if p.count("?") == 2 and " of " in p and p.count(" of ") == 1]
        grades = [world.grade(world.question(world.read(p)), t).verdict == RIGHT for p, t in pairs]
        assert len(grades) > 150
        return np.mean(grades)
    plain, mended, idle = (right(operator=p, useful=u) for p, u in ((1e-9, 1.), (1., 1.), (1., 0.)))
    assert mended == 1 and abs(idle - plain) < .12 < mended - plain


def test_the_default_worlds_are_what_they_were():
    "Text, identity, words and teacher's responses, as they were before there was an operator."
    before = {
        "kinship": "8d2a91821e630f9b 3c7faeb1f856ede9 50e76c9e1cda3a22 53c31cf9cce6e89b f1cf560dd046fced",
        "tracing": "792e60ecfd57a890 1264c173bf921691 bb6516f1855feb82 6a1cb990164c7a4a cd3ddaa902dd9adb",
        "choice": "7c234ee9c344e8f7 12165b7d4e4a0cf6 27d3555873424ee5 3afd6a21a214c36a 91fca4162736817c",
        "knights": "65d2b17c5fb919c9 4d9e956d582dc503 c0530ff59a9fb568 5ab650fae383f60b 0b0522f85582b801",
    }
    for name, expected in before.items():
        world = MODULES[name].task(**FEW)
        taught = [(q.prompt, world.worked(q, 1)) for q in world.questions("test")]
        made = list(islice(world.text(3), 100)), world.text_source(), world.source(), world.vocabulary, taught
        assert " ".join(digest(str(each)) for each in made) == expected, name


def test_what_does_not_go_is_refused_in_one_line():
    plain, asked = tracing.task(**FEW), WORLDS["tracing"].questions("test")
    two = next(q for q in WORLDS["choice"].questions("test") if q.info["hops"] == 2)
    for wrong, said in (
        *((lambda m=m, f=f, v=v: m.task(**{f: v}), f": {f}: Input should be")
          for m in (kinship, tracing, choice) for f in ("shared", "operator", "useful") for v in (-.1, 1.1)),
        *((lambda f=f, v=v: knights.task(**{f: v}), f": {f}: Input should be")
          for f in ("operator", "useful") for v in (-.1, 1.1)),
        (lambda: knights.task(shared=.5), "knights: shared: Extra inputs are not permitted"),
        (lambda: knights.task(placebo=True), "give|needs a share of the chains"),
        (lambda: operator_words(plain), "task 'tracing' has no operator"),
        (lambda: operator_chains(plain, plain.questions("test"), 0), "task 'tracing' has no operator"),
        (lambda: plain.worked(plain.questions("test")[0], 0, OPERATOR), "task 'tracing' has no operator"),
        (lambda: require_operator(["think x 3 so 3"], WORLDS["tracing"].marks), "lesson 0 does not use the operator"),
        (lambda: opening(WORLDS["tracing"], asked[0], "kinship"), "no words of 'kinship'; there are: common, tracing"),
        (lambda: opening(WORLDS["choice"], two, "common"), "states a fact before it tries one"),
        (lambda: operator_rates([], WORLDS["tracing"].marks), "no responses"),
        *((lambda n=n: grammar_of(WORLDS[n], WORLDS[n].questions("test")[0]), "has no enumerable responses; it is sam")
          for n in ("tracing", "choice", "knights")),
    ):
        with pytest.raises(UserError, match=said) as error: wrong()
        assert "\n" not in str(error.value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0., .5, 1.]))
def test_a_search_in_other_words_is_the_same_search(seed, useful):
    rng = Random(seed)
    puzzle = knights.draw_puzzle(rng, rng.choice((2, 3, 4)), knights.PuzzleConfig())
    chain = knights.write_tried(puzzle, rng, COMMON, useful, 110)
    words = chain[:chain.rindex(" so ")].split()[1:]
    steps = knights.read_tried(words, COMMON)
    assert knights.say_tried(steps, COMMON) == words
    plain = " ".join(["think", *map(str, steps), chain[chain.rindex("so "):]])
    question = knights.make_question(puzzle, "test")
    assert knights.grade_chain(question, plain).chain and knights.grade_chain(question, chain, [COMMON]).chain
    assert not knights.grade_chain(question, chain).chain  # without the operator its words mean nothing
