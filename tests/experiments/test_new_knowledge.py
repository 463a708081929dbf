"""Sections 07 and 08: lessons that are equal but for the facts, and every kind of bad input."""
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.kinship import path_of, split_of, task as kinship, unknown_facts
from rlvd_nb.experiments.dose_response import DoseResponse
from rlvd_nb.experiments.new_knowledge import syllabus
from rlvd_nb.experiments.response_sets import SetGains
from rlvd_nb.experiments.run import begin_run

WORLD = kinship(entities=60, train_questions=40, test_questions=60)


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_lessons_of_every_dose_are_equal_but_for_the_facts(seed):
    run = SimpleNamespace(task=WORLD, settings=SimpleNamespace(seed=seed), questions=WORLD.questions)
    lessons, test = syllabus(run, 1), WORLD.questions("test")
    doses = [lessons.at(dose) for dose in (0, .5, 1)]
    stated = [unknown_facts(WORLD.world, questions) for questions in doses]
    assert stated[0] == set() and stated[0] < stated[1] < stated[2] == unknown_facts(WORLD.world, test)
    assert len({tuple(sorted(q.info["depth"] for q in questions)) for questions in doses}) == 1
    for questions in doses:
        assert len({q.id for q in questions}) == len(questions) and {
            split_of(*path_of(WORLD.world, q)) for q in questions
        } == {"train"}


# bad input

@pytest.mark.parametrize(
    "section, changes, message",
    [
        ("07", dict(doses=[0.0, 1.5]), "a dose is a share between 0 and 1, not 1.5"),
        ("07", dict(doses=[-0.5, 0.0]), "not -0.5"),
        ("07", dict(doses=[0.0, 0.01, 1.0]), "a cell of the grid would be empty"),
        ("07", dict(patterns=[]), "grid: patterns"),
        ("07", dict(patterns=["stepp"]), "unknown pattern 'stepp'"),
        ("07", dict(about=[500]), "arms cannot be made equal: 500 lessons"),
        ("07", dict(seeds=1), "needs at least 2 seeds"),
        ("07", dict(workers=-1), "workers must be 0"),
        ("07", dict(bound=0.0), "the bound of an equivalence test must be above 0"),
        ("08", dict(seeds=1), "needs at least 2 seeds"),
        ("08", dict(sets=[["written stepp", "any"]]), "unknown source 'written stepp'"),
        ("08", dict(sets=[["written step", "best"]]), "unknown rule 'best'"),
        ("08", dict(least_questions=1000), "the sets cannot be made equal: only"),
    ],
)
def test_bad_settings_are_one_line(store, section, changes, message):
    run = begin_run(section, profile="smoke").vary(**changes)
    with pytest.raises(UserError) as caught:
        if section == "07": DoseResponse(run)
        else: SetGains(run).gains
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_task_without_facts_cannot_be_dosed():
    run = SimpleNamespace(task=SimpleNamespace(name="chess"))
    with pytest.raises(UserError, match="task 'chess' does not say which facts a model lacks"): syllabus(run, 2)
