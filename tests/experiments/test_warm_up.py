"""Section 06: nothing leaks between domains, the controls keep what they say, and the paper's setting runs on real
records."""
import json

import numpy as np
import pandas as pd
import pytest

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import load_task
from rlvd_nb.tasks.mixture import Mixture
from rlvd_nb.experiments.protocol import in_domain, replicates
from rlvd_nb.experiments.run import begin_run
from rlvd_nb.experiments.transfer import efficiency
from rlvd_nb.experiments.warm_up import domains_of, warm_up, warm_up_lessons

SMALL = dict(kinship=dict(entities=40, mark=True), tracing={}, choice=dict(things=20), knights={})
DOMAINS = {name: load_task(name, train_questions=30, test_questions=30, **options) for name, options in SMALL.items()}


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_can_be_learned_and_taught(name):
    "Words in the vocabulary, right worked chains in every pattern asked for, a mark on those that are no bare answer."
    domain, stream = DOMAINS[name], DOMAINS[name].text(0)
    texts = [next(stream) for _ in range(300)]
    assert {word for pair in texts for word in " ".join(pair).split()} <= set(domain.vocabulary)
    assert all(prompt.split()[0] in domain.starts for prompt, _ in texts)
    held_out = {q.prompt for split in ("train", "test") for q in domain.questions(split)}
    assert not held_out & {prompt for prompt, _ in texts}
    for question in domain.questions("train"):
        chain, answer = domain.worked(question, 0), domain.worked(question, 0, "direct")
        assert domain.grade(question, chain).chain and chain.startswith("think ")
        assert domain.grade(question, answer).verdict == "right" and not answer.startswith("think ")
    assert json.dumps(domain.text_source()) and "train_questions" not in json.dumps(domain.text_source())


def test_the_domains_share_a_text():
    mixture = Mixture(DOMAINS, dict.fromkeys(DOMAINS, .25))
    stream = mixture.text(0)
    starts = [next(stream)[0].split()[0] for _ in range(800)]
    shares = {name: np.mean([start in domain.starts for start in starts]) for name, domain in DOMAINS.items()}
    assert all(.2 < share < .3 for share in shares.values())
    assert len(set(mixture.vocabulary)) == len(mixture.vocabulary)


def test_controls_keep_puzzles_and_numbers(store):
    run = begin_run("06", profile="smoke")
    toy = domains_of(run)[run.settings.toy]
    lessons = warm_up_lessons(toy, None, None)
    ids = [lesson["question_id"].tolist() for lesson in lessons.values()]
    assert ids[0] == ids[1] == ids[2] and len(ids[0]) == run.settings.responses * len(toy.questions("train"))
    long, shuffled = lessons["warm-up"]["completion"], lessons["shuffled chains"]["completion"]
    assert sorted(long) == sorted(shuffled)
    by_id = {q.id: q for q in toy.questions("train")}
    right = lambda lesson: np.mean(
        [toy.task.grade(by_id[i], text).verdict == "right" for i, text in lesson.itertuples(index=False)]
    )
    assert right(lessons["warm-up"]) == right(lessons["answers only"]) == 1 > right(lessons["shuffled chains"])
    assert all(
        len(text.split()) < len(chain.split()) for text, chain in zip(lessons["answers only"]["completion"], long)
    )


def test_more_examples_than_the_pool_has(store):
    run = begin_run("06", profile="smoke")
    with pytest.raises(UserError, match="41 train questions asked for, task 'kinship' has 1 to 40"):
        in_domain(run, "kinship", 41).questions("train")


def test_efficiency_by_hand():
    rows = [
        ("base", 0, 10.0), ("base", 10, 20.0), ("base", 30, 30.0), ("warm-up", 0, 25.0), ("warm-up", 10, 31.0),
        ("warm-up", 30, 40.0),
    ]
    table = efficiency(pd.DataFrame(rows, columns=["start", "step", "value"]).assign(target="t"))
    assert table["steps_base"].item() == 30 and table["steps_warm_up"].item() == 10
    assert table["area"].item() == pytest.approx(((15 + 11) / 2 * 10 + (11 + 10) / 2 * 20) / 30)


def test_workers_are_counted_before_anything_is_trained(store):
    with pytest.raises(UserError, match="^parameter workers must be 0 or more"):
        replicates(warm_up(begin_run("06", profile="smoke", workers=-1)))
    assert not (store / "store").exists()


def test_paper_setting_on_real_records(store, data, tiny_qwen2, tmp_path, monkeypatch):
    "Real puzzles as the toy domain, chains from a file, MATH-500 as the target, a small checkpoint: from end to end."
    monkeypatch.setenv("RLVD_DATA", str(data))
    puzzles = load_task("knights_knaves", people=[3])
    chains = [
        dict(question_id=q.id, response=f"Let us think. {puzzles.gold_response(q)}")
        for q in puzzles.questions("train")[:6]
    ]
    file = tmp_path / "chains.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in chains))
    given = dict(
        model=str(tiny_qwen2), teacher=str(file), samples=2, test_questions=3, engine="transformers",
        template="question",
    )
    run = begin_run("06", profile="paper", **given)
    exam = dict(max_tokens=16, train=True)
    tasks = run.settings.tasks | {"knights_knaves": dict(people=[3], max_tokens=16), "math500": exam}
    small = dict(steps=2, checkpoint=1, step_questions=2, group=2, full_set=False, max_tokens=16, trl={})
    sft = dict(epochs=1, batch=2, learning_rate=1e-4, warmup=0)
    run = run.vary(tasks=tasks, targets=["math500"], examples={"math500": 4}, sft=sft, **small)
    # A checkpoint of random weights answers none of MATH-500, so the run goes as far as RLVR and says why it stops.
    with pytest.raises(UserError, match="RLVR .* learned nothing"): replicates(warm_up(run))
