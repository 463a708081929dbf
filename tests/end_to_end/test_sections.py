"""Sections 04 to 07 from end to end: in the smoke setting, with every kind of bad input, and in the papers' setting on
real MATH-500 problems."""
import json, re
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, command

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import load_task
from rlvd_nb.experiments.protocol import replicates
from rlvd_nb.experiments.run import begin_run
from rlvd_nb.experiments.self_distillation import self_distillation
from rlvd_nb.experiments.teaching import teaching

MADE = {
    "04": (
        "accuracy length keywords draws",
        "lessons summary differences quality surface contrasts novelty beyond_null chains claims", "responses",
    ),
    "05": (
        "pass_at_k arrows exact_pass_at_k by_bin transitions",
        "lessons summary differences exact between by_bin moves hardest claims",
        "distillation",
    ),
}


def last_line(done): return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("section", sorted(MADE))
def test_figures_and_tables_are_there_with_what_made_them(report, smoke_folder, section):
    figures, tables, name = MADE[section]
    for stem, kinds in [
        *((f, {".png", ".svg"}) for f in figures.split()),
        *((t, {".csv"}) for t in tables.split()),
    ]:  # some names are both
        record = json.loads((smoke_folder / f"{name}_{stem}.json").read_text())
        files = {path.name for path in smoke_folder.glob(f"{name}_{stem}.*")}
        assert kinds <= {Path(file).suffix for file in files} and set(record["files"]) == files - {
            f"{name}_{stem}.json"
        }
        assert (
            record["section"] == section
            and record["caption"]
            and {"base", "samples"} <= set(record["inputs"]["seed 0"]) & set(record["inputs"]["seed 1"])
        )
    assert {path.stem.removeprefix(f"{name}_") for path in smoke_folder.glob(f"{name}_*.json")} == set(
        f"{figures} {tables}".split()
    )


@pytest.mark.parametrize("section", sorted(MADE))
def test_arms_are_equal_where_they_are_compared(report, smoke_folder, section):
    "Section 05's are levelled, section 04's matched ones have the same questions and numbers."
    table = pd.read_csv(smoke_folder / f"{MADE[section][2]}_lessons.csv")
    same = {"04": ["responses", "questions"], "05": ["responses", "tokens"]}[section]
    compared = table[table["arm"].str.endswith(", matched")] if section == "04" else table
    assert (
        set(compared["arm"])
        == {
            "04": {"base ← base, matched", "base ← RL, matched"},
            "05": {"reasoning only", "new knowledge", "extended"},
        }[section]
    )
    assert (compared.groupby("seed")[same].nunique() == 1).all(axis=None)


def test_the_ledger_says_what_real_models_say(report, smoke_folder):
    said = pd.read_csv(smoke_folder / "claims.csv").set_index("id")["real models"]
    assert "Qwen2.5-7B" in said["A4.1"] and "SmolLM2" in said["A4.1"] and said.filter(like="B.").isna().all()


def test_section_06_trains_in_two_processes(report, shared_store, smoke_folder):
    "Other settings have a folder of their own."
    given = "steps=3", "seeds=1", "full_set=false", "workers=2"
    places = dict(out=shared_store, TMPDIR=smoke_folder.parents[1])
    options = [part for each in given for part in ("-p", each)]
    done = command("rlvd", "section", "06", "--profile", "smoke", *options, timeout=400, **places)
    assert done.returncode == 0, done.stderr[-2000:]
    folder, = smoke_folder.parent.glob("lab-kinship-*")
    names = {path.name for path in folder.iterdir()}
    assert {
        "warmup_claims.csv", "warmup_cross_domain.png", "warmup_curves.csv", "warmup_efficiency.csv",
        "warmup_capability.csv",
    } <= names


# bad input

def teacher_file(path, questions, answer):
    path.write_text("".join(json.dumps(dict(question_id=q.id, response=answer(q))) + "\n" for q in questions))
    return path


def refusal(store, monkeypatch, section, **given):
    "The line with which a section's models are refused."
    monkeypatch.setenv("RLVD_OUT", str(store))
    with pytest.raises(UserError) as caught:
        replicates({"04": self_distillation, "05": teaching}[section](begin_run(section, profile="smoke", **given)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


BAD = [
    ("04", dict(seeds=0), "parameter seeds must be 1 or more, not 0"),
    ("05", dict(responses=0), "parameter responses must be 1 or more, not 0"),
    ("05", dict(arm_responses=-1), "parameter arm_responses must be 0 or more, not -1"),
    (
        "05",
        dict(arm_responses=100_000),
        (
            r"arms cannot be made equal: 100000 responses of common length are asked for, there are \d+; the smallest"
            r" arm is '[a-z ]+' with \d+"
        ),
    ),
    (
        "05",
        dict(teacher="/no/such/teacher"),
        (
            "model '/no/such/teacher' is (neither a local folder nor on the hub|not a local folder, and the hub cannot"
            " be reached)"
        ),
    ),
    ("05", dict(teacher="answers.csv"), "answers.csv"),
]


@pytest.mark.parametrize(
    "number, given, message", BAD,
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_bad_values_are_one_line(shared_store, monkeypatch, number, given, message):
    assert re.search(message, refusal(shared_store, monkeypatch, number, **given))


def test_bad_teacher_files_are_one_line(shared_store, monkeypatch, tmp_path):
    train = begin_run("05", profile="smoke").questions("train")
    refused = lambda path: refusal(shared_store, monkeypatch, "05", teacher=str(path))
    (tmp_path / "columns.jsonl").write_text('{"question": "x", "answer": "y"}\n')
    assert "needs the columns question_id (or question) and response; it has question, answer" in refused(
        tmp_path / "columns.jsonl"
    )
    never = teacher_file(tmp_path / "never.jsonl", train, lambda q: " ?")
    assert re.search(
        rf"the teacher {never} answers none of \d+ training questions rightly: nothing to learn from", refused(never)
    )
    able = teacher_file(tmp_path / "able.jsonl", [q for q in train if not q.info["unknown"]], lambda q: " " + q.gold)
    assert re.search(r"arms cannot be made equal: 'new knowledge' has no right response to learn from", refused(able))


def test_what_is_known_beforehand_is_refused_before_a_notebook_is_opened(shared_store):
    done = command("rlvd", "section", "05", "--profile", "smoke", "-p", "teacher=/nowhere.jsonl", out=shared_store)
    assert done.returncode == 2 and done.stderr == "rlvd: /nowhere.jsonl: no such file\n"


def test_the_command_names_the_cell_and_exits_with_1(shared_store):
    done = command("rlvd", "section", "07", "--profile", "smoke", "-p", "seeds=1", out=shared_store)
    said = r"^rlvd: section 07 failed in cell \d+ .*UserError: .*needs at least 2 seeds"
    assert done.returncode == 1 and re.search(said, last_line(done)), done.stderr[-2000:]


@pytest.mark.parametrize(
    "number, given, message",
    [
        ("04", "seeds=few", "parameter seeds must be of type int, not 'few'"),
        ("04", "teacher=lab", "section 04 has no parameter 'teacher'"),
        ("05", "lora=x", "parameter lora must be of type int"),
        ("05", "teacher={}/foo.jsonl", "needs the columns question_id (or question) and response; it has foo"),
        ("05", "teacher={}/none.jsonl", "needs the columns question_id (or question) and response; it is empty"),
    ],
)
def test_what_can_be_refused_beforehand_exits_with_2(rlvd_here, store, tmp_path, number, given, message):
    for name, text in (("foo", '{"foo": 1}\n'), ("none", "")): (tmp_path / f"{name}.jsonl").write_text(text)
    code, _, err = rlvd_here("section", number, "--profile", "smoke", "-p", given.format(tmp_path))
    assert code == 2 and message in err.splitlines()[-1] and not store.exists()


# the papers' setting

SMALL = dict(task="math500", samples=4, max_tokens=24, train_questions=12, test_questions=12, steps=2)


@pytest.fixture
def golds(data, tmp_path):
    "A teacher's file of boxed golds, and the questions."
    task = load_task("math500", path=data / "math500.jsonl", train=True)
    questions = task.questions("train")[:SMALL["train_questions"]]
    return teacher_file(tmp_path / "golds.jsonl", questions, lambda q: f"\\boxed{{{q.gold}}}"), questions


def papers(model, teacher, data, store, tmp_path, **more):
    given = [
        x for name, value in dict(model=model, teacher=teacher, **SMALL, **more).items() for x in ("-p", name, value)
    ]
    return command(
        "papermill",
        ROOT / "nbs" / "05_distillation.ipynb",
        tmp_path / "out.ipynb",
        *given,
        out=store,
        cwd=tmp_path,
        timeout=400,
        RLVD_DATA=str(data)
    )


def test_a_student_that_solves_nothing_learns_nothing_by_rlvr(tiny_qwen2, golds, data, store, monkeypatch):
    monkeypatch.setenv("RLVD_DATA", str(data))
    run = begin_run("05", model=str(tiny_qwen2), teacher=str(golds[0]), **SMALL)
    message = "^RLVR .* learned nothing: none of its 2 steps had a gradient"
    assert run.settings.profile == "paper"
    with pytest.raises(UserError, match=message): replicates(teaching(run))


def test_section_05_on_math_500(tiny_model, golds, data, store, tmp_path):
    """A student that answers half of the questions, rightly every second time, and a teacher's file with all golds.

    What it learns is learned by adapters of rank 4."""
    from rlvd_nb.models.prompts import render
    from rlvd_nb.training.distillation import SftConfig, train_sft
    teacher, questions = golds
    known = pd.DataFrame(
        [
            dict(prompt=render(q.prompt, "qwen-math"), completion=f"\\boxed{{{answer}}}")
            for q in questions[::2]
            for answer in (q.gold, "no")
        ]
    )
    student = train_sft(tiny_model, known, SftConfig(epochs=80, batch=12, warmup=5, learning_rate=1e-2))
    assert json.loads((student.folder / "history.json").read_text())[-1]["loss"] < .3
    done = papers(student.folder, teacher, data, store, tmp_path, lora=4)
    assert done.returncode == 0, done.stderr[-3000:]
    folder, = (store / "figures").iterdir()
    sizes = pd.read_csv(folder / "distillation_lessons.csv")
    assert (
        set(sizes["arm"]) == {"reasoning only", "new knowledge", "extended"}
        and sizes["responses"].nunique() == sizes["tokens"].nunique() == 1
        and sizes["responses"].min() >= 1
    )
    assert {path.stem for path in folder.glob("*.png")} == {f"distillation_{name}" for name in MADE["05"][0].split()}
    for manifest in store.glob("store/sft/*/manifest.json"):
        key = json.loads(manifest.read_text())["key"]
        assert key["count"] == len(known) or key["config"]["lora"] == 4
    assert (
        "on-policy" not in (folder / "distillation_summary.csv").read_text()
    )  # a file has no probabilities to correct the student with
