"""Sharedness changes which tokens stand where and nothing else; evidence of several domains is whole or goes on."""
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from rlvd_nb.core.errors import UserError
from rlvd_nb.experiments.measurements import measured, read_measurements, supposed, write_measurements
from rlvd_nb.experiments.protocol import Arm, Ask, Experiment, in_domain
from rlvd_nb.experiments.run import begin_run
from rlvd_nb.experiments.shared_operator import make_base_sharing, shared_operator, sharing
from rlvd_nb.experiments.sharedness import sharing_gates
from rlvd_nb.tasks.operator import COMMON, in_words


@pytest.fixture(scope="module")
def run():
    return begin_run("operator", "smoke").vary(replicate="world")


@pytest.mark.parametrize("domain", ["kinship", "tracing", "choice"])
def test_texts_differ_in_the_words_of_the_operator_alone(run, domain):
    def text(shared: float) -> list[str]:
        task = in_domain(sharing(run.vary(targets=[domain]), shared, 1.), domain).task
        return [" ".join(pair) for pair in islice(task.text(3), 2000)]
    apart, half, common = map(text, (0., .5, 1.))
    private = in_domain(run, domain).task.marks[domain]
    assert [in_words(each, [private], COMMON) for each in apart] == common
    assert [in_words(each, [private], COMMON) for each in half] == common
    using = [sum(private.attempt in each.split() for each in texts) for texts in (apart, half, common)]
    assert using[2] == 0 < using[1] < using[0]
    assert abs(using[1] / using[0] - .5) < .1


def test_the_toy_is_the_same_at_every_level_and_whatever_checks_tell(run):
    worlds = [sharing(run, shared, useful) for shared, useful in ((0., 1.), (1., 1.), (1., 0.))]
    toys = [in_domain(each, "knights").task.text_source() for each in worlds]
    assert toys[0] == toys[1] == toys[2]


def test_evidence_of_several_domains_goes_on_where_it_was(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RLVD_OUT", str(tmp_path / "out"))
    domains = "kinship", "knights", "kinship, begun"
    few = run.vary(pretrain=run.settings.pretrain | dict(steps=20), test_questions=6)
    small = Experiment("two", few, {"base": Arm(make_base_sharing, "", given=(1., 1.))},
                       tuple(Ask("base", domain=domain) for domain in domains))
    whole, = measured(small, [3], tmp_path)
    assert whole.questions["domain"].value_counts().to_dict() == dict.fromkeys(domains, 6)
    assert not np.isnan(whole.of("base", "log_valid", domain="kinship")).any()
    with pytest.raises(UserError, match="knights has no exact numbers"): whole.of("base", "log_valid", domain="knights")
    for domain in domains: assert 0 <= whole.of("base", "operator", domain=domain).min()
    file, first = tmp_path / "3.npz", replace(whole, models=whole.models[:1])
    there = file.read_bytes()
    write_measurements(file, replace(first, values={name: each[:1] for name, each in whole.values.items()}))
    measured(small, [3], tmp_path)
    asked = set(read_measurements(file).names())
    assert file.read_bytes() == there and asked == {("base", domain) for domain in domains}


def test_levels_that_cannot_be_are_refused(run):
    with pytest.raises(UserError, match=r"levels must be two or more shares from 0 to 1 that rise, not \[0.5\]"):
        shared_operator(run.vary(levels=[.5]))
    with pytest.raises(UserError, match="shared: Input should be less than"):
        in_domain(sharing(run, 2., 1.), "kinship").task
    with pytest.raises(UserError, match="have no 'mawps'; there are: kinship"):
        shared_operator(run.vary(targets=["mawps"]))


def test_gates_take_means_over_replicates_before_the_worst(run):
    "Each of two replicates misses an evenness of two points, the other way round; their mean does not."
    def one(sign: int):
        return supposed(shared_operator(run), lambda ask, step: dict(
            right=.4 + .03 * sign * (ask.arm == "base, s 1"), operator=.1))
    even = lambda found: sharing_gates(found).set_index("about").loc["base models", "passed"]
    assert not even([one(1), one(1)]) and even([one(1), one(-1)])
