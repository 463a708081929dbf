"""Sections as jobs: what each waits for, that nothing is made twice, and that a section finds all that it needs."""
from graphlib import TopologicalSorter
from operator import call

import pytest

from rlvd_nb.core.jobs import run_jobs
from rlvd_nb.core.workers import Place
from rlvd_nb.experiments import protocol
from rlvd_nb.experiments.made_anew import FIRST
from rlvd_nb.experiments.new_knowledge import dosed_distillation
from rlvd_nb.experiments.protocol import replicates
from rlvd_nb.experiments.run import begin_run
from rlvd_nb.experiments.sections import MAIN, NEEDS, Needed, all_jobs, main_runs, model_jobs, noting_jobs
from rlvd_nb.experiments.teaching import teaching
from rlvd_nb.paper.report import section_notebooks


def graph(numbers, profile="smoke"):
    return all_jobs({number: (begin_run(number, profile), str) for number in numbers})


def before(needs, name):
    "Every job that must be done before another one."
    return set(needs[name]).union(*(before(needs, each) for each in needs[name]))


@pytest.mark.parametrize("profile", ["smoke", "lab"])
def test_every_need_is_a_job_and_none_waits_for_itself(profile):
    jobs, needs = graph(section_notebooks(), profile)
    assert set(needs) == set(jobs) and set().union(*needs.values()) <= set(jobs)
    assert list(TopologicalSorter(needs).static_order())


def test_sections_are_first_among_what_can_be_done():
    "So that a figure is drawn as soon as its models are there."
    numbers = list(section_notebooks())
    jobs, needs = graph(numbers)
    assert list(jobs)[:len(numbers)] == numbers
    assert {number for number in numbers if needs[number]} == set(NEEDS)


def test_a_model_that_several_sections_need_is_one_job_that_the_others_wait_for():
    "Every base model of the smoke world is one; section 08's sources are sections 04 and 05's models."
    jobs, needs = graph(["03", "04", "05", "08"])
    bases = [job for job in jobs if len(job) == 3 and job[2] == "base"]
    first = [job for job in bases if not needs[job]]
    assert len(first) == 1 and all(before(needs, job) & set(first) for job in bases if job not in first)


def test_lab_sources_are_made_by_their_own_sections_first():
    jobs, needs = graph(["08"], "lab")
    of = lambda name: [job for job in jobs if job[-1] == "new knowledge" and job[0].startswith(name)]
    sources, made = of("response sets"), of("teaching")
    assert len(sources) == 3 and len(made) == 1 and all(before(needs, job) >= set(made) for job in sources)


def test_a_section_finds_what_the_jobs_made(store, monkeypatch):
    "After the jobs `replicates` makes nothing: neither a model nor a response, and no pool of processes."
    run = begin_run("07", "smoke").vary(workers=2, patterns=["step"], about=[1])
    needed = [Needed(dosed_distillation(run), range(2))]
    models, noting = model_jobs(needed), noting_jobs(needed)
    run_jobs(call, models[0] | noting[0], models[1] | noting[1], Place("processes", 2), "jobs")
    there = sorted(store.glob("store/*/*/manifest.json"))
    monkeypatch.setattr(protocol, "run_jobs", None)
    found = replicates(needed[0].experiment, 2)
    for one in found: one.answers()
    assert len(there) > 6 and sorted(store.glob("store/*/*/manifest.json")) == there


def test_replicates_of_a_world_wait_for_no_other_world():
    "Where everything is made anew, base models of two replicates are two jobs that can be done at once."
    run = begin_run("05", "smoke").vary(replicate="world")
    jobs, needs = model_jobs([Needed(teaching(run), range(2))])
    free = [job for job in jobs if not needs[job]]
    assert {job[1:] for job in free} == {(number, name) for number in (0, 1) for name in ("base", "teacher")}


def test_the_labs_world_made_anew_is_the_one_that_its_sections_look_at():
    "Section 12's base model, teacher and RLVR wait for those of sections 03 and 05, which are the same models."
    jobs, needs = graph(["03", "05", "12"], "lab")
    models = [job for job in jobs if len(job) == 3]
    anew = {job[2]: job for job in models if job[0].startswith("headline") and job[1] == FIRST}
    for name in ("base", "teacher", "RLVR"):
        others = [job for job in models if job[2] == name and not job[0].startswith("headline")]
        waiting = [job for job in others if anew[name] in before(needs, job) or job in before(needs, anew[name])]
        assert waiting, name


def test_the_ledger_reads_the_sections_own_evidence():
    "Each section keeps its own seed, unless the ledger is given one; then it holds for all."
    own = {number: begin_run(number, "lab").settings.seed for number in MAIN}
    runs = lambda **given: main_runs(begin_run("09", "lab", **given))
    read = lambda **given: {number: run.settings.seed for number, run in runs(**given).items()}
    assert read() == own and len(set(own.values())) > 1 and set(read(seed=3).values()) == {3}
