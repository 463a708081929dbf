"""Students learn the completion and its end, nothing else; killed runs go on as if they had not been; the lab's teacher
is right and teaches no test question."""
import itertools, json

import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from test_training import run_until, weights
from tiny_lab import TASK

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import RIGHT, Question, check_disjoint, load_task
from rlvd_nb.tasks.kinship import make_question, path_of, questions_through, true_walk, unknown_facts
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.prompts import completion_rows, render
from rlvd_nb.training.distillation import OnPolicyConfig, SftConfig, sft_trainer, train_on_policy, train_sft

LESSON = SftConfig(epochs=2, batch=8, warmup=0, checkpoint=2)
JUDGED = OnPolicyConfig(steps=6, batch=8, warmup=0, checkpoint=2, max_tokens=22)
WORLD = TASK.world


@pytest.fixture(scope="module")
def problems(data):
    "Real MATH-500 problems with boxed answers."
    questions = load_task("math500", path=data / "math500.jsonl").questions("test")[:12]
    return pd.DataFrame([
        dict(prompt=render(q.prompt, "qwen-math"), completion=f" The answer is \\boxed{{{q.gold}}}.") for q in questions
    ])


# what is learned

def test_the_loss_is_on_the_completion_and_its_end(tiny_model, problems, store, tmp_path):
    trainer = sft_trainer(tiny_model, problems, SftConfig(batch=12, warmup=0), tmp_path)
    tokenizer = tiny_model.tokenizer()
    batch, = trainer.get_train_dataloader()
    learned = []
    for ids, labels, attention in zip(*(batch[name].tolist() for name in ("input_ids", "labels", "attention_mask"))):
        kept = [i for i, label in enumerate(labels) if label != -100]
        assert kept == list(range(kept[0], sum(attention)))  # one piece, to the last token before the padding
        assert [labels[i] for i in kept] == [ids[i] for i in kept] and labels[kept[-1]] == tokenizer.eos_token_id
        learned.append((tokenizer.decode(ids[:kept[0]]), tokenizer.decode(labels[kept[0]:kept[-1]])))
    assert sorted(learned) == sorted(problems.itertuples(index=False, name=None))


def test_a_response_that_does_not_fit_is_refused(tiny_model):
    with pytest.raises(UserError, match=r"a prompt and response of \d+ tokens do not fit the model's 20"):
        completion_rows(tiny_model.tokenizer(), ["What is 1 + 1?"], ["a " * 40], 20)


@pytest.mark.parametrize("rank", [0, 4])
def test_learning_changes_every_matrix(tiny_model, problems, store, rank):
    student = train_sft(tiny_model, problems, SftConfig(epochs=2, batch=12, warmup=0, lora=rank))
    before, after = weights(tiny_model), weights(student)
    assert set(before) == set(after)  # adapters are merged
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("proj.weight"))
    assert rank == 0 or torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])
    history = json.loads((student.folder / "history.json").read_text())
    assert [row["step"] for row in history] == [1, 2] and history[1]["loss"] < history[0]["loss"]


def test_what_was_learned_is_said_and_ended(tiny_model, store):
    pairs = pd.DataFrame(dict(prompt=["Say it:"] * 8, completion=[" \\boxed{7}"] * 8))
    config = SftConfig(epochs=40, batch=8, warmup=0, learning_rate=1e-2)
    model, tokenizer = train_sft(tiny_model, pairs, config).load("cpu")
    ids = torch.tensor([tokenizer("Say it:").input_ids])
    whole = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
    said = whole[0, ids.shape[1]:].tolist()
    assert said[-1] == tokenizer.eos_token_id and tokenizer.decode(said[:-1]) == " \\boxed{7}"


def test_nothing_to_learn_is_said(tiny_model, store):
    with pytest.raises(UserError, match="no responses to learn from"):
        train_sft(tiny_model, pd.DataFrame(columns=["prompt", "completion"]), LESSON)
    with pytest.raises(UserError, match="no questions for on-policy"):
        train_on_policy(tiny_model, tiny_model, [], JUDGED)
    with pytest.raises(UserError, match="the teacher is the student itself"):
        train_on_policy(tiny_model, tiny_model, TASK.questions("train"), JUDGED)
    pair = pd.DataFrame(dict(prompt=["a"], completion=["b"]))
    misspelt = LESSON.model_copy(update=dict(trl=dict(epoch=3)))
    with pytest.raises(UserError, match="TRL's SFTConfig: .*epoch"): train_sft(tiny_model, pair, misspelt)


# a kill

def lessons():
    "Right chains to training questions."
    questions = TASK.questions("train")
    return pd.DataFrame([dict(prompt=q.prompt, completion=" " + TASK.worked(q, 0)) for q in questions])


def students(base, teacher):
    "Both students of the small base model, trained for long enough to be killed on the way."
    pulled = train_on_policy(base, teacher, TASK.questions("train"), JUDGED.model_copy(update=dict(steps=18)))
    return [train_sft(base, lessons(), LESSON.model_copy(update=dict(epochs=8))), pulled]


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(":")
from test_distillation import Model, students
students(*(Model.at(Path(folder)) for folder in sys.argv[2:]))
"""


def test_killed_students_end_where_they_would_have_ended(tiny_base, tiny_teacher, store, monkeypatch):
    "kill -9 in on-policy distillation, then in supervised fine-tuning: the weights of runs that were left alone."
    for kind in ("on-policy", "sft"):
        left = lambda: list(store.glob(f"store/{kind}/*.work/checkpoint-2/trainer_state.json"))
        run_until(left, store, KILLED, tiny_base.folder, tiny_teacher.folder)
    resumed = students(tiny_base, tiny_teacher)
    monkeypatch.setenv("RLVD_OUT", f"{store}-fresh")
    base = weights(tiny_base)
    for one, other in zip(resumed, students(tiny_base, tiny_teacher)):
        a, b = weights(one), weights(other)
        assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
        assert all(not torch.equal(a[name], base[name]) for name in a if name.endswith("proj.weight"))
        assert json.loads((one.folder / "history.json").read_text())[0]["step"] == 1
        assert not list(one.folder.glob("checkpoint-*"))


def test_a_teacher_of_another_vocabulary_is_refused(tiny_base, tiny_model, store):
    with pytest.raises(UserError, match="needs one vocabulary; the student's has"):
        train_on_policy(tiny_base, tiny_model, TASK.questions("train"), JUDGED)


# the lab's teacher

@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_the_teachers_text_is_right_to_the_last_step(seed):
    for prompt, response in itertools.islice(TASK.teacher_text(seed), 40):
        question = make_question(WORLD, *path_of(WORLD, Question("", prompt, "", "text")), "text")
        grade = TASK.grade(question, response)
        assert (grade.verdict, grade.chain, grade.fault) == (RIGHT, True, None)


def test_the_teachers_text_leaves_out_train_and_test_questions():
    asked = {question.prompt for split in ("train", "test") for question in TASK.questions(split)}
    assert not asked & {prompt for prompt, _ in itertools.islice(TASK.teacher_text(0), 3000)}


def facts_of(question):
    "The facts a question walks along, found again from its words."
    path, start = path_of(WORLD, question)
    people, kinds = true_walk(WORLD, path, start)
    return {(relation, person): kind for relation, person, kind in zip(path, [start, *people], kinds)}


@pytest.mark.parametrize("seed", [0, 1])
def test_new_knowledge_is_what_the_test_needs_and_no_test_question(seed):
    test = TASK.questions("test")
    needed = {fact for question in test for fact, kind in facts_of(question).items() if kind == 2}
    assert needed == unknown_facts(WORLD, test)
    found = TASK.new_knowledge(test, 20, seed)
    assert len({question.id for question in found}) == 20 and all(question.split == "train" for question in found)
    check_disjoint(found, test)
    for question in found: assert any(kind == 2 and fact in needed for fact, kind in facts_of(question).items())
    assert found == TASK.new_knowledge(test, 20, seed)
    assert all(TASK.grade(question, TASK.worked(question, seed)).verdict == RIGHT for question in found)


def test_more_new_knowledge_than_there_is():
    one = {min(unknown_facts(WORLD, TASK.questions("test")))}
    with pytest.raises(UserError, match=r"only \d+ training questions go through the 1 facts, not 70"):
        questions_through(WORLD, one, 70)
    with pytest.raises(UserError, match="no facts to ask for"): TASK.new_knowledge([], 3)
