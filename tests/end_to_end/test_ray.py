"""A real Ray cluster of several nodes: the same results as here, whoever dies; one line for what cannot be.

Starting it and joining it take longest, so that is done once."""
import os, signal, subprocess, sys, tempfile, threading, time
from pathlib import Path

import pandas as pd
import pytest

import ray_jobs
from conftest import ROOT
from ray_jobs import work

from rlvd_nb.core import cluster as module
from rlvd_nb.core.cluster import check_nodes, cluster
from rlvd_nb.core.errors import UserError
from rlvd_nb.core.workers import Place
from rlvd_nb.core.jobs import run_jobs
from rlvd_nb.experiments.measurements import measured
from rlvd_nb.experiments.protocol import Arm, Ask, Experiment, make_base
from rlvd_nb.experiments.run import begin_run
from rlvd_nb.models import shards
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.sampling import Request, SamplingParams
from rlvd_nb.models.shards import ShardedSampler, engine_there
from rlvd_nb.models.store import fill, read_parts, respond
from rlvd_nb.tasks.grading import grade_pairs
from rlvd_nb.tasks.kinship import task as kinship

ray = pytest.importorskip("ray")
TASK, PARAMS = kinship(entities=40, train_questions=30, test_questions=30), SamplingParams(max_tokens=8)


@pytest.fixture(scope="module")
def place(ray_nodes):
    "The cluster, joined."
    with cluster(ray_nodes.address): yield Place("ray", address=ray_nodes.address)


def soon(what, seconds: float = 60):
    "Wait until `what()` is true."
    deadline = time.time() + seconds
    while not (found := what()):
        assert time.time() < deadline, "it never came"
        time.sleep(.05)
    return found


def gone(pid: int) -> bool:
    "Whether a process has ended."
    return not Path(f"/proc/{pid}").exists()


def test_results_have_the_names_of_their_jobs_and_a_killed_worker_is_replaced(place, tmp_path):
    jobs = {name: ("be", name.upper()) for name in "abc"} | {"d": ("die once", str(tmp_path / "died"))}
    found = run_jobs(work, jobs, {"c": {"a", "d"}, "a": {"b"}}, place, "jobs")
    assert found == {"a": "A", "b": "B", "c": "C", "d": str(tmp_path / "died")} and (tmp_path / "died").exists()


def test_what_a_job_raises_is_not_tried_again(place, monkeypatch):
    monkeypatch.setattr(module, "DEATHS", 2)
    with pytest.raises(UserError, match="^a bad job$"): run_jobs(work, {"a": ("bad", "")}, {}, place, "jobs")
    with pytest.raises(ZeroDivisionError): run_jobs(work, {"a": ("bug", "")}, {}, place, "jobs")
    with pytest.raises(UserError, match="^2 workers died one after the other at a .*") as caught:
        run_jobs(work, {"a": ("die", "")}, {}, place, "jobs")
    assert "\n" not in str(caught.value)


def test_a_node_that_goes_away(ray_nodes, place, tmp_path):
    "Its job is done by another node; the other job is not disturbed."
    for name in "abc": (tmp_path / name).mkdir()
    here = lambda: [int(path.stem) for path in tmp_path.glob("?/*.here")]
    def unplug():
        soon(lambda: len(here()) == 3)
        ray_nodes.remove(extra)
        soon(lambda: any(map(gone, here())))
        for name in "abc": (tmp_path / name / "go").touch()
    with ray_nodes.one_more() as extra:
        thread = threading.Thread(target=unplug)
        thread.start()
        jobs = {name: ("wait for", str(tmp_path / name)) for name in "abc"}
        assert run_jobs(work, jobs, {}, place, "jobs") == {name: given for name, (_, given) in jobs.items()}
        thread.join()
    assert len(here()) == 4


def test_what_a_cluster_cannot_give(ray_nodes, place, tmp_path, monkeypatch):
    "More workers than it has room for; a node without the package; a module that workers do not have."
    soon(lambda: ray.cluster_resources().get("CPU") == 2)  # the node of the test before has gone
    with pytest.raises(UserError, match="^the cluster has 2 processors, too few for --workers 3; take at most 2"):
        run_jobs(work, {name: ("be", 0) for name in "abc"}, {}, Place("ray", 3), "jobs")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['rlvd_nb'] = None  # as if it were not there\n")
    with ray_nodes.one_more(PYTHONPATH=str(tmp_path)):
        with pytest.raises(UserError, match="^node .* has no rlvd_nb, or one from before clusters"): check_nodes()
    with monkeypatch.context() as older:
        older.setattr(module, "versions", lambda: dict(rlvd_nb="0.1.0 (code 12345678)"))
        with pytest.raises(UserError, match="^node .* has rlvd_nb 0.2.0 .*, and 0.1.0 .* is here;"): check_nodes()
    (tmp_path / "only_here.py").write_text("def work(job): return job\n")
    monkeypatch.syspath_prepend(tmp_path)
    from only_here import work as unknown
    with pytest.raises(UserError, match="^a worker cannot read its job: No module named 'only_here'; modules of"):
        run_jobs(unknown, {"a": 1}, {}, place, "jobs")


def small():
    "A base model, asked at two temperatures, and two arms that are made from it."
    run, brief = begin_run("03", "smoke"), dict(steps=20, texts=400, checkpoint=20)
    run = run.vary(replicate="world", samples=4, test_questions=2, pretrain=run.settings.pretrain | brief)
    made_from = lambda name, by: Arm(ray_jobs.scaled, start=name, given=(by,))
    arms = {"base": Arm(make_base, start=""), "half": made_from("base", .5), "quarter": made_from("half", .5)}
    return Experiment("small", run, arms, (Ask("base"), Ask("quarter"), Ask("base", temperature=.5), Ask("half")))


def test_evidence_is_that_of_one_process(ray_nodes, place, store, tmp_path, monkeypatch):
    """Arms of two replicates on two nodes, a worker killed when the first part has come; a second run writes nothing.

    Models go from worker to worker through the store of who asks. What is lost from the files is measured again, and
    no model is made again for it."""
    files = {where: [tmp_path / where / f"{number}.npz" for number in (3, 4)] for where in ("ray", "here")}
    def kill():
        soon(lambda: any(file.exists() for file in files["ray"]), 120)
        os.kill(ray_nodes.workers()[0], signal.SIGKILL)
    thread = threading.Thread(target=kill)
    thread.start()
    there = measured(small(), [3, 4], tmp_path / "ray", place)
    thread.join()
    whole, made = [file.read_bytes() for file in files["ray"]], models_in(store)
    assert len(made) == 6 and not list(Path(tempfile.gettempdir()).glob(f"rlvd-store-{os.getuid()}-*"))
    assert measured(small(), [3, 4], tmp_path / "ray", place)[0].models.equals(there[0].models)
    assert [file.read_bytes() for file in files["ray"]] == whole and models_in(store) == made
    files["ray"][0].unlink()
    measured(small(), [3, 4], tmp_path / "ray", place)
    assert [file.read_bytes() for file in files["ray"]] == whole and models_in(store) == made
    monkeypatch.setenv("RLVD_OUT", str(store) + "-here")
    measured(small(), [3, 4], tmp_path / "here")
    assert [file.read_bytes() for file in files["here"]] == whole


def models_in(store: Path) -> dict[Path, int]:
    "The models of a store, and when they were written."
    return {path: path.stat().st_mtime_ns for path in store.rglob("*.safetensors")}


FILL = """
import sys
from pathlib import Path
import ray_jobs
from rlvd_nb.core.workers import Place
from rlvd_nb.models import shards
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.sampling import SamplingParams
from rlvd_nb.models.store import fill
shards.engine_at = ray_jobs.drawing_slowly
many = shards.ShardedSampler(Model(Path(), ""), "", "", Place("ray", address=sys.argv[2]), 16)
fill(Path(sys.argv[1]), ray_jobs.PROMPTS, 64, SamplingParams(), lambda: many)
"""


def test_a_killed_driver_goes_on(place, tmp_path, monkeypatch):
    "kill -9 of who asked: another goes on, and nothing is drawn twice."
    process = subprocess.Popen(
        [sys.executable, "-c", FILL, str(tmp_path), place.address],
        env=os.environ | dict(PYTHONPATH=os.pathsep.join([str(Path(ray_jobs.__file__).parent), str(ROOT)])),
    )
    soon(lambda: len(list(tmp_path.glob("*.parquet"))) > 2 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and 0 < len(read_parts(tmp_path, [])) < 64 * 20
    monkeypatch.setattr(shards, "engine_at", ray_jobs.drawing)
    many = ShardedSampler(Model(Path(), ""), str(tmp_path / "no death"), "", place, 100)
    (tmp_path / "no death").touch()
    fill(tmp_path, ray_jobs.PROMPTS, 64, PARAMS, lambda: many)
    rows = read_parts(tmp_path, []).sort_values(["prompt", "sample_index"], ignore_index=True)
    assert rows.equals(pd.concat([ray_jobs.made_up(prompt, 0, 64) for prompt in ray_jobs.PROMPTS], ignore_index=True))


def test_a_worker_that_dies_in_a_shard(place, tiny_model, tmp_path, monkeypatch):
    "What it has sent is not drawn again, and the rest is."
    monkeypatch.setattr(shards, "engine_at", ray_jobs.drawing)
    requests = [Request(prompt, 0, 8) for prompt in ("a", "b", "c", "d")]
    rows = pd.concat(ShardedSampler(tiny_model, str(tmp_path / "died"), "", place, 32).rows(requests, PARAMS))
    assert (tmp_path / "died").exists()
    assert sorted(zip(rows["prompt"], rows["sample_index"])) == [(r.prompt, i) for r in requests for i in range(8)]


def test_a_full_disk(place, tmp_path, small_disk, monkeypatch):
    "One line, what was written stays whole, and the cluster is free again."
    monkeypatch.setattr(shards, "engine_at", ray_jobs.drawing)
    (tmp_path / "no death").touch()
    many = ShardedSampler(Model(Path(), ""), str(tmp_path / "no death"), "", place, 64)
    with pytest.raises(UserError, match="no space left on device"):
        fill(small_disk, ray_jobs.PROMPTS, 64, PARAMS, lambda: many)
    assert not list(small_disk.rglob("*.part"))
    soon(lambda: ray.available_resources().get("CPU") == 2)


def test_responses_are_those_of_one_engine(place, store, tiny_model, monkeypatch):
    "A real model, two engines, shards of another size than the batches of one."
    assert engine_there("auto", place) == "transformers"
    many = lambda model: ShardedSampler(model, str(model.folder), "transformers", place, 50)
    drawn = respond(tiny_model, TASK, TASK.questions("test"), 8, PARAMS, engine="transformers", sampler=many)
    monkeypatch.setenv("RLVD_OUT", str(store) + "-here")
    alone = respond(tiny_model, TASK, TASK.questions("test"), 8, PARAMS, engine="transformers")
    assert drawn.drop(columns="logprob").equals(alone.drop(columns="logprob"))


def test_models_that_workers_do_not_have(place, store, tiny_model, tmp_path):
    many = lambda model: ShardedSampler(model, str(tmp_path / "nowhere"), "transformers", place)
    with pytest.raises(UserError, match="^worker on .*: model .*nowhere.* is neither a local folder nor on the hub"):
        respond(tiny_model, TASK, TASK.questions("test"), 2, PARAMS, engine="transformers", sampler=many)


def test_grades_are_those_of_this_machine(place):
    "An untrusted grader on a cluster: bounded processes there too, and the traps do no harm."
    from trap_task import Trap, question
    asked = [(question("a"), text) for text in ("a", "b", "raise", "kill", "a", "c")]
    assert grade_pairs(Trap(), asked, place=place) == grade_pairs(Trap(), asked)
