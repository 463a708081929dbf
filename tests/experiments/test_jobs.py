"""Jobs that wait for one another, side by side: order, errors, workers that die."""
import os, signal

import pytest

from rlvd_nb.core.errors import UserError
from rlvd_nb.experiments.jobs import run_jobs


def work(job):
    "A worker's work in tests: the job named `die` kills its process, a number is handed back."
    if job == "die": os.kill(os.getpid(), signal.SIGKILL)
    if job == "bad": raise UserError("a bad job")
    return job


@pytest.mark.parametrize("workers", [0, 2])
def test_results_have_the_names_of_their_jobs(workers):
    found = run_jobs(work, {"a": 1, "b": 2, "c": 3}, {"c": {"a", "b"}}, workers, "jobs")
    assert found == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_job_is_the_error(workers):
    with pytest.raises(UserError, match="^a bad job$"): run_jobs(work, {"a": 1, "b": "bad"}, {}, workers, "jobs")


def test_a_worker_that_is_killed_is_no_result():
    with pytest.raises(Exception) as caught: run_jobs(work, {"a": 1, "b": "die", "c": 3}, {"c": {"b"}}, 2, "jobs")
    assert not isinstance(caught.value, UserError)


def test_workers_are_counted():
    with pytest.raises(UserError, match="^workers must be 0"): run_jobs(work, {"a": 1}, {}, -1, "jobs")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_was_given_first_is_finished_first(workers):
    "Chains of jobs, all of which could begin at once: one after the other, not a step of each."
    chains = {(number, step): step for number in range(3) for step in range(3)}
    found = run_jobs(work, chains, {(n, i): {(n, i - 1)} for n, i in chains if i}, workers, "jobs")
    assert list(found) == list(chains)
