"""Knights and knaves: recorded solutions are the logic's, a conclusion is read whole or not, no false step passes."""
from itertools import islice, product
from random import Random

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import RIGHT, UNPARSED, WRONG, Task, check_disjoint, load_task
from rlvd_nb.tasks.grading import check_golds
from rlvd_nb.tasks.puzzle_logic import Puzzle, canonical, holds, read_statements, solutions, the_solution
from rlvd_nb.tasks.records import read_file
from rlvd_nb.tasks import knights, knights_knaves

FORM = st.recursive(
    st.tuples(st.sampled_from(["knight", "knave"]), st.integers(0, 2)),
    lambda part: st.one_of(
        st.tuples(st.just("not"), part), st.tuples(st.sampled_from(["and", "or", "implies", "iff"]), part, part)
    ),
    max_leaves=4,
)


# the logic

@given(st.tuples(FORM, FORM, FORM))
def test_solutions_are_what_fits_everybody(statements):
    expected = [
        roles
        for roles in product((True, False), repeat=3)
        if all(holds(s, roles) == roles[i] for i, s in enumerate(statements))
    ]
    assert solutions(statements) == expected


@given(st.tuples(FORM, FORM, FORM), st.permutations(range(3)))
def test_names_and_order_make_no_other_puzzle(statements, order):
    def renamed(s): return (s[0], order.index(s[1])) if s[0] in ("knight", "knave") else (s[0], *map(renamed, s[1:]))
    assert canonical([renamed(statements[i]) for i in order]) == canonical(statements)


def test_negation_turns_a_statement_round():
    for form in ("and", "or", "implies", "iff"):
        statement = (form, ("knight", 0), ("knave", 1))
        assert all(
            holds(("not", statement), roles) != holds(statement, roles) for roles in product((True, False), repeat=2)
        )


@pytest.mark.parametrize("names, statements, message", [
    (("A",), [("knight", 0)], "2 to 12 people, not 1"), (("A", "A"), [("knight", 0)] * 2, "'A' is named twice"),
    (("A", "B"), [("knight", 2), ("knight", 0)], "about nobody"), (("A", "B"), [("knight", -1),
    ("knight", 0)], "about nobody"),
    (("A", "B"), [("xor", ("knight", 0), ("knight", 1)), ("knight", 0)], "no statement"),
    (("A", "B"), [("and", ("knight", 0)), ("knight", 0)], "takes two or more")])
def test_bad_puzzles_are_refused_in_one_line(names, statements, message):
    with pytest.raises(UserError, match=message) as error: Puzzle(names, tuple(statements))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "((", "__import__('os')", "(" * 5000, "'a'", "3"])
def test_a_broken_form_is_refused_and_never_run(text):
    with pytest.raises(UserError): Puzzle(("A", "B"), read_statements(text))


def test_every_record_has_one_solution_and_it_is_the_recorded_one(data):
    files = sorted(data.glob("knights_knaves_*.parquet"))
    if not files: pytest.skip("no knights_knaves records")
    for row in (row for file in files for row in pd.read_parquet(file).to_dict("records")):
        assert the_solution(Puzzle(tuple(row["names"]), read_statements(row["statements"])).statements) == tuple(
            row["solution"]
        )


# the real task

NAMES, ROLES = ("Zoey", "Oliver"), ("knight", "knave")
RIGHT_ONE = dict(Zoey="knight", Oliver="knave")

ACCEPTED = [
    "<answer> (1) Zoey is a knight\n(2) Oliver is a knave </answer>",
    "<answer>(2) Oliver is a knave. (1) Zoey is a knight.</answer>",
    "<answer>Zoey is **not** a knave.\nOliver is **not** a knight.</answer>",
    "<answer>Zoey isn't a knave and Oliver isn’t a knight</answer>",
    "### CONCLUSION\n1. **Zoey** is a **knight**.\n2. **Oliver** is a **knave**.",
    "Final Answer: Zoey - knight, Oliver - knave",
    "**Answer**: Zoey = Knight; Oliver = Knave",
    r"Hence \boxed{Zoey \text{ is a knight, } Oliver \text{ is a knave.}}",
    "Assume Zoey is a knave.\nThat fails.\nTherefore, Zoey is a knight and Oliver is a knave.",
    "Knights: Zoey\nKnaves: Oliver",
    "<think>Answer: Zoey is a knave, Oliver is a knave</think> Zoey is a knight. Oliver is a knave.",
    "CONCLUSION: Zoey must be a knight, so Oliver must be a knave",
    "Zoey is a knight and Oliver is a knave. So we know who the knight is and who the knave is.",
    "Zoey is a knight and Oliver is a knave.\nThese are the knights and knaves of the puzzle.",
    "Zoey is a knight, Oliver is a knave. This is consistent with what was said. The knave lies, the knight does not.",
    "Zoey is a knight, Oliver is a knave.\n\nEverybody is either a knight or a knave, and each claim fits its role.",
    "Zoey is a knight, Oliver is a knave. If knights tell the truth, all of this holds.\nDone!",
    "Knights: Zoey. Knaves: Oliver. Thus there is one knight, and one knave.",
    "Answer: Zoey is a knight, Oliver is a knave. So there is one knight and there is one knave.",
    "<answer>Zoey is a knight. Oliver is a knave. That is every role, knight or knave.</answer>",
    r"\boxed{Zoey is a knight, Oliver is a knave}. I used \boxed as you asked, once for both knight and knave.",
    "Zoey is a knight, Oliver is a knave.<|im_end|>Zoey is a knave, Oliver is a knight.",
    "<answer>Zoey is a knight, Oliver is a knave</answer>\n\nQuestion: Who lies?\n<answer>Zoey is a knave</answer>",
    "So Zoey is a knight and Oliver is a knave.\n\nProblem 2: Ann says Bob lies.\nSo Zoey is a knave, Oliver a knight.",
    "Question: who is what?\nZoey is a knight, Oliver is a knave.\nUser: Thanks! Is Zoey a knave?",
]
REFUSED = [
    "", " ", "<answer></answer>", "<answer>knight, knave</answer>", "Answer:",
    "Answer: (1) Zoey is a knight (2) Zoey is a knave", "Answer: Zoey is a knight",
    "Answer: Zoey is a knight, Oliver is a knave, Oliver is a knight",
    "Answer: Zoey is a knight, Oliver is a knave and Jack is a knave",
    "Answer: Jack and Zoey are knights, and Oliver is a knave",
    "Answer: Zoey is a knight or a knave, Oliver is a knave", "Answer: It is false that Zoey is not a knave",
    "Answer: Neither Zoey nor Oliver is a knight", "Answer: Zoey and Oliver are not both knights",
    "Answer: if Zoey is a knight, Oliver is a knave", "Answer: Zoey said Oliver is a knave, Zoey is a knight",
    "Zoey is a knight, Oliver is a knave. <answer>", r"\boxed{Zoey is a knight} \boxed{Oliver is a knave}",
    "Zoey is a knight", "Maybe Zoey is a knight and Oliver is a knave",
    "Zoey is a knight and Oliver is a knave. This is inconsistent.", "Is Zoey a knight, Oliver a knave?",
    "Answer: not Zoey is a knight, Oliver is a knave", "Answer: Zoey is not not a knight, Oliver is a knave",
    "Zoey is a knight, Oliver is a knave. But a knave may be meant.",
    "Zoey is a knight, Oliver is a knave. This case fails.",
    "Zoey is a knight, Oliver is a knave. Suppose the knight lies.", "Case 1: Zoey is a knight, Oliver is a knave.",
    "Zoey is a knight, Oliver is a knave. Then Zoey says Oliver is a knight.",
    "Zoey is a knight, Oliver is a knave. So the knight is impossible.", "We know who is a knight and who is a knave.",
    "Zoey is a knight, Oliver is a knave. Who is the knight?", "Zoey is a knight. So one is a knight, one a knave.",
    "Answer: Zoey is a knight, Oliver is a knave. Or is the knight a knave?",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_conclusions_that_are_accepted(text): assert knights_knaves.concluded(text, NAMES, ROLES) == RIGHT_ONE


@pytest.mark.parametrize("text", REFUSED)
def test_conclusions_that_are_refused(text): assert knights_knaves.concluded(text, NAMES, ROLES) is None


@given(st.permutations(["Ann", "Bob", "Cas"]), st.lists(st.booleans(), min_size=3, max_size=3), st.data())
def test_any_order_and_any_wording_says_the_same(order, roles, data):
    truthful = dict(zip(order, roles))
    wording = {
        True: ["{} is a knight", "{} is not a knave", "**{}**: knight", "{} must be a knight"],
        False: ["{} is a knave", "{} isn't a knight", "**{}** - Knave"],
    }
    text = "".join(
        data.draw(st.sampled_from(wording[truthful[name]])).format(name)
        + data.draw(st.sampled_from([". ", "\n", "; ", ", and "]))
        for name in order
    )
    for said in (f"<answer>{text}</answer>", f"If Ann lies, so does Bob.\nCONCLUSION: {text}", text):
        assert knights_knaves.concluded(said, ("Ann", "Bob", "Cas"), ROLES) == {
            name: ROLES[not truthful[name]] for name in ("Ann", "Bob", "Cas")
        }


PIECES = "Zoey Oliver Bob is are not a knight knaves and , . : <answer> or \\boxed{ } may </s> Question:".split(" ")


@given(st.lists(st.sampled_from([*PIECES, "\n"]), max_size=25))
def test_any_text_gets_everybody_or_nobody(words):
    found = knights_knaves.concluded(" ".join(words), NAMES, ROLES)
    assert found is None or list(found) == list(NAMES) and set(found.values()) <= set(ROLES)


def test_golds_of_all_records_are_right(data):
    task = load_task("knights_knaves", path=data)
    for split in ("train", "test"):
        kept, left_out = check_golds(task, task.questions(split))
        assert kept and not left_out
        check_disjoint(task.questions("train"), task.questions("test"))
    assert {q.difficulty for q in kept} == {"3 people", "4 people", "5 people"}
    assert task.source()["twins"] == 2 and len(task.source()["files"]) == 6 and isinstance(task, Task)
    question = kept[0]
    turned = question.gold.replace("knight", "-").replace("knave", "knight").replace("-", "knave")
    assert [
        task.grade(question, text).verdict
        for text in (f"Answer: {turned}", "Answer: " + question.gold.split(",")[0], "")
    ] == [WRONG, UNPARSED, UNPARSED]


def test_recorded_texts_and_chains_end_in_the_right_conclusion(data):
    file = data / "knights_knaves_3ppl_test.parquet"
    for number, row in enumerate(read_file(file, knights_knaves.SCHEMA)[0]):
        question = knights_knaves.make_question(row, str(number), "test")
        chain = " ".join([row["cot_head"], *row["cot_repeat_steps"], row["cot_foot"]])
        for text in (
            row["solution_text"], row["solution_text_format"], f"{chain}\n{row['solution_text']}",
            f"{chain} CONCLUSION:\n{row['solution_text_format']}",
        ):
            found = knights_knaves.concluded(text, tuple(question.info["names"]), ROLES)
            assert ", ".join(f"{name}: {role}" for name, role in (found or {}).items()) == question.gold


def test_the_record_s_own_prompt_can_be_asked(data):
    asked = [
        load_task("knights_knaves", path=data / "knights_knaves_5ppl_test.parquet", prompt=prompt)
        .questions("test")[0]
        .prompt
        for prompt in ("quiz", "record")
    ]
    assert asked[0] in asked[1] and asked[1].startswith("<|im_start|>system") and not asked[0].startswith("<")


def test_missing_records_are_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.delenv("RLVD_DATA", raising=False)
    for options, message in (
        (dict(), "needs its records: set RLVD_DATA"), (dict(path=tmp_path), "has no file"),
        (dict(path=tmp_path / "x.parquet"), "no such file"), (dict(people=[]), "at least one size"),
        (dict(prompt="chat"), "prompt"),
    ):
        with pytest.raises(UserError, match=message):
            load_task("knights_knaves", **options)


def test_fresh_puzzles_are_the_same_again_and_never_shared():
    pytest.importorskip("reasoning_gym")
    one, again, other = (
        load_task("knights_knaves", generate=dict(n_people=3, count=15, seed=seed)) for seed in (0, 0, 1)
    )
    assert one.questions("test") == again.questions("test") != other.questions("test")
    forms = [{canonical(q.info["statements"]) for q in one.questions(split)} for split in ("train", "test")]
    assert len(forms[0]) == len(forms[1]) == 15 and not forms[0] & forms[1]
    assert not check_golds(one, one.questions("test"))[1]
    assert one.source()["version"]


# the lab's domain

LAB = knights.task(train_questions=60, test_questions=60)
DRAWN = [knights.draw_puzzle(Random(seed), 2 + seed % 3, LAB.config) for seed in range(240)]


def test_the_domain_has_what_a_lab_domain_has():
    assert isinstance(LAB, Task) and LAB.max_tokens <= 112 and set(LAB.starts) <= set(LAB.vocabulary)
    assert len(set(LAB.vocabulary)) == len(LAB.vocabulary)
    for prompt, response in islice(LAB.text(3), 500):
        words = (prompt + " " + response).split(" ")
        assert set(words) <= set(LAB.vocabulary) and words[0] in LAB.starts
        assert len(prompt.split()) <= 40 and len(response.split()) <= LAB.config.longest


@pytest.mark.parametrize("pattern", knights.PATTERNS)
def test_what_the_teacher_writes_is_right_in_every_step(pattern):
    for puzzle in DRAWN:
        question = knights.make_question(puzzle, "test")
        assert question.gold == " ".join(
            f"{name} {ROLES[not role]}" for name, role in zip(puzzle.names, the_solution(puzzle.statements))
        )
        for seed in range(2):
            response = LAB.worked(question, seed, pattern)
            grade = LAB.grade(question, response)
            assert (grade.verdict, grade.chain, grade.step, grade.fault) == (RIGHT, pattern != "direct", None, None)
            assert response.startswith("so " if pattern == "direct" else "think ")


def test_no_changed_role_or_truth_passes():
    for seed, puzzle in enumerate(DRAWN):
        question = knights.make_question(puzzle, "test")
        for pattern in knights.PATTERNS:
            for words in knights.turned(LAB.worked(question, seed, pattern).split()):
                grade = LAB.grade(question, " ".join(words))
                assert not grade.chain and grade.fault in ("atom", "plan") and grade.step is not None


def edited(words, rng):
    "Words with one of them left out, put twice, exchanged with another or replaced."
    i, j, kind = rng.randrange(len(words)), rng.randrange(len(words)), rng.randrange(4)
    words = list(words)
    if kind == 0: del words[i]
    elif kind == 1: words.insert(i, words[j])
    elif kind == 2: words[i], words[j] = words[j], words[i]
    else: words[i] = rng.choice(LAB.vocabulary)
    return words


def test_a_chain_that_passes_is_right_whatever_was_done_to_it():
    passed = 0
    for seed in range(2000):
        rng, question = Random(seed), knights.make_question(DRAWN[seed % len(DRAWN)], "test")
        words = edited(LAB.worked(question, seed).split(), rng)
        if seed % 2: words = edited(words, rng)
        grade = LAB.grade(question, " ".join(words))
        if grade.verdict != UNPARSED and words[0] == "think":
            assert grade.chain == (grade.fault is None) == (grade.step is None)
        if grade.chain: assert grade.verdict == RIGHT
        passed += bool(grade.chain)
    assert passed < 200


@settings(max_examples=100)
@given(st.lists(st.sampled_from(LAB.vocabulary), max_size=20), st.sampled_from(["", "so", "think"]))
def test_any_words_get_a_verdict(words, first):
    grade = LAB.grade(knights.make_question(DRAWN[0], "test"), " ".join([first, *words]))
    assert grade.verdict in (RIGHT, WRONG, UNPARSED)


def test_a_solved_puzzle_by_hand():
    """Ann says that Bob is a knave; Bob says that both are knights. Bob cannot be: Ann, then a knight, would lie."""
    question = knights.make_question(knights.read_prompt("Ann : Bob knave ; Bob : Ann knight and Bob knight ?"), "test")
    chain = (
        "think if Ann knight if Bob knight by Ann knight Bob knave false clash wait Bob knave by Ann knight Bob knave"
        " true by Bob knave Ann knight true and Bob knight false false so Ann knight Bob knave"
    )
    assert question.gold == "Ann knight Bob knave" and LAB.grade(question, chain).chain
    for old, new, step, fault in (
        ("false clash wait", "true clash wait", 2, "atom"),
        ("false clash wait", "false wait", 2, "atom"),
        ("wait Bob knave", "wait Ann knave", 3, "plan"),
        (" wait Bob knave", "", 3, "plan"),
        ("by Ann knight Bob knave true", "by Ann knave Bob knave true", 4, "atom"),
        ("by Ann knight Bob knave true ", "", 5, "plan"),
        ("and Bob knight false false", "or Bob knight false true", 5, "atom"),
        (" if Bob knight", " if Ann knight", 1, "plan"),
        ("think ", "", 0, "plan"),
        (" by Ann knight Bob knave true by Bob knave Ann knight true and Bob knight false false", "", 4, "plan"),
        ("if Bob knight", "if Bob", 1, "plan"),
    ):
        grade = LAB.grade(question, chain.replace(old, new, 1))
        assert (grade.verdict, grade.chain, grade.step, grade.fault) == (RIGHT, False, step, fault), (old, new)


def test_splits_share_no_puzzle_with_each_other_or_the_text():
    asked = {split: LAB.questions(split) for split in ("train", "test")}
    check_disjoint(asked["train"], asked["test"])
    forms = [
        {canonical(knights.read_prompt(prompt).statements) for prompt in prompts}
        for prompts in (
            [q.prompt for q in asked["train"]], [q.prompt for q in asked["test"]],
            [prompt for prompt, _ in islice(LAB.text(0), 1500)],
        )
    ]
    assert len(forms[0]) == len(forms[1]) == 60 and not forms[0] & forms[1] and not forms[2] & (forms[0] | forms[1])


def test_same_seed_same_text_and_questions():
    assert list(islice(LAB.text(1), 200)) == list(islice(LAB.text(1), 200)) != list(islice(LAB.text(2), 200))
    assert knights.task(train_questions=60, test_questions=60).questions("test") == LAB.questions("test")
    question = LAB.questions("test")[-1]
    assert (
        LAB.worked(question, 5) == LAB.worked(question, 5)
        and len({LAB.worked(question, seed) for seed in range(20)}) > 1
    )


def test_chains_of_the_text_are_right_and_bare_answers_slip():
    domain = knights.task(slip=.2)
    text = [
        (knights.make_question(knights.read_prompt(prompt), "text"), response)
        for prompt, response in islice(domain.text(0), 1500)
    ]
    assert {question.info["people"] for question, _ in text} == set(knights.SIZES)
    assert all(domain.grade(question, response).chain for question, response in text if not response.startswith("so "))
    assert .1 < sum("wait" in response for _, response in text) / len(text) < .5
    for people in knights.SIZES:
        bare = [
            domain.grade(question, response).verdict == RIGHT
            for question, response in text
            if response.startswith("so ") and question.info["people"] == people
        ]
        assert abs(sum(bare) / len(bare) - .8**people) < 4 * (.25 / len(bare)) ** .5
    assert all(
        domain.grade(knights.make_question(knights.read_prompt(p), "text"), r).verdict == RIGHT
        for p, r in islice(knights.task(slip=0).text(0), 200)
    )


def test_words_are_tokens():
    pytest.importorskip("torch")
    from rlvd_nb.models.word_models import word_reader, word_tokenizer
    tokenizer = word_tokenizer(LAB.vocabulary, LAB.starts)
    read = word_reader(tokenizer)
    for prompt, response in islice(LAB.text(0), 100):
        assert tokenizer(f"{prompt} {response}.").input_ids == read(f"{prompt} {response}.")
        assert len(read(f"{prompt} {response}.")) == len(prompt.split()) + len(response.split()) + 1
