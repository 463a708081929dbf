"""Training trains: real TRL trainers change the weights, errors are no rewards, a killed run ends as it would have."""
import json, math, os, signal, subprocess, sys, tempfile, time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT
from hypothesis import given, strategies as st
from pydantic import ValidationError
from tiny_lab import BRIEF, SIZE, TASK

import rlvd_nb.training.rlvr as rlvr
import rlvd_nb.training.trainers as trainers
from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import ERROR, RIGHT, WRONG, Grade
from rlvd_nb.models.checkpoints import Model, open_model
from rlvd_nb.models.sampling import before_stop
from rlvd_nb.training.distillation import OnPolicyConfig, SftConfig, on_policy_fields, sft_fields, train_sft
from rlvd_nb.training.pretraining import pretrain_base
from rlvd_nb.training.rlvr import (
    GrpoConfig, distinct_rollouts, grpo_fields, grpo_trainer, make_reward, run_grpo, train_grpo,
)
from rlvd_nb.training.trainers import split_step, training_history

QUESTIONS = TASK.questions("train")
QUICK = BRIEF.model_copy(update=dict(steps=2))
FEW = GrpoConfig(steps=6, questions=8, group=4, max_tokens=22, warmup=0, checkpoint=2)


def weights(model: Model) -> dict: return dict(model.load("cpu")[0].named_parameters())


@pytest.mark.parametrize("variant", ["grpo", "dr_grpo"])
def test_rlvr_changes_every_matrix(tiny_base, store, variant):
    trained = train_grpo(tiny_base, TASK, QUESTIONS, FEW.model_copy(update=dict(variant=variant)))
    before, after = weights(tiny_base), weights(trained)
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("proj.weight"))
    history = json.loads((trained.folder / "history.json").read_text())
    assert [row["step"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert {"reward", "groups without gradient", "token entropy", "response length"} <= set(history[0])
    assert not list(trained.folder.glob("checkpoint-*"))


@pytest.mark.parametrize("variant", ["grpo", "dr_grpo"])
def test_distinct_rollouts_have_the_gradient_of_all(tiny_base, variant, tmp_path):
    from trl import GRPOTrainer
    config = FEW.model_copy(update=dict(variant=variant, steps=1, group=32))
    trainer = grpo_trainer(tiny_base, TASK, QUESTIONS, config, tmp_path)
    ours, seen = trainer._compute_loss, []
    def both(model, inputs):
        rows = len(inputs["advantages"]), len(distinct_rollouts(inputs)["advantages"])
        gradients = [
            torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
            for loss in (GRPOTrainer._compute_loss(trainer, model, inputs), ours(model, inputs))
        ]
        seen.append((rows, gradients))
        return ours(model, inputs)
    trainer._compute_loss = both
    trainer.train()
    [((every, distinct), (whole, short))] = seen
    assert distinct < every and any(gradient.abs().max() > 0 for gradient in whole)
    for a, b in zip(whole, short): torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


class Judge:
    "Says of a response what a function says of its text."
    version, untrusted, max_tokens, questions = "1", False, 22, TASK.questions

    def __init__(self, name, verdict): self.name, self.verdict = name, verdict

    def source(self): return dict(task=self.name)

    def grade(self, question, completion): return Grade(self.verdict(completion), "x")


def test_rlvr_raises_the_reward_it_is_given(tiny_base, store):
    "A reward that anyone can earn (any name as answer) is earned more and more."
    name = TASK.world.people[0]
    judge = Judge("a name", lambda text: RIGHT if text.split()[-1:] == [name] else WRONG)
    config = GrpoConfig(steps=25, questions=16, group=16, max_tokens=22, warmup=0, learning_rate=3e-3)
    reward = training_history(train_grpo(tiny_base, judge, QUESTIONS, config))["reward"]
    assert reward[-5:].mean() > reward[:5].mean() + .2


def test_a_verifier_error_is_no_reward():
    broken = Judge("broken", lambda text: {"r": RIGHT, "w": WRONG}.get(text, ERROR))
    assert make_reward(broken, QUESTIONS[:1])(["r", "w", "e"], [QUESTIONS[0].id] * 3) == [1., 0., None]


def test_what_could_not_be_judged_counts_neither_way():
    "A group of which k are left has the advantages of that smaller group; the rest has no gradient."
    advantages, _ = rlvr.pass_at_k_advantages([1., None, 0., 0.], 4, 2)
    alone, _ = rlvr.pass_at_k_advantages([1., 0., 0.], 3, 2)
    assert advantages[1] == 0 and advantages[[0, 2, 3]].tolist() == alone.tolist() and alone[0] > 0 > alone[1]
    assert rlvr.pass_at_k_advantages([1., None, None, None], 4, 2)[0].tolist() == [0.] * 4


def test_checkpoints_stay_until_the_model_is_written(tmp_path, monkeypatch):
    "A disk that is full at the end costs the last steps and not the training."
    def full(*_): raise OSError(28, "No space left on device")
    monkeypatch.setattr(trainers, "save", full)
    (tmp_path / "checkpoint-3").mkdir()
    trainer = SimpleNamespace(args=SimpleNamespace(save_total_limit=1), processing_class=None)
    with pytest.raises(OSError): trainers.leave_model(tmp_path, trainer, None, [])
    assert (tmp_path / "checkpoint-3").is_dir()


# stop strings

def test_stop_strings_are_no_part_of_an_address_where_there_are_none(tiny_base, store):
    assert "stop" not in GrpoConfig().model_dump(mode="json")
    assert GrpoConfig(stop=["a"]).model_dump(mode="json")["stop"] == ["a"]
    for stop in (("",), "ab", (1,)):
        with pytest.raises(ValidationError, match="stop"): GrpoConfig(stop=stop)


def test_rollouts_end_at_stop_strings(tiny_base, store, tmp_path):
    "The tokens learned are those sampled, up to the one that completes the stop string; what is graded ends before it."
    stop, heard = tuple(f" {name}" for name in TASK.world.people[:6]), []
    judge = Judge("listens", lambda text: heard.append(text) or WRONG)
    free, cut = (
        grpo_trainer(tiny_base, judge, QUESTIONS, FEW.model_copy(update=dict(stop=given)), tmp_path / str(len(given)))
        for given in ((), stop)
    )
    prompts = [q.prompt for q in QUESTIONS[:8] for _ in range(4)]
    whole, short = (trainer.rollout_func(prompts, trainer) for trainer in (free, cut))
    stopped = 0
    for long, ids in zip(whole["completion_ids"], short["completion_ids"]):
        texts = [cut.processing_class.decode(ids[:end], skip_special_tokens=True) for end in range(len(ids) + 1)]
        assert ids == long[:len(ids)] and not any(before_stop(text, stop) != text for text in texts[:-1])
        stopped += before_stop(texts[-1], stop) != texts[-1]
    assert stopped > 8 and all(map(len, short["completion_ids"])) and short["logprobs"] != whole["logprobs"]
    batch = next(iter(cut.get_train_dataloader()))
    learned = cut._generate_and_score_completions(batch)
    lengths = learned["completion_mask"].sum(1).tolist()
    texts = cut.processing_class.batch_decode(learned["completion_ids"], skip_special_tokens=True)
    assert any(before_stop(text, stop) != text for text in texts) and min(lengths) > 0
    assert heard and not any(name in text for name in stop for text in heard)


def test_stop_strings_reach_trls_own_engine(tmp_path):
    given = dict(use_vllm=True, generation_kwargs=dict(min_tokens=1))
    made = grpo_fields(GrpoConfig(stop=("Q:",), trl=given), tmp_path)
    assert made.generation_kwargs == dict(min_tokens=1, stop=["Q:"])
    assert grpo_fields(GrpoConfig(stop=("Q:",)), tmp_path).generation_kwargs is None
    with pytest.raises(UserError, match="leave one of stop and mask_truncated_completions out"):
        grpo_fields(GrpoConfig(stop=("Q:",), trl=dict(mask_truncated_completions=True)), tmp_path)


# a training that did not train

def nothing_stored(store, kind): return not [path for path in store.glob(f"store/{kind}/*") if not path.suffix]


NEVER = Judge("never", lambda text: WRONG)
ALWAYS = Judge("always", lambda text: RIGHT)
BROKEN = Judge("broken", lambda text: ERROR)


@pytest.mark.parametrize("judge", [NEVER, ALWAYS, BROKEN], ids=lambda judge: judge.name)
@pytest.mark.parametrize("trl", [{}, dict(weight_decay=.1)], ids=str)
def test_rlvr_without_a_gradient_is_no_result(tiny_base, store, judge, trl):
    "Every group alike, with weight decay too, which moves weights although nothing is learned."
    config = FEW.model_copy(update=dict(steps=2, trl=trl))
    with pytest.raises(UserError, match=r"^RLVR \(grpo\) learned nothing: none of its 2 steps had a gradient; [^\n]*$"):
        train_grpo(tiny_base, judge, QUESTIONS, config)
    assert nothing_stored(store, "grpo")
    with pytest.raises(UserError, match="learned nothing"): train_grpo(tiny_base, judge, QUESTIONS, config)  # nor later


def lessons(count=16): return [dict(prompt=q.prompt, completion=" " + TASK.worked(q, 0)) for q in QUESTIONS[:count]]


IMITATE = SftConfig(epochs=1, batch=8, warmup=0)
IDLE = [
    (dict(learning_rate=1e-30), "changed no weight; raise learning_rate"),
    (dict(warmup=5, batch=16), "changed no weight; raise learning_rate, or take more steps than warmup has"),
    (dict(trl=dict(dataloader_drop_last=True), batch=32), "has not a single step to take"),
    (dict(trl=dict(logging_steps=50)), "noted nothing in its 2 steps; leave logging_steps out of trl"),
    (dict(learning_rate=1e38, epochs=4), "no finite numbers; lower learning_rate|had a finite gradient"),
]


@pytest.mark.parametrize("config, message", IDLE, ids=[str(config) for config, _ in IDLE])
def test_fine_tuning_that_did_nothing_is_no_result(tiny_base, store, config, message):
    with pytest.raises(UserError, match=f"^distillation [^\n]*({message})[^\n]*$"):
        train_sft(tiny_base, pd.DataFrame(lessons()), IMITATE.model_copy(update=config))
    assert nothing_stored(store, "sft")


def test_a_run_that_was_stopped_early_is_no_result(tiny_base, store, tmp_path, monkeypatch):
    from transformers import TrainerCallback
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_): control.should_training_stop = state.global_step == 2
    made = rlvr.grpo_trainer
    def stopping(*given):
        trainer = made(*given)
        trainer.add_callback(Stop())
        return trainer
    monkeypatch.setattr(rlvr, "grpo_trainer", stopping)
    judge = Judge("vowels", lambda text: RIGHT if "a" in text else WRONG)
    with pytest.raises(UserError, match=r"^RLVR \(grpo\) took 2 of 6 steps"):
        run_grpo(tmp_path, tiny_base, judge, QUESTIONS, FEW, "question")
    assert not (tmp_path / "history.json").exists() and not (tmp_path / "model.safetensors").exists()


# how large a step is

@given(st.integers(1, 400), st.one_of(st.none(), st.integers(1, 40)), st.one_of(st.none(), st.integers(1, 40)))
def test_a_split_step_is_as_large_as_it_was(responses, batch, passes):
    names = "per_device_train_batch_size", "gradient_accumulation_steps"
    further = {name: value for name, value in zip(names, (batch, passes)) if value}
    try: fields = split_step(responses, "batch", further)
    except UserError: assert responses % (batch or 1) or responses % (passes or 1) or batch * passes != responses
    else:
        assert math.prod(fields.values()) == responses and list(fields) == list(names)
        assert all(fields[name] == value for name, value in further.items())


SPLITS = [
    ({}, (320, 1)), (dict(per_device_train_batch_size=4), (4, 80)), (dict(gradient_accumulation_steps=5), (64, 5)),
    (dict(per_device_train_batch_size=32, gradient_accumulation_steps=10), (32, 10)),
    (dict(per_device_train_batch_size=32, generation_batch_size=320), (32, 10)),
    (dict(per_device_train_batch_size=32, steps_per_generation=5), (32, 10)),
]


@pytest.mark.parametrize("trl, split", SPLITS, ids=[str(trl) for trl, _ in SPLITS])
def test_thirty_two_questions_are_thirty_two(tmp_path, trl, split):
    made = grpo_fields(GrpoConfig(questions=32, group=10, trl=trl), tmp_path)
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps) == split
    assert made.num_generations == 10


CONFLICTS = [
    (dict(per_device_train_batch_size=4, gradient_accumulation_steps=5), "takes 320 responses .32 questions x 10."),
    (dict(per_device_train_batch_size=7), "a step takes 320 responses"), (dict(max_steps=2), "max_steps 2, but steps"),
    (dict(gradient_accumulation_steps=3), "a step takes 320 responses"), (dict(num_generations=2), "but group asks"),
    (dict(gradient_accumulation_steps=0), "a whole number"), (dict(per_device_train_batch_size="4"), "a whole number"),
    (dict(max_completion_length=9), "but max_tokens asks for 24"), (dict(temperature=.5), "but temperature asks for 1"),
    (dict(learning_rate=1.), "but learning_rate asks for"), (dict(seed=9), "seed 9, but seed asks for 0"),
    (dict(warmup_steps=3), "but warmup asks for 10"), (dict(save_steps=3), "but checkpoint asks for 50"),
    (dict(output_dir="here"), "trl has output_dir"), (dict(auto_find_batch_size=True), "leave it out"),
]


@pytest.mark.parametrize("trl, message", CONFLICTS, ids=[str(trl) for trl, _ in CONFLICTS])
def test_trl_may_not_change_what_our_names_say(tmp_path, trl, message):
    with pytest.raises(UserError, match=message): grpo_fields(GrpoConfig(questions=32, group=10, trl=trl), tmp_path)


def test_what_trl_repeats_is_no_conflict(tmp_path):
    repeated = dict(max_steps=150, num_generations=16, learning_rate=1e-3, warmup_steps=10, seed=0)
    assert grpo_fields(GrpoConfig(trl=repeated), tmp_path).max_steps == 150


@pytest.mark.parametrize("fields, config", [(sft_fields, SftConfig), (on_policy_fields, OnPolicyConfig)])
def test_batches_of_students(tmp_path, fields, config):
    made = fields(config(batch=12, trl=dict(per_device_train_batch_size=4)), tmp_path)
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps) == (4, 3)
    for trl in (dict(gradient_accumulation_steps=5), dict(max_steps=7), dict(learning_rate=9.)):
        with pytest.raises(UserError, match="^(a step takes 12 responses|trl has)"):
            fields(config(batch=12, trl=trl), tmp_path)


@pytest.mark.parametrize("questions", [2, 32])
def test_the_papers_step_takes_the_questions_that_are_asked(tmp_path, questions):
    "On the paper's own four responses a pass."
    s = yaml.safe_load((ROOT / "nbs/profiles/paper.yaml").read_text())["sections"]
    rlvr = s["03"]
    made = grpo_fields(GrpoConfig(questions=questions, group=rlvr["group"], trl=rlvr["trl"]), tmp_path)
    assert made.generation_batch_size == questions * 10 and made.per_device_train_batch_size == 4
    made = sft_fields(SftConfig(**s["04"]["sft"]), tmp_path)
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps) == (1, 2)


def test_which_questions_and_golds_is_part_of_the_name(tiny_base, store, monkeypatch):
    "The same ids with another text or answer are another training."
    keys = []
    monkeypatch.setattr(rlvr, "made", lambda kind, key, make: keys.append(json.dumps(key)) or tiny_base.folder)
    first, *rest = QUESTIONS
    for each in (first, replace(first, prompt="another"), replace(first, gold="another")):
        train_grpo(tiny_base, TASK, [each, *rest], FEW)
    assert len(set(keys)) == 3


# a kill

KILLED = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from test_training import BRIEF, FEW, QUESTIONS, SIZE, TASK, pretrain_base, train_grpo
print(train_grpo(pretrain_base(TASK, SIZE, BRIEF), TASK, QUESTIONS, FEW))
"""


def run_until(condition, out: Path, program: str, *given) -> None:
    "Run a program that imports from here, and kill it when it has come so far."
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-c", program, f"{here}:{here.parent}", *map(str, given)],
            env=os.environ | dict(RLVD_OUT=str(out)), stdout=subprocess.DEVNULL, stderr=said,
        )
        deadline = time.time() + 180
        while not condition() and process.poll() is None and time.time() < deadline: time.sleep(.01)
        process.send_signal(signal.SIGKILL)
        code = process.wait()
        said.seek(0)
        assert code == -signal.SIGKILL, f"it ended before it could be killed: {said.read().decode()}"


def noted(model: Model, name: str): return json.loads((model.folder / name).read_text())


def test_killed_training_goes_on_with_the_same_trajectory(tiny_base, store, monkeypatch):
    "kill -9 in pretraining, again in GRPO, then to the end: weights and record of a run that was never killed."
    run_until(lambda: list(store.glob("store/base/*.work/state.safetensors")), store, KILLED)
    run_until(lambda: list(store.glob("store/grpo/*.work/checkpoint-2/trainer_state.json")), store, KILLED)
    base = pretrain_base(TASK, SIZE, BRIEF)
    resumed = train_grpo(base, TASK, QUESTIONS, FEW)
    monkeypatch.setenv("RLVD_OUT", f"{store}-fresh")
    whole = train_grpo(tiny_base, TASK, QUESTIONS, FEW)
    for one, other in ((base, tiny_base), (resumed, whole)):
        a, b = weights(one), weights(other)
        assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
    assert len(noted(base, "losses.json")) == 60
    assert noted(base, "losses.json") == pytest.approx(noted(tiny_base, "losses.json"), abs=1e-5)
    assert [row["step"] for row in noted(resumed, "history.json")] == [1, 2, 3, 4, 5, 6]


def test_a_model_has_one_name_wherever_it_was_trained(tiny_base, store, monkeypatch):
    "Nothing of a place or a time is in the files that name it."
    names = []
    for where in ("here", "there"):
        monkeypatch.setenv("RLVD_OUT", f"{store}-{where}")
        names.append(train_sft(tiny_base, pd.DataFrame(lessons()), IMITATE).fingerprint)
    assert names[0] == names[1] != tiny_base.fingerprint


def test_a_model_is_not_trained_twice(store):
    base = pretrain_base(TASK, SIZE, QUICK)
    stamp = (base.folder / "model.safetensors").stat().st_mtime_ns
    assert pretrain_base(TASK, SIZE, QUICK) == base and (base.folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert pretrain_base(TASK, SIZE, QUICK.model_copy(update=dict(seed=1))) != base


def test_damaged_weights_are_found(store, capsys):
    base = pretrain_base(TASK, SIZE, QUICK)
    good = (base.folder / "model.safetensors").read_bytes()
    (base.folder / "model.safetensors").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert (pretrain_base(TASK, SIZE, QUICK).folder / "model.safetensors").read_bytes() == good
    assert "model.safetensors is not what was written" in capsys.readouterr().out


@pytest.mark.parametrize("files, message", [({}, "no config.json"), ({"config.json": "{}"}, "no safetensors weights")])
def test_a_folder_that_is_no_model(tmp_path, files, message):
    for name, text in files.items(): (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message): open_model(tmp_path)
