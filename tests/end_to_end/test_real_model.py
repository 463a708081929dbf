"""The seams fit real models: section 03 from end to end on real MATH-500 problems with a checkpoint as users have
it, and every way to train one."""
import json, shutil, warnings

import nbformat
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, command

import rlvd_nb.training.trainers as trainers
from rlvd_nb.core.errors import UserError
from rlvd_nb.core.workers import Place
from rlvd_nb.experiments.measurements import measured
from rlvd_nb.experiments.pretrained import against_guessing, counts_of, pretrained
from rlvd_nb.experiments.protocol import RLVR, replicates
from rlvd_nb.experiments.reinforcement import reinforcement
from rlvd_nb.experiments.run import begin_run
from rlvd_nb.tasks.base import RIGHT, WRONG, Grade, Question, load_task
from rlvd_nb.models.checkpoints import Model, load_network, save
from rlvd_nb.models.prompts import render
from rlvd_nb.training.distillation import (
    OnPolicyConfig, SftConfig, train_on_policy, on_policy_trainer, train_sft, sft_fields, sft_trainer,
)
from rlvd_nb.training.rlvr import GrpoConfig, train_grpo, grpo_fields, grpo_trainer
from rlvd_nb.training.trainers import TrainConfig, memory_errors, shared_fields

SMALL = dict(
    task="math500", samples=4, max_tokens=40, test_questions=12, train_questions=6, steps=2, step_questions=2, group=10
)


@pytest.fixture(scope="module")
def learner(tiny_model, data, tmp_path_factory):
    "The checkpoint after a look at the answers: it solves some training problems now and then, so RLVR can learn."
    questions = load_task("math500", path=data / "math500.jsonl", train=True).questions("train")[:6]
    golds = [dict(prompt=render(q.prompt, "qwen-math"), completion=f" \\boxed{{{q.gold}}}") for q in questions]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLVD_OUT", str(tmp_path_factory.mktemp("learner")))
        config = SftConfig(epochs=45, batch=6, warmup=5, learning_rate=1e-2)
        return train_sft(tiny_model, pd.DataFrame(golds), config)


def run(model, data, store, tmp_path, **more):
    given = [x for name, value in dict(model=model.folder, **SMALL | more).items() for x in ("-p", name, value)]
    notebook = ROOT / "nbs" / "03_rlvr.ipynb"
    return command(
        "papermill", notebook, tmp_path / "out.ipynb", *given, out=store, cwd=tmp_path, RLVD_DATA=str(data), timeout=600
    )


def test_section_03_on_math_500(learner, data, store, tmp_path):
    done = run(learner, data, store, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    folder, = (store / "figures").iterdir()
    assert folder.name.startswith("paper-") and "-math500-" in folder.name
    figures = {path.stem for path in folder.glob("*.png")}
    assert {
        "rlvr_training", "rlvr_pass_at_k", "rlvr_change_by_bin", "rlvr_change_by_fine_bin", "rlvr_transitions",
        "rlvr_transitions_fine", "rlvr_entropy", "rlvr_claims", "rlvr_exact_pass_at_k",
    } == figures
    summary = pd.read_csv(folder / "rlvr_summary.csv")
    assert {"accuracy", "maj@4", "pass@4"} == set(summary["measure"])
    record = json.loads((folder / "rlvr_summary.json").read_text())
    assert "sha256" in json.dumps(record["inputs"]["task"]) or "checksum" in json.dumps(record["inputs"]["task"])
    assert len(list(store.glob("store/samples/*/*.parquet"))) > 0
    notebook = nbformat.read(tmp_path / "out.ipynb", 4)
    assert "injected-parameters" in [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]


PEOPLE, THINGS = "Ann Ben Cleo Dan Eve Finn Gus Hal".split(), "apples pens books coins".split()


@pytest.fixture
def problems(tmp_path):
    "A folder with one-step problems of our own, as MAWPS writes them."
    rows = [
        dict(input=f"{name} has {a} {thing} and gets 4 more. How many {thing} does {name} have now?", target=a + 4)
        for a, name in enumerate(PEOPLE, 3) for thing in THINGS
    ]
    (tmp_path / "mawps_singleop.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return tmp_path


def test_section_03_of_a_pretrained_model(problems, store):
    "SmolLM2, out of the package index: sampled, trained by RLVR, sampled again and compared."
    few = dict(seeds=1, steps=2, step_questions=2, samples=4, train_questions=6, test_questions=6, max_tokens=24)
    given = [x for name, value in few.items() for x in ("-p", f"{name}={value}")]
    done = command("rlvd", "section", "03", "--profile", "smollm2", *given, out=store, RLVD_DATA=problems, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    page, = store.glob("runs/smollm2-03-*/index.html")
    assert "Figure 3.1" in page.read_text()
    history, = store.glob("store/grpo/*/history.json")
    assert list(pd.read_json(history)["step"]) == [1, 2]
    folder, = store.glob("figures/smollm2-*")
    assert {"rlvr_training", "rlvr_pass_at_k", "rlvr_transitions"} <= {path.stem for path in folder.glob("*.png")}
    summary = pd.read_csv(folder / "rlvr_summary.csv")
    assert {"accuracy", "maj@4", "pass@4"} == set(summary["measure"]) and set(summary["questions"]) == {6}


def test_evidence_of_a_pretrained_model(learner, data, store, tmp_path, monkeypatch):
    "Drawn twice, trained, and taught its own right responses; shares of what was sampled are counts again."
    monkeypatch.setenv("RLVD_DATA", str(data))
    sft = dict(epochs=1, batch=2, learning_rate=1e-3, warmup=0, checkpoint=500, trl={})
    run = begin_run("04", model=str(learner.folder), **SMALL | dict(warmup=0, learning_rate=1e-3, sft=sft))
    found, = measured(pretrained(run), [0], tmp_path, Place())
    models = found.models.set_index("arm")["fingerprint"]
    assert list(models.index) == ["base", "base, second draw", "RLVR", "base ← base"]
    assert models["base"] == models["base, second draw"] and models.nunique() == 3
    for arm in models.index:
        counts = counts_of(found, arm)
        assert set(counts) <= set(range(SMALL["samples"] + 1))
        assert (counts / SMALL["samples"] == found.of(arm, "right")).all()
    row = against_guessing(found, RLVR).iloc[0]
    assert row["solved"] == pytest.approx(100 * (counts_of(found, RLVR) > 0).mean())
    assert 0 <= row["guessed"] <= 100 and row["more"] == pytest.approx(row["solved"] - row["guessed"])


def refusal(model, data, monkeypatch, **more):
    "What the section's cell stops with."
    monkeypatch.setenv("RLVD_DATA", str(data))
    section = begin_run("03", model=str(model.folder), **SMALL | more)
    assert section.settings.profile == "paper"
    with pytest.raises(UserError) as error: replicates(reinforcement(section))
    return str(error.value)


def test_rlvr_on_problems_that_are_never_solved_is_said(tiny_model, data, store, monkeypatch):
    "A model before any training solves nothing, so nothing is learned, and no model is called trained."
    said = refusal(tiny_model, data, monkeypatch)
    assert said.startswith("RLVR (grpo) learned nothing: none of its 2 steps had a gradient")
    assert not [path for path in store.glob("store/grpo/*") if not path.suffix]


def test_a_response_that_does_not_fit_the_model(tiny_model, data, store, monkeypatch):
    assert "do not fit the model's 4096" in refusal(tiny_model, data, monkeypatch, max_tokens=4096)


QUESTIONS = [
    Question(id=f"q{i}", prompt=f"Compute ${i} + 1$. Let us reason", gold="x", split="train") for i in range(4)
]
LESSON = pd.DataFrame(
    dict(prompt=[q.prompt for q in QUESTIONS], completion=[f" The answer is {i + 1}." for i in range(4)])
)
REINFORCE = GrpoConfig(steps=3, questions=2, group=4, max_tokens=8, warmup=0, checkpoint=1, learning_rate=1e-2)
IMITATE = SftConfig(epochs=3, batch=4, warmup=0, learning_rate=1e-2)
PULL = OnPolicyConfig(steps=3, batch=4, max_tokens=8, warmup=0, learning_rate=1e-2)
GPU = dict(bf16=True, activation_checkpointing=True)  # what a GPU gets, which the CPU can do too, slowly


class Vowels:
    "Right is a response with many vowels: a reward that differs within most groups."
    name, version, untrusted, max_tokens = "vowels", "1", False, 8
    failing = None  # number of judgements after which it dies

    def source(self): return {"task": self.name}

    def grade(self, question, completion):
        if self.failing is not None:
            if not self.failing: raise KeyboardInterrupt
            self.failing -= 1
        return Grade(RIGHT if sum(c in "aeiou" for c in completion) > 3 else WRONG)


TRAININGS = {
    "grpo": lambda model, **more: train_grpo(model, Vowels(), QUESTIONS, REINFORCE.model_copy(update=more)),
    "sft": lambda model, **more: train_sft(model, LESSON, IMITATE.model_copy(update=more)),
    "on_policy": lambda model, **more: train_on_policy(model, other(model), QUESTIONS, PULL.model_copy(update=more)),
}


def other(model):
    "A teacher: the model with other weights."
    folder = model.folder.with_name("teacher")
    if not folder.exists():
        teacher, tokenizer = model.load("cpu")
        for parameter in teacher.parameters(): parameter.data *= 1.5
        save(teacher, tokenizer, folder)
    return Model.at(folder)


def weights(model): return dict(model.load("cpu")[0].named_parameters())


@pytest.mark.parametrize("kind", TRAININGS)
def test_adapters_are_merged_into_a_plain_model(tiny_model, store, kind):
    trained = TRAININGS[kind](tiny_model, lora=4)
    before, after = weights(tiny_model), weights(trained)
    assert before.keys() == after.keys()
    assert not list(trained.folder.glob("adapter*")) and not list(trained.folder.glob("checkpoint-*"))
    assert all(not torch.equal(before[name], after[name]) for name in before if "_proj.weight" in name)
    assert all(torch.equal(before[name], after[name]) for name in before if "_proj.weight" not in name)
    assert len(pd.read_json(trained.folder / "history.json")) == 3


def test_a_run_with_adapters_goes_on_after_a_kill(tiny_model, store, monkeypatch):
    "What is left are adapters alone, and the end is that of a run which was not stopped."
    with monkeypatch.context() as patch:
        patch.setattr(Vowels, "failing", 20)  # in the third step of eight judgements
        with pytest.raises(KeyboardInterrupt): TRAININGS["grpo"](tiny_model, lora=4)
    left, = store.glob("store/grpo/*.work/checkpoint-*")
    assert left.name == "checkpoint-2" and (left / "adapter_model.safetensors").is_file()
    assert not (left / "model.safetensors").exists()
    resumed = TRAININGS["grpo"](tiny_model, lora=4)
    monkeypatch.setenv("RLVD_OUT", str(store) + "-fresh")
    a, b = weights(resumed), weights(TRAININGS["grpo"](tiny_model, lora=4))
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
    assert list(pd.read_json(resumed.folder / "history.json")["step"]) == [1, 2, 3]


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_taken_only_where_it_is_not_imitated(store, monkeypatch, capsys, native):
    monkeypatch.setattr(trainers, "multiplies_bfloat16", lambda: native)
    fields = sft_fields(IMITATE.model_copy(update=dict(trl=dict(bf16=True))), store)
    assert fields.bf16 == native
    assert ("only imitates: the training is in float32" in capsys.readouterr().out) == (not native)


@pytest.mark.parametrize("kind", TRAININGS)
def test_trainings_as_on_a_gpu(tiny_model, store, monkeypatch, kind):
    "bfloat16 and activations made anew, with adapters in one of them: weights stay float32, so small steps count."
    monkeypatch.setattr(trainers, "multiplies_bfloat16", lambda: True)  # imitated, where it must be
    trained = TRAININGS[kind](tiny_model, trl=GPU, learning_rate=1e-6, lora=4 * (kind == "sft"))
    before, after = weights(tiny_model), weights(trained)
    assert all(value.dtype == torch.float32 for value in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_gpu_gets_bfloat16_and_checkpointing(tiny_model, tmp_path, monkeypatch):
    assert {shared_fields(TrainConfig(), tmp_path)[name] for name in GPU} == {False}
    monkeypatch.setattr(trainers, "best_device", lambda: "cuda")
    fields = shared_fields(TrainConfig(), tmp_path)
    assert fields | GPU == fields and fields["use_cpu"] is False
    kinds = [load_network(tiny_model.folder, "meta", exact).dtype for exact in (False, True)]
    assert kinds == [torch.bfloat16, torch.float32]


def test_a_first_run_warns_of_nothing(tiny_model, store):
    "Names that transformers has given up are not used, also where the user's settings do."
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", UserWarning)
        for kind, train in TRAININGS.items():
            train(tiny_model, trl=dict(gradient_checkpointing=True) if kind == "sft" else {})


def test_the_papers_settings_are_trls(tmp_path):
    "Every value of paper.yaml lands in TRL's configuration, and none is lost."
    sections = yaml.safe_load((ROOT / "nbs/profiles/paper.yaml").read_text())["sections"]
    s = sections["03"]
    made = grpo_fields(
        GrpoConfig(
            steps=s["steps"], questions=s["step_questions"], group=s["group"], learning_rate=s["learning_rate"],
            warmup=s["warmup"], temperature=s["rollout_temperature"], checkpoint=s["checkpoint"],
            max_tokens=sections["all"]["max_tokens"], trl=s["trl"],
        ),
        tmp_path,
    )
    assert {name: getattr(made, name) for name in s["trl"]} == s["trl"]
    assert made.generation_batch_size == s["step_questions"] * s["group"]
    assert (made.max_steps, made.num_generations, made.gradient_accumulation_steps) == (-1, 10, 5)
    assert (made.temperature, made.learning_rate, made.warmup_steps) == (.9, 1e-6, 25)
    assert made.lr_scheduler_type == "constant_with_warmup"
    sft = sections["04"]["sft"]
    made = sft_fields(SftConfig(**sft), tmp_path)
    assert {name: getattr(made, name) for name in sft["trl"]} == sft["trl"]
    assert (made.num_train_epochs, made.per_device_train_batch_size, made.warmup_steps) == (5, 1, 25)
    assert made.learning_rate == 1e-6


@pytest.mark.parametrize("vllm", [False, True])
def test_rollouts_are_ours_unless_vllm_makes_them(tiny_model, tmp_path, monkeypatch, vllm):
    import trl
    class Trainer:
        def __init__(self, **given): self.given = given
    monkeypatch.setattr(trl, "GRPOTrainer", Trainer)
    config = REINFORCE.model_copy(update=dict(trl=dict(use_vllm=vllm)))
    given = grpo_trainer(tiny_model, Vowels(), QUESTIONS, config, tmp_path).given
    assert (given["rollout_func"] is None) == vllm == given["args"].use_vllm


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_a_training_that_does_not_fit_into_memory(error):
    message = "^the training does not fit into memory; in trl lower per_device_train_batch_size [^\n]*$"
    with pytest.raises(UserError, match=message), memory_errors(): raise error
    with pytest.raises(RuntimeError, match="^a bug$"), memory_errors(): raise RuntimeError("a bug")


def trainers_of(model, work, long=1):
    "The three trainers of a model, unbuilt; prompts of so many times the length."
    questions = [Question(id=q.id, prompt=q.prompt * long, gold=q.gold, split=q.split) for q in QUESTIONS]
    return {
        "grpo": lambda: grpo_trainer(model, Vowels(), questions, REINFORCE, work),
        "on_policy": lambda: on_policy_trainer(model, model, questions, PULL, work),
        "sft": lambda: sft_trainer(model, LESSON.assign(prompt=[q.prompt for q in questions]), IMITATE, work),
    }


@pytest.mark.parametrize("kind", TRAININGS)
def test_what_cannot_be_trained_is_said_before_the_first_step(tiny_model, tmp_path, kind):
    "A prompt beyond the context, a checkpoint without a tokenizer, a tokenizer without an end of text: one line each."
    message = "^a prompt (and response )?of \\d+ tokens .*do(es)? not fit the (model|student)'s 4096[^\n]*"
    with pytest.raises(UserError, match=message): trainers_of(tiny_model, tmp_path, long=1000)[kind]()
    broken = shutil.copytree(tiny_model.folder, tmp_path / "broken")
    settings = json.loads((broken / "tokenizer_config.json").read_text())
    (broken / "tokenizer_config.json").write_text(json.dumps(settings | dict(eos_token=None)))
    with pytest.raises(UserError, match="has no end-of-text token, so no response would ever end$"):
        trainers_of(Model.at(broken), tmp_path)[kind]()
    for name in ("tokenizer.json", "vocab.json"): (broken / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match="broken has no tokenizer; save one there"):
        trainers_of(Model.at(broken), tmp_path)[kind]()
