"""The evidence that is committed is whole, small, of the protocol that the settings say, and agrees with samples."""
import json

import pytest

from rlvd_nb.core.paths import evidence_dir
from rlvd_nb.experiments.capability import replicate_table
from rlvd_nb.experiments.measurements import difference, evidence_key, read_measurements
from rlvd_nb.experiments.pretrained import SMOLLM2
from rlvd_nb.experiments.record import RECORDED, read_record, recorded

FILES = [path for name in RECORDED for path in sorted(evidence_dir(name).glob("*.npz"))]


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


@pytest.mark.parametrize("name", sorted({path.parent.name for path in FILES} - {SMOLLM2}))
def test_replicates_ask_questions_of_their_own(name):
    "But for programs and puzzles of two people, of which there are few, and names that two worlds have by chance."
    about_world = lambda table: table[table["domain"].eq("kinship")] if "domain" in table else table
    asked = [set(about_world(found.questions)["id"]) for found in read_record(name).values()]
    assert all(len(a & b) <= len(a) / 200 for i, a in enumerate(asked) for b in asked[:i])


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
