"""Samples are made once, survive a kill, and are never used when damaged."""
import os, re, shutil, signal, subprocess, sys, time
from pathlib import Path

import pandas as pd
import pytest

import trap_task

from rlvd_nb.core.artifacts import made, replacing, write_text
from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.kinship import task as kinship
from rlvd_nb.models.checkpoints import Model, save
from rlvd_nb.models.word_models import LabModelConfig, new_model, word_tokenizer
from rlvd_nb.models.sampling import SamplingParams
from rlvd_nb.models.store import PAIR, chosen_engine, read_parts, respond, sample_key, verdicts
from rlvd_nb.core import artifacts

TASK = kinship(entities=40, train_questions=30, test_questions=30)
PARAMS = SamplingParams(max_tokens=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tokenizer = word_tokenizer(TASK.world.vocabulary, TASK.world.relations)
    network = new_model(LabModelConfig(width=16, layers=1, heads=2, hidden=16), tokenizer, 0)
    return Model.at(save(network, tokenizer, tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize("given, message", [
    (dict(model="m"), "model must be what `open_model` gives, not 'm'"),
    (dict(task="kinship"), "task must be what `load_task` gives, not 'kinship'"),
    (dict(params={}), "params must be `SamplingParams`, not {}"),
    (dict(n="few"), "n must be 1 or more responses a question, not 'few'"),
    (dict(n=1.5), "n must be 1 or more responses a question, not 1.5"),
])
def test_names_where_values_are_meant_are_one_line(store, model, given, message):
    asked = dict(model=model, task=TASK, questions=TASK.questions("test")[:2], n=2, params=PARAMS) | given
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"): respond(**asked)


def nothing_to_do(_): raise AssertionError("something was sampled although nothing is missing")


def test_more_samples_are_added_to_those_there(store, model):
    questions = TASK.questions("test")
    some = respond(model, TASK, questions[:6], 8, PARAMS)
    more = respond(model, TASK, questions, 16, PARAMS)
    assert len(more) == 16 * len(questions)
    both = more[more["question_id"].isin(some["question_id"]) & (more["sample_index"] < 8)].reset_index(drop=True)
    assert both["completion"].tolist() == some["completion"].tolist()
    assert respond(model, TASK, questions, 16, PARAMS, sampler=nothing_to_do).equals(more)
    fresh = os.environ["RLVD_OUT"] + "-fresh"
    os.environ["RLVD_OUT"] = fresh
    assert respond(model, TASK, questions, 16, PARAMS).equals(more)  # the same as if made at once


@pytest.mark.parametrize("harm", [lambda b: b[:-30], lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:], lambda b: b""])
def test_damage_is_found_and_made_again(store, model, harm, capsys):
    questions = TASK.questions("test")[:5]
    before = respond(model, TASK, questions, 4, PARAMS)
    part = sorted(store.glob("store/samples/*/*.parquet"))[0]
    part.write_bytes(harm(part.read_bytes()))
    assert respond(model, TASK, questions, 4, PARAMS).equals(before)
    assert "is damaged" in capsys.readouterr().out
    assert len(list(part.parent.glob("*.damaged-*"))) == 1


def test_damaged_verdicts_are_made_again(store, tmp_path):
    pairs = pd.DataFrame(dict(question_id="q-a", completion=["a", "b"]))
    grade = lambda: verdicts(trap_task.Slow(tmp_path / "log", False, 0), [trap_task.question("a")], pairs)
    before = grade()
    part, = store.glob("store/verdicts/*/*.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    assert grade().equals(before) and (tmp_path / "log").read_text() == "a\nb\n" * 2


def test_a_quick_grader_is_not_asked_to_remember(store, monkeypatch):
    questions = TASK.questions("test")[:2]
    pairs = pd.DataFrame(
        dict(question_id=[q.id for q in questions], completion=[f" {questions[0].gold} .", "Nobody"]), index=[7, 3]
    )
    with monkeypatch.context() as slow:
        slow.setattr(TASK, "quick", False)
        kept, read = verdicts(TASK, questions, pairs), verdicts(TASK, questions, pairs)
    shutil.rmtree(store / "store" / "verdicts")
    now = verdicts(TASK, questions, pairs)
    assert not (store / "store" / "verdicts").exists()
    pd.testing.assert_frame_equal(now, kept)
    pd.testing.assert_frame_equal(kept, read)


KILLED = """
import sys, time
from pathlib import Path
from rlvd_nb.tasks.kinship import task
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.sampling import SamplingParams
from rlvd_nb.models.store import respond
from rlvd_nb.models.transformers_sampler import TransformersSampler
class Slow(TransformersSampler):
    def sample(self, requests, params):
        for batch in super().sample(requests, params):
            yield batch
            time.sleep(.3)
kinship = task(entities=40, train_questions=30, test_questions=30)
slow = lambda model: Slow(*model.load(), memory=200_000)
respond(Model.at(Path(sys.argv[1])), kinship, kinship.questions("test"), 32, SamplingParams(max_tokens=8), sampler=slow)
"""


def test_a_killed_run_goes_on(store, model):
    "kill -9 in the middle of sampling: nothing but the batch in flight is lost, and the end is the same."
    here = os.environ | dict(RLVD_OUT=str(store))
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(model.folder)], env=here)
    deadline = time.time() + 120
    while len(list(store.glob("store/samples/*/*.parquet"))) < 2 and time.time() < deadline: time.sleep(.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    folder, = store.glob("store/samples/*/")
    there = len(read_parts(folder, []))
    assert 0 < there < 32 * 30
    questions = TASK.questions("test")
    resumed = respond(model, TASK, questions, 32, PARAMS)
    os.environ["RLVD_OUT"] = str(store) + "-fresh"
    assert respond(model, TASK, questions, 32, PARAMS)["completion"].tolist() == resumed["completion"].tolist()


GRADED_SLOWLY = """
import sys
import pandas as pd
from rlvd_nb.models import store
from trap_task import Slow, question
store.PIECE = 10
pairs = pd.DataFrame([("q-a", f"{i}") for i in range(400)], columns=store.PAIR)
store.verdicts(Slow(sys.argv[1], sys.argv[2] == "pool"), [question("a")], pairs)
"""


@pytest.mark.parametrize("where", ["here", "pool"])
def test_killed_grading_goes_on(store, tmp_path, monkeypatch, where):
    "kill -9 in the middle of grading: only what was in flight is graded again, and no more than a piece of it."
    log, here = tmp_path / "log", str(Path(trap_task.__file__).parent)
    monkeypatch.syspath_prepend(here)
    process = subprocess.Popen(
        [sys.executable, "-c", GRADED_SLOWLY, str(log), where],
        stderr=subprocess.DEVNULL,
        env=os.environ | dict(PYTHONPATH=os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])),
    )
    deadline = time.time() + 60
    while len(list(store.glob("store/verdicts/*/*.parquet"))) < 3 and time.time() < deadline: time.sleep(.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    folder, = store.glob("store/verdicts/*/")
    kept = set(read_parts(folder, [])["completion"])
    time.sleep(.5)  # the workers notice that their parent is gone
    before = log.read_text().split()
    pairs = pd.DataFrame([("q-a", f"{i}") for i in range(400)], columns=PAIR)
    graded = verdicts(trap_task.Slow(log, False, 0), [trap_task.question("a")], pairs)
    again = log.read_text().split()[len(before):]
    assert 30 <= len(kept) < 400 and len(again) == len(set(again)) == 400 - len(kept) and not kept & set(again)
    in_flight = 10 + 32 * (5 if where == "pool" else 1)  # a piece, and the batch (a pool's batches) under way
    assert len(set(before) - kept) <= in_flight and (graded["verdict"] == "wrong").all()
    assert graded["completion"].tolist() == pairs["completion"].tolist()


def test_what_was_graded_before_an_error_is_kept(store, tmp_path):
    class Stopped(trap_task.Slow):
        def grade(self, question, completion):
            if completion == "stop": raise KeyboardInterrupt
            return super().grade(question, completion)
    words = [*(f"{i}" for i in range(40)), "stop", "z"]
    pairs = pd.DataFrame([("q-a", word) for word in words], columns=PAIR)
    with pytest.raises(KeyboardInterrupt):
        verdicts(Stopped(tmp_path / "log", False, 0), [trap_task.question("a")], pairs)
    verdicts(trap_task.Slow(tmp_path / "log", False, 0), [trap_task.question("a")], pairs)
    assert (tmp_path / "log").read_text().split() == [*words[:40], *words[32:]]  # grading goes batch by batch, of 32


def test_addresses_of_samples(model):
    "What there was before engines and stop strings keeps its address; what they change gets another."
    old = dict(temperature=1.0, top_k=0, top_p=1.0, max_tokens=8, seed=0)
    plain = sample_key(model, PARAMS)
    assert plain == dict(model=plain["model"], params=old, code=1)
    assert sample_key(model, PARAMS, "vllm") == plain | dict(engine="vllm")
    assert sample_key(model, SamplingParams(max_tokens=8, stop=(" a",)))["params"] == old | dict(stop=(" a",))


def test_stop_strings_are_cut_off(store, model):
    word = " " + TASK.world.relations[0]
    params = [SamplingParams(max_tokens=8, stop=stop) for stop in ((), (word,))]
    whole, cut = (respond(model, TASK, TASK.questions("test"), 16, each, engine="transformers") for each in params)
    assert cut["completion"].tolist() == [text.split(word)[0] for text in whole["completion"]]
    held = whole["completion"].str.contains(word)
    assert held.any() and cut.loc[held, "finished"].all()
    assert (cut.loc[~held, "finished"] == whole.loc[~held, "finished"]).all()


def test_vllm_where_it_is_not(store, model, monkeypatch, capsys):
    "`auto` does without it and says so; asked for by name it ends in one line, once something must be sampled."
    monkeypatch.setattr("rlvd_nb.models.vllm_sampler.build", lambda: "")
    assert chosen_engine("auto") == "transformers"
    assert capsys.readouterr().out == "engine: transformers, as vLLM is not installed\n"
    message = "engine vllm: vLLM is not installed; install it .*, or take engine=transformers"
    with pytest.raises(UserError, match=message):
        respond(model, TASK, TASK.questions("test")[:2], 2, PARAMS, engine="vllm")
    with pytest.raises(UserError, match="engine must be transformers, vllm or auto, not 'vlm'"): chosen_engine("vlm")


def test_a_sample_says_what_made_it(store, model):
    row = respond(model, TASK, TASK.questions("test")[:2], 2, PARAMS).iloc[0]
    assert {
        "question_id", "sample_index", "completion", "tokens", "logprob", "finished", "verdict", "answer", "chain",
        "model", "task", "grader", "seed",
    } <= set(row.index)


def test_a_failed_make_leaves_nothing_under_the_name(store):
    def fail(folder):
        write_text(folder / "half.txt", "half")
        raise RuntimeError("stopped")
    with pytest.raises(RuntimeError): made("thing", dict(a=1), fail)
    assert not artifacts.address("thing", dict(a=1)).exists()
    go_on = lambda folder: write_text(folder / "whole.txt", (folder / "half.txt").read_text() + "way")
    whole = made("thing", dict(a=1), go_on)
    assert (whole / "whole.txt").read_text() == "halfway"  # what the first try left was there to go on from


@pytest.mark.parametrize("number", [28, 30, 13, 20])
def test_trouble_with_the_disk_is_one_line(tmp_path, monkeypatch, number):
    write_text(tmp_path / "a.txt", "old")
    def broken(*_): raise OSError(number, os.strerror(number))
    monkeypatch.setattr(artifacts.os, "fsync", broken)
    with pytest.raises(UserError, match="cannot write .*a.txt"): write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_for_real(small_disk, model, monkeypatch):
    "Sampling ends in one line, what was written stays whole, and it goes on once there is room."
    monkeypatch.setenv("RLVD_OUT", str(small_disk / "out"))
    with pytest.raises(UserError, match="no space left on device"):
        respond(model, TASK, TASK.questions("test"), 512, PARAMS)
    assert not list(small_disk.rglob("*.part"))
    (small_disk / "filler").unlink()
    assert len(respond(model, TASK, TASK.questions("test")[:3], 4, PARAMS)) == 12


def test_replacing_survives_an_interrupt(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as path:
        path.write_text("ne")
        raise KeyboardInterrupt
    assert (tmp_path / "a.txt").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
