"Sharpened base models, measured in a small world, and compared with what RLVR does in the record's."
import numpy as np, pytest

from rlvd_nb.core.errors import UserError
from rlvd_nb.experiments.capability import replicate_table
from rlvd_nb.experiments.measurements import measured
from rlvd_nb.experiments.protocol import Ask, Evidence
from rlvd_nb.experiments.record import RLVR, read_record
from rlvd_nb.experiments.run import begin_run
from rlvd_nb.experiments.sharpening import MEASURES, against_trained, beside_trained, falls_short, sharpening


@pytest.fixture(scope="module")
def run(): return begin_run("sharpening", "smoke").vary(replicate="world", samples=8, test_questions=6)


@pytest.mark.usefixtures("store")
def test_every_way_is_measured_and_what_is_not_sampled_is_a_gap(run, tmp_path):
    experiment = sharpening(run)
    found, = measured(experiment, [0], tmp_path)
    assert list(found.models["arm"]) == [ask.name for ask in experiment.asks]
    for ask in experiment.asks:
        right, valid, tokens = (found.of(ask.name, name) for name in ("right", "valid", "tokens"))
        assert np.isnan(tokens).all() == ask.sharpened
        assert (found.of(ask.name, "log_valid") <= 0).all()
        if ask.sharpened: assert (right >= valid - 1e-3).all()
    assert found.models["kl"].isna().tolist() == [ask.sharpened for ask in experiment.asks]
    assert not found.of("base, begun with direct", "valid").any()
    assert replicate_table(found).shape[0] == len(experiment.asks)


@pytest.mark.usefixtures("store")
def test_refusals(run, tmp_path):
    experiment = sharpening(run)
    with pytest.raises(UserError, match="'base, power 4' is not sampled"):
        Evidence(experiment, 0).responses(Ask("base", power=4))
    with pytest.raises(UserError, match="and a power at temperature 1"):
        measured(sharpening(run.vary(temperature=.5)), [0], tmp_path)
    with pytest.raises(UserError, match="a power of a forced beginning is not computed"):
        Ask("base", power=4, begin="step")
    for powers in ([], [1], [99], [4, .5]):
        with pytest.raises(UserError, match="powers must be numbers above 1 and at most 32"):
            sharpening(run.vary(powers=powers))


def test_the_sharpened_models_are_the_record_s_own():
    record = read_record("record")
    assert set(read_record("sharpening")) == set(read_record("sharpening-both")) == set(record)
    for number, found in [*read_record("sharpening").items(), *read_record("sharpening-both").items()]:
        assert set(found.models["fingerprint"]) == {record[number].models["fingerprint"].iloc[0]}
        assert np.array_equal(found.of("base", "log_valid"), record[number].of("base", "log_valid"))


def test_the_record_s_comparison_is_whole_and_can_be_done_by_hand():
    tables = beside_trained(read_record("record"), [RLVR], read_record("sharpening"))
    table = against_trained(tables, RLVR).set_index(["arm", "measure"])
    assert table.notna()[["value", "less_value"]].all().all() and len(falls_short(table.reset_index())) == 9
    for measure in MEASURES:
        by_hand = [each.set_index("arm")[measure] for each in tables]
        less = [row["base, power 4"] - row[RLVR] for row in by_hand]
        assert table.loc[("base, power 4", measure), "less_value"] == pytest.approx(np.mean(less))
