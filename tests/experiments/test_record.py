"""The evidence that is committed is whole, small, of the protocol that the settings say, and agrees with samples."""
import json
from collections import Counter
from itertools import product

import pytest
from scipy import stats

from rlvd_nb.core.paths import evidence_dir
from rlvd_nb.experiments.capability import replicate_table
from rlvd_nb.experiments.measurements import difference, evidence_key, read_measurements
from rlvd_nb.experiments.pretrained import SMOLLM2
from rlvd_nb.experiments.record import RECORDED, read_record, recorded
from rlvd_nb.tasks import kinship

FILES = [path for name in RECORDED for path in sorted(evidence_dir(name).glob("*.npz"))]
# of the lab, whose replicates are worlds; trainings of a real model are asked the same questions
LAB = sorted({path.parent.name for path in FILES if not path.parent.name.startswith(SMOLLM2)})


def test_there_is_evidence_of_both_main_experiments():
    assert {path.parent.name for path in FILES} >= {"frontier", "record"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_file_is_small_and_could_go_on(path):
    "Whoever runs the command again goes on with this file: its protocol is the one that the settings say."
    assert path.stat().st_size <= 200_000
    experiment = recorded(path.parent.name)
    if experiment.run.settings.model == "lab": found = read_measurements(path, evidence_key(experiment, int(path.stem)))
    else:  # whose questions are in a file that is not here
        found = read_measurements(path)
        assert not difference(found.protocol["settings"], json.loads(json.dumps(vars(experiment.run.settings))))
    assert found.models["arm"].iloc[0].startswith("base")


@pytest.mark.parametrize("name", LAB)
def test_replicates_share_no_question_but_by_chance(name):
    "Worlds draw their people from the same names: as many questions have the same words as that makes expected."
    about_world = lambda table: table[table["domain"].eq("kinship")] if "domain" in table else table
    words = lambda found: {tuple(id.split("-")) for id in about_world(found.questions)["id"]}
    asked = [words(found) for found in read_record(name).values()]
    pairs = [(a, b) for i, a in enumerate(asked) for b in asked[:i]]
    shared = sum(len(a & b) for a, b in pairs)
    assert stats.poisson.sf(shared - 1, sum(expected_by_chance(a, b) for a, b in pairs)) > .001


def expected_by_chance(a, b):
    "Questions of one world that another one, whose people have names of their own, is expected to ask in these words."
    names = {"".join(parts) for parts in product(kinship._ONSETS, kinship._NUCLEI, kinship._ENDINGS, kinship._TAILS)}
    relations = {word for question in b for word in question[:-1]}
    asked = Counter(map(len, b))
    there = Counter(len(question) for question in a if relations.issuperset(question[:-1]))
    return sum(there[n] * asked[n] / (len(names) * len(relations) ** (n - 1)) for n in there)


def test_both_experiments_begin_with_the_same_base_models():
    frontier, record = read_record("frontier"), read_record("record")
    for number in set(frontier) & set(record):
        both = frontier[number].models, record[number].models
        a, b = (models.set_index("arm").loc["base", "fingerprint"] for models in both)
        assert a == b


def test_exact_numbers_agree_with_samples():
    "Over hundreds of questions the sampled share of valid responses is the exact one."
    for found in read_record("record").values():
        table = replicate_table(found)
        able = found.questions["kind"] != "unknown"
        assert (abs(table["valid"] - found.values["valid"][:, able].mean(1)) < .01).all()
