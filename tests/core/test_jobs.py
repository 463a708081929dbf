"""Jobs that wait for one another, side by side: order, parts, errors, workers that die."""
import os, signal, subprocess, sys, time

import psutil, pytest

from rlvd_nb.core.errors import UserError
from rlvd_nb.core.jobs import BELIEVED, Progress, parts_at, run_jobs, showing
from rlvd_nb.core.workers import Place

HERE, TWO = Place(), Place("processes", 2)


def work(job):
    "A worker's work in tests: the job named `die` kills its process, a number is handed back."
    if job == "die": os.kill(os.getpid(), signal.SIGKILL)
    if job == "bad": raise UserError("a bad job")
    return job


def counting():
    "Makes what gives the parts of a job: a job of 2 has the parts 0 and 1."
    return range


@pytest.mark.parametrize("place", [HERE, TWO])
def test_results_have_the_names_of_their_jobs(place):
    found = run_jobs(work, {"a": 1, "b": 2, "c": 3}, {"c": {"a", "b"}}, place, "jobs")
    assert found == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("place", [HERE, TWO])
def test_parts_come_before_the_end_of_their_job_and_needs_before_jobs(place):
    jobs = {"none": 0, "two": 2, "three": 3}
    came = list(parts_at(place, counting, jobs, jobs.get, {"two": {"three"}, "three": {"none"}}))
    assert came == [(name, *part) for name in ("none", "three", "two")
                    for part in [*((True, i) for i in range(jobs[name])), (False, None)]]


@pytest.mark.parametrize("place", [HERE, TWO])
def test_an_error_of_a_job_is_the_error(place):
    with pytest.raises(UserError, match="^a bad job$"): run_jobs(work, {"a": 1, "b": "bad"}, {}, place, "jobs")


def test_a_worker_that_is_killed_is_no_result():
    with pytest.raises(Exception) as caught: run_jobs(work, {"a": 1, "b": "die", "c": 3}, {"c": {"b"}}, TWO, "jobs")
    assert not isinstance(caught.value, UserError)


ASLEEP = """
import sys, time
from pathlib import Path
from rlvd_nb.core.jobs import run_jobs
from rlvd_nb.core.workers import Place
def sleep(name):
    Path(__file__).with_name(name).touch()
    time.sleep(600)
if __name__ == "__main__": run_jobs(sleep, {"a": "a", "b": "b"}, {}, Place("processes", 2), "jobs")
"""

@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_whoever_started_them_however_that_ends(how, tmp_path):
    "In the middle of a job of ten minutes."
    (tmp_path / "asleep.py").write_text(ASLEEP)
    starter = psutil.Process(subprocess.Popen([sys.executable, tmp_path / "asleep.py"]).pid)
    until = time.monotonic() + 60
    while not all((tmp_path / name).exists() for name in "ab") and time.monotonic() < until: time.sleep(.1)
    workers = [each for each in starter.children() if "spawn_main" in " ".join(each.cmdline())]
    assert len(workers) == 2
    starter.send_signal(how)
    starter.wait(10)
    assert not psutil.wait_procs(workers, timeout=10)[1]


@pytest.mark.parametrize("place", [HERE, Place("processes", 1)])
def test_what_was_given_first_is_finished_first(place):
    "Chains of jobs, all of which could begin at once: one after the other, not a step of each."
    chains = {(number, step): step for number in range(3) for step in range(3)}
    found = run_jobs(work, chains, {(n, i): {(n, i - 1)} for n, i in chains if i}, place, "jobs")
    assert list(found) == list(chains)


def test_the_bar_counts_by_seconds_and_its_clock_goes_on(capsys):
    "A job of nine tenths of the time: nine tenths of the bar. What is said of a result stands on a line of its own."
    found = run_jobs(work, {"long": 1, "short": 2}, {"short": {"long"}}, HERE, "jobs", {"long": 9, "short": 1}.get,
                     lambda name, result: f"{name} gave {result}")
    said = capsys.readouterr().err
    assert found == {"long": 1, "short": 2} and " 90%|" in said and "100%|" in said and "2/2 jobs" in said
    assert "long gave 1" in said.splitlines()
    with showing(Progress(dict(a=1, b=1)), "slow", True, seconds=.01): time.sleep(.2)
    assert capsys.readouterr().err.count("0/2 jobs") > 2


def simulated(expected: dict, took: dict, minutes: float) -> float:
    "Seconds foretold in all when two processors have worked so long, each job begun when a processor is free."
    progress, now = Progress(expected, BELIEVED), minutes * 60
    free = [0., 0.]
    for name, seconds in took.items():
        begun = min(free)
        free[free.index(begun)] = begun + seconds
        if begun > now: continue
        progress.begun[name] = time.monotonic() - (now - begun)
        if begun + seconds > now: continue
        progress.begun[name] = time.monotonic() - seconds
        progress.end(name)
    return now + (progress.all - progress.so_far()) * now / progress.so_far()


@pytest.mark.parametrize("faster, minutes", [(2, 5), (2, 20), (1, 5), (1, 30), (.5, 15), (.5, 60)])
def test_the_time_is_foretold_to_a_third_on_faster_and_slower_machines(faster, minutes):
    """Jobs like the lab's: a few long ones first, many short ones after.

    On a slow machine from the end of the first jobs on, as nothing is known of its speed before."""
    expected = {("long", n): 300 for n in range(12)} | {("short", n): 20 for n in range(300)}
    took = {name: seconds / faster * (1.3 if name[0] == "long" else .9) for name, seconds in expected.items()}
    assert simulated(expected, took, minutes) == pytest.approx(sum(took.values()) / 2, rel=1 / 3)
