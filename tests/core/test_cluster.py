"""What is refused before a cluster is asked for anything, each in one line of the command line."""
import socket, time

import pytest

from rlvd_nb.core import cluster as module
from rlvd_nb.core.cluster import check_versions, cluster, room, versions
from rlvd_nb.core.errors import UserError
from rlvd_nb.core.workers import Place


def refused(rlvd_here, *arguments) -> str:
    "What the command complains of, in its one line."
    not_there = "--replicates", "99"  # so that there is something to do
    code, _, complaint = rlvd_here("evidence", "record", *not_there, *arguments)
    line, = complaint.strip().splitlines()
    assert code == 2
    return line


def test_places_that_are_none(rlvd_here):
    assert "--on must be here, processes, ray, not 'cloud'" in refused(rlvd_here, "--on", "cloud")
    assert "give --on ray with it" in refused(rlvd_here, "--address", "10.0.0.1:6379")
    assert "--on here is one process" in refused(rlvd_here, "--on", "here", "--workers", "2")
    assert "--address must be HOST:PORT" in refused(rlvd_here, "--on", "ray", "--address", "somewhere")


@pytest.mark.parametrize("command", [["sample", "--model", "m", "--task", "gsm8k"], ["grade", "f.jsonl"]])
def test_every_command_refuses_them(rlvd_here, command, tmp_path):
    code, _, complaint = rlvd_here(*command, "-o", tmp_path / "out.jsonl", "--on", "cloud")
    assert code == 2 and "--on must be" in complaint


@pytest.mark.parametrize("answers", [True, False], ids=["silent", "closed"])
def test_an_address_that_does_not_answer(rlvd_here, answers):
    "A port at which somebody listens and never speaks, and one at which nobody does."
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if answers: listening.listen()
        address, start = "{}:{}".format(*listening.getsockname()), time.monotonic()
        line = refused(rlvd_here, "--on", "ray", "--address", address)
        assert f"no Ray cluster answers at {address} within" in line and time.monotonic() - start < 10


def test_the_address_may_come_from_the_environment(rlvd_here, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert "no Ray cluster answers at 127.0.0.1:9" in refused(rlvd_here, "--on", "ray")


def test_without_ray(rlvd_here, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert 'pip install ".[ray]"' in refused(rlvd_here, "--on", "ray")


def test_versions_must_agree():
    here = versions()
    check_versions("n", dict(here), here)
    for name in here:
        with pytest.raises(UserError, match=f"^node n has {name} 0.0.1, and .* is here"):
            check_versions("n", here | {name: "0.0.1"}, here)


def test_gpus_are_counted():
    assert room(Place("ray", 2), True, dict(CPU=8., GPU=2.)) == (2, dict(num_cpus=1, num_gpus=1))
    with pytest.raises(UserError, match="^the cluster has 2 GPUs, too few for --workers 3"):
        room(Place("ray", 3), True, dict(CPU=8., GPU=2.))
