"""MATH, AIME and MMLU-Pro on real and on small records: golds are right, splits are apart, no letter is guessed."""
import json, random, re, time

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import ERROR, RIGHT, UNPARSED, WRONG, Question, check_disjoint, choose, load_task, task_names
from rlvd_nb.tasks.contamination import contamination, overlaps
from rlvd_nb.tasks.grading import check_golds, grade_pairs, verdict_counts
from rlvd_nb.tasks.math_answers import last_boxed
from rlvd_nb.tasks.mmlu_pro import ASK, LETTERS, read_letter
from rlvd_nb.tasks.records import words


def write(path, rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def one_line(call):
    "The message of the UserError that `call` raises, which is one line."
    with pytest.raises(UserError) as caught: call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def ask(id, prompt, **info): return Question(id=id, prompt=prompt, gold="", split="test", info=info)


def test_they_are_tasks(): assert {"math", "math500", "aime", "mmlu_pro"} <= set(task_names())


# MATH

def training(i, **changes):
    return (
        dict(
            problem=f"Compute ${i} + {i}$.", level=f"Level {1 + i % 5}", type="Prealgebra",
            solution=rf"First \boxed{{0}}, no: $\boxed{{{2 * i}}}$.",
        )
        | changes
    )


def exam(i):
    return dict(
        problem=f"compute $ {i}+{i} $", answer=str(2 * i), unique_id=f"test/prealgebra/{i}.json", level=1 + i % 5,
        subject="Prealgebra",
    )


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path / "math_train.jsonl",
        [training(i) for i in range(40)] + [training(3), training(50, level="Level ?"), training(51, solution="None.")],
    )
    write(tmp_path / "math500.jsonl", [exam(i) for i in range(35, 45)])
    return tmp_path


def test_math_trains_on_no_test_problem(folder):
    math = load_task("math", path=folder)
    train, test = math.questions("train"), math.questions("test")
    check_disjoint(train, test)
    assert not {words(q.prompt) for q in train} & {words(q.prompt) for q in test}
    assert math.source()["left_out"] == dict(repeated=1, in_test=5, other_level=0) and (len(train), len(test)) == (
        37,
        10,
    )
    assert [q.id for q in test] == [f"test/prealgebra/{i}.json" for i in range(35, 45)] and {q.split for q in test} == {
        "test"
    }
    assert train[3].gold == "6" and train[3].difficulty == "level 4" and train[3].info == dict(subject="Prealgebra")
    kept, failed = check_golds(math, train)
    assert len(kept) == 36 and [why for _, why in failed] == ["its gold answer '' is judged unparsed"]


def test_levels_bear_on_training_alone(folder):
    some = load_task("math", path=folder, levels=[4, 3])
    assert {q.difficulty for q in some.questions("train")} == {"level 3", "level 4"} and {
        q.difficulty for q in some.questions("test")
    } == {f"level {i}" for i in range(1, 6)}
    assert some.source()["levels"] == [3, 4] and some.source() != load_task("math", path=folder).source()
    assert json.loads(json.dumps(some.source())) == some.source()


def test_the_order_of_the_file_changes_no_id(folder):
    before = {q.id: q.gold for q in load_task("math", path=folder).questions("train")}
    lines = (folder / "math_train.jsonl").read_text().splitlines()
    random.Random(0).shuffle(lines)
    (folder / "math_train.jsonl").write_text("\n".join(lines))
    assert {q.id: q.gold for q in load_task("math", path=folder).questions("train")} == before


def test_bad_options_of_math(folder, monkeypatch):
    assert "levels has no 6" in one_line(lambda: load_task("math", path=folder, levels=[6]))
    assert "path must be a folder with math_train.jsonl and math500.jsonl" in one_line(
        lambda: load_task("math", path=folder / "math500.jsonl")
    )
    assert "math has no option 'years'" in one_line(lambda: load_task("math", years=[2024]))
    (folder / "math_train.jsonl").unlink()
    monkeypatch.setenv("RLVD_DATA", str(folder))
    assert "math_train.jsonl: no such file" in one_line(lambda: load_task("math"))


def test_math_beside_the_real_five_hundred(data, tmp_path):
    "Real problems made into training rows: those of test are left out, golds are the last box of the solutions."
    real = [json.loads(line) for line in (data / "math500.jsonl").read_text().split("\n") if line]
    write(tmp_path / "math500.jsonl", real[100:])
    write(
        tmp_path / "math_train.jsonl",
        [
            dict(problem=r["problem"], level=f"Level {r['level']}", type=r["subject"], solution=r["solution"])
            for r in real[:150]
        ],
    )
    math = load_task("math", path=tmp_path)
    assert (
        math.source()["left_out"] == dict(repeated=0, in_test=50, other_level=0) and len(math.questions("train")) == 100
    )
    assert [last_boxed(r["solution"]) == r["answer"] for r in real].count(True) > 480 # the rest differ in typesetting
    assert check_golds(math, math.questions("train"))[1] == []


# AIME

def test_real_aime_golds_are_right(data):
    aime = load_task("aime", path=data, years=[2024])
    questions = choose(aime, "test", None)
    assert len(questions) == 30 and check_golds(aime, questions) == (questions, [])
    assert all(q.gold == str(int(q.gold)) and 0 <= int(q.gold) <= 999 for q in questions)
    padded = grade_pairs(aime, [(q, rf"So the answer is $\boxed{{{int(q.gold):03d}}}$.") for q in questions])
    beside = grade_pairs(aime, [(q, rf"\boxed{{{(int(q.gold) + 1) % 1000}}}") for q in questions])
    unboxed = grade_pairs(aime, [(q, f"The answer is {q.gold}.") for q in questions])
    assert [verdict_counts(grades) for grades in (padded, beside, unboxed)] == [
        dict(right=30, wrong=0, unparsed=0, error=0), dict(right=0, wrong=30, unparsed=0, error=0),
        dict(right=0, wrong=0, unparsed=30, error=0),
    ]
    assert aime.source()["years"]["2024"]["file"] == "aime24.jsonl" and questions[7].gold == "25"


def test_aime_is_a_test_set(data, tmp_path):
    assert "aime has no train split" in one_line(lambda: load_task("aime", path=data, years=[2024]).questions("train"))
    assert "without aime25.jsonl" in one_line(lambda: load_task("aime", path=data))
    assert "years has no 2023; there are: 2024, 2025" in one_line(lambda: load_task("aime", path=data, years=[2023]))
    rows = [
        dict(id=str(i), problem=f"Find {i}.", answer=answer) for i, answer in enumerate(["70", r"336^\circ", 5, "000"])
    ]
    later = load_task("aime", path=write(tmp_path / "aime25.jsonl", rows), years=[2025])
    assert [q.gold for q in later.questions("test")] == ["70", "336", "5", "0"] and check_golds(
        later, later.questions("test")
    )[1] == []
    write(tmp_path / "aime25.jsonl", [dict(id=1, problem="?", answer="1/2")])
    assert "AIME 2025: the answer of problem 1 must be a whole number from 0 to 999, not '1/2'" in one_line(
        lambda: load_task("aime", path=tmp_path, years=[2025])
    )


@pytest.fixture(scope="module")
def aime_204(tmp_path_factory):
    return load_task(
        "aime", path=write(tmp_path_factory.mktemp("aime") / "one.jsonl", [dict(id=1, problem="?", answer="204")]),
        years=[2024],
    )


HOSTILE = [
    "9^{9^{9^9}}", "10^{10^{10}}", r"((9!)!)!", r"\binom{10^9}{10^8}", "9" * 1999, "9" * 1_000_000, "{" * 1_000_000,
    r"\dfrac{1}{1+" * 90 + "1" + "}" * 90, r"\left(" * 300,
]


def test_hostile_answers_to_a_whole_number(aime_204):
    question, start = aime_204.questions("test")[0], time.monotonic()
    grades = grade_pairs(
        aime_204, [(question, rf"\boxed{{{text}}}") for text in HOSTILE] + [(question, r"\boxed{204}")], workers=2,
        seconds=1,
    )
    assert time.monotonic() - start < 30
    assert grades[-1].verdict == RIGHT and RIGHT not in {grade.verdict for grade in grades[:-1]}
    assert grades[0].verdict == ERROR and grades[5].verdict == UNPARSED and grades[6].verdict == UNPARSED


SPELLINGS = ["204", "0204", "204.0", r"\left(204\right)", r"204^\circ", r"204 \text{ minutes}", r"204\,\text{cm}^2",
             r"\dfrac{408}{2}", r"\tfrac{612}{3}", "x = 204", r"\text{204}", "$204$", "204."]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SPELLINGS), st.sampled_from("13579"), st.integers(0, 2))
def test_spelling_is_harmless_and_a_digit_is_not(aime_204, spelling, digit, place):
    question = aime_204.questions("test")[0]
    assert aime_204.grade(question, rf"\boxed{{{spelling}}}").verdict == RIGHT
    if "204" in spelling:
        changed = "204"[:place] + digit + "204"[place + 1:]
        assert aime_204.grade(question, rf"\boxed{{{spelling.replace('204', changed)}}}").verdict == WRONG


# MMLU-Pro

FIELDS = ("physics", "history", "computer science")


def choice(i, count=10, **changes):
    return (
        dict(
            question_id=i, question=f"Question {i}?", options=[f"option\n {n} of {i}" for n in range(count)],
            answer=LETTERS[i % count], answer_index=i % count, category=FIELDS[i % 3], src="made", cot_content="",
        )
        | changes
    )


@pytest.fixture(scope="module")
def mmlu(tmp_path_factory):
    return load_task(
        "mmlu_pro",
        path=write(tmp_path_factory.mktemp("mmlu") / "mmlu_pro.jsonl", [choice(i, 3 + i % 8) for i in range(600)]),
    )


def test_every_option_can_be_answered(mmlu):
    train, test = mmlu.questions("train"), mmlu.questions("test")
    check_disjoint(train, test)
    assert len(train) + len(test) == 600 and 150 < len(train) < 250
    for question in train + test:
        lines = question.prompt.split("\n")
        assert [line[:3] for line in lines[2:-2]] == [
            f"{letter}. " for letter in LETTERS[: question.info["options"]]
        ] and lines[-1] == ASK
    assert check_golds(mmlu, train + test)[1] == []


@pytest.fixture(scope="module")
def real_choices(data, tmp_path_factory):
    "3,018 real questions of MMLU's science subjects, with the names of columns that MMLU-Pro has."
    read = map(json.loads, (data / "mmlu_stem_test.jsonl").read_text().splitlines())
    rows = [dict(question_id=i, question=row["question"], options=row["choices"], answer=LETTERS[row["answer"]],
                 answer_index=row["answer"], category=row["type"]) for i, row in enumerate(read)]
    return load_task("mmlu_pro", path=write(tmp_path_factory.mktemp("real") / "mmlu_pro.jsonl", rows))


def test_real_questions(real_choices):
    "Each is kept or counted as left out, its gold is right, and every other letter is wrong."
    every = [question for split in ("train", "test") for question in real_choices.questions(split)]
    left = real_choices.source()["left_out"]
    assert len(every) + sum(left.values()) == 3018 and left["disagreeing"] == 0 and len(every) > 2900
    assert check_golds(real_choices, every)[1] == []
    for question in every:
        verdicts = {letter: real_choices.grade(question, rf"so \boxed{{{letter}}}").verdict for letter in "ABCD"}
        assert verdicts.pop(question.gold) == RIGHT and set(verdicts.values()) == {WRONG}


def test_real_options_behind_their_letter(real_choices):
    "As a model says it, with the option's own words behind the letter: another letter is never read."
    unread, count = 0, 0
    for question in real_choices.questions("test"):
        options = dict(line.split(". ", 1) for line in question.prompt.split("\n\n")[-2].split("\n"))
        for letter, text in options.items():
            read = [read_letter(said) for said in (f"The answer is ({letter}) {text}", f"**Answer: {letter}. {text}**")]
            assert set(read) <= {letter, None}, text
            unread, count = unread + read.count(None), count + 2
    assert unread < count / 1000  # "(A), (B), and (C)" is an option that leaves open which letter is meant


@settings(max_examples=150)
@given(st.sampled_from(LETTERS),
       st.sampled_from([r"\boxed{X}", r"\boxed{(X)}", r"\boxed{\text{X}}", r"\boxed{\textbf{(X)}}", "the answer is (X)",
                        "The answer is (X).", "**Answer:** (X)", "Answer: [X]", "It is so.\n\n(X)", r"\[\boxed{X}\]",
                        "The answer is $(X)$.", "<answer>(X)</answer>"]),
       st.sampled_from(["", "The answer is (A). ", r"\boxed{B}. Hm, ", "I think (C) or I may be wrong. ",
                        r"\boxed{42} ", "If the answer is D, "]))
def test_the_last_statement_is_read(letter, statement, before):
    assert read_letter(before + "\n" + statement.replace("X", letter)) == letter


@settings(max_examples=150)
@given(st.text("ABCDEFGHIJabij()[]{}\\boxed:,./ \nThe answer is", max_size=60))
def test_any_text_gives_a_letter_or_none(text):
    letter = read_letter(text)
    assert letter is None or len(letter) == 1 and letter in text.upper()


WORDS = "I am sure that I have seen it , and A decrease of F = ma is what E gives ; B cells C-reactive".split()


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_prose_is_no_answer(text):
    if len(text) > 1: assert read_letter(text) is None


STATED = [
    r"\boxed{x}", r"\boxed{\text{x}}", r"$\boxed{x}$", r"\boxed x", r"\boxed{x. 12 kg}", r"\boxed{(x) 12 kg}",
    "The answer is X, not Y.", "The answer is (X), not (Y).", "The answer is X and not Y.",
    "The answer is X rather than Y.", "Answer: X, not Y or Z", "The answer is X instead of Y",
    "The answer is not Y but X.", r"\boxed{X, not Y}", r"\boxed{X}, not \boxed{Y}", "X. 12 kg", "(X) 12 kg", "X) 12 kg",
    "**X. 12 kg**", "X: 12 kg", "Heavier.\n\nX. 12 kg", "So it weighs 12 kg.\n(X) 12 kg",
    r"\boxed{X}. I used \boxed as you asked.", r"The answer is (X). I put it in \boxed{}.",
    "The answer is X.<|im_end|> So (Y).", "The answer is X.\n\nQuestion: What else?\nThe answer is Y.",
    "X. 12 kg\n\nUser: And 3 kg?\n\nY. 3 kg", "Answer: X</s>Answer: Y",
]
UNSTATED = [
    "The answer is not X.", "It is not X, not Y.", r"not \boxed{X}", "The answer is X or Y, not Z.", r"\boxed{x, y}",
    r"\boxed{x = 5}", r"\boxed{x^2}", r"\boxed{x + y}", "X. 1 kg\nY. 2 kg\nZ. 3 kg", "(X) and (Y) are too small.",
    "X is too small", "The answer is x", r"\boxed{}", "I used \\boxed as you asked.", r"\boxed{xy}", "(X) is heavier.",
    "Not X. Not Y.",
]
three = st.permutations("BCDEFGH").map(lambda letters: dict(zip("XYZ", letters)))


def with_letters(text, letters):
    "The text with these letters for X, Y and Z, and their small ones for x and y where these are no part of a word."
    small = lambda word: "".join(letters[letter.upper()].lower() for letter in word[0])
    text = re.sub("[XYZ]", lambda letter: letters[letter[0]], text)
    return re.sub(r"(?<![A-Za-z\\])[xy]+(?![A-Za-z])", small, text)


@settings(max_examples=200)
@given(st.sampled_from(STATED), three)
def test_a_letter_is_stated(text, letters): assert read_letter(with_letters(text, letters)) == letters["X"]


@settings(max_examples=120)
@given(st.sampled_from(UNSTATED), three)
def test_no_letter_is_stated(text, letters): assert read_letter(with_letters(text, letters)) is None


def test_a_letter_beyond_the_options_is_no_answer(mmlu):
    question = next(q for q in mmlu.questions("test") if q.info["options"] == 4)
    grades = [mmlu.grade(question, rf"\boxed{{{letter}}}") for letter in "ABCDEFK"]
    assert [grade.verdict for grade in grades] == [RIGHT if letter == question.gold else WRONG for letter in "ABCD"] + [
        UNPARSED
    ] * 3
    assert verdict_counts(
        grade_pairs(mmlu, [(question, text) for text in ("", "I", "The answer is I", "42", r"\boxed{42}")])
    ) == dict(right=0, wrong=0, unparsed=5, error=0)


def test_fields_splits_and_repeats(tmp_path):
    rows = [choice(i) for i in range(90)] + [
        choice(1000 + i, question="The same?", options=["yes", "no"], answer="A", answer_index=0, category="history")
        for i in range(12)
    ]
    path = write(tmp_path / "mmlu_pro.jsonl", rows + [choice(2000, answer_index=9)])
    some = load_task("mmlu_pro", path=tmp_path, categories=["history", "computer science"])
    train, test = some.questions("train"), some.questions("test")
    check_disjoint(train, test)
    assert {q.difficulty for q in train + test} == {"history", "computer science"} and [
        q.prompt.startswith("The same?") for q in train + test
    ].count(True) == 1
    assert some.source()["left_out"] == dict(disagreeing=1, repeated=10, in_test=1) and some.source()["categories"] == [
        "computer science",
        "history",
    ]
    whole = load_task("mmlu_pro", path=path)
    assert set(q.id for q in train) < set(q.id for q in whole.questions("train")) and set(q.id for q in test) < set(
        q.id for q in whole.questions("test")
    )


@pytest.mark.parametrize("changes, message", [
    (dict(options=["one"]), "options must be 2 to 10 texts"), (dict(options=list("abcdefghijk")), "2 to 10 texts"),
    (dict(options=["a", None]), "2 to 10 texts"),
    (dict(answer="K"), "the answer must be a letter from A to J, not 'K'"), (dict(answer=""), "must be a letter"),
    (dict(answer="AB"), "must be a letter"),
    (dict(options="ab"), "line 1: column 'options' must be a list"), (dict(category=""), "column 'category' is empty"),
])
def test_bad_questions(tmp_path, changes, message):
    assert message in one_line(lambda: load_task("mmlu_pro", path=write(tmp_path / "a.jsonl", [choice(10, **changes)])))
    assert "no 'alchemy'; there are: history" in one_line(
        lambda: load_task("mmlu_pro", path=write(tmp_path / "b.jsonl", [choice(1)]), categories=["alchemy"])
    )


def test_parquet_as_the_hub_has_it(tmp_path, mmlu):
    pd.DataFrame([choice(i, 3 + i % 8) for i in range(600)]).to_parquet(tmp_path / "mmlu_pro.parquet")
    assert load_task("mmlu_pro", path=tmp_path).questions("test") == mmlu.questions("test")


# Contamination

texts = st.lists(st.lists(st.sampled_from("abcdef"), max_size=8).map(" ".join), max_size=6)


@settings(max_examples=80)
@given(texts, texts, st.integers(1, 4), st.randoms(use_true_random=False))
def test_overlap_is_what_counting_pairs_says(train, test, n, random):
    train, test = [
        [ask(f"{name}{i}", text) for i, text in enumerate(texts)] for name, texts in (("l", train), ("t", test))
    ]
    def runs(text):
        return {tuple(found[at : at + n]) for found in [text.split()] for at in range(max(1, len(found) - n + 1))} - {
            ()
        }
    expected = {}
    for q in test:
        shares = [
            (-len(runs(q.prompt) & runs(l.prompt)) / len(runs(q.prompt)), l.id)
            for l in train
            if runs(q.prompt) & runs(l.prompt)
        ]
        if shares: expected[q.id] = (min(shares)[1], -min(shares)[0])
    found = overlaps(train, test, n)
    assert {row.test: (row.train, row.share) for row in found.itertuples()} == expected
    pd.testing.assert_frame_equal(overlaps(random.sample(train, len(train)), random.sample(test, len(test)), n), found)
    assert contamination(train, test, n).overlapping[0] == len(expected)


def test_itself_and_strangers():
    many = [ask(str(i), " ".join(f"w{i}-{j}" for j in range(1 + i))) for i in range(30)]
    assert list(overlaps(many, many).share) == [1] * 30 and list(overlaps(many, many).train) == list(
        overlaps(many, many).test
    )
    assert contamination(many, many).to_dict("records") == [
        dict(train=30, test=30, n=13, overlapping=30, duplicates=30)
    ]
    assert len(overlaps(many[:15], many[15:])) == 0 and list(overlaps([], many)) == ["test", "train", "share"]


def test_the_instruction_of_a_task_is_no_overlap(mmlu):
    assert contamination(mmlu.questions("train"), mmlu.questions("test"), n=8).overlapping[0] == 0


def test_real_benchmarks_against_each_other(data):
    five, aime = load_task("math500", path=data, train=True), load_task("aime", path=data, years=[2024])
    start = time.process_time()
    found = overlaps(five.questions("train"), five.questions("test"))
    assert contamination(five.all_questions, five.all_questions).to_dict("records") == [
        dict(train=500, test=500, n=13, overlapping=500, duplicates=500)
    ]
    assert time.process_time() - start < 3
    assert (
        set(found.test) == {"test/algebra/1143.json", "test/intermediate_algebra/121.json"}
        and found.share.between(0.05, 0.3).all()
    )
    assert contamination(five.questions("train"), aime.questions("test")).duplicates[0] == 0
