"""Graded rows as arrays: what they say of chains."""
import pandas as pd

from rlvd_nb.responses.arrays import chain_validity


def test_a_model_that_is_never_right_has_no_share_of_right_answers():
    faults = ["atom", None, "plan", None]
    rows = pd.DataFrame(dict(question_id=list("aabb"), verdict="wrong", chain=False, fault=faults))
    found = chain_validity({"base": rows}).set_index("quantity")
    assert list(found.index) == ["a false step (atom)", "a step not asked for or missing (plan)"]
    assert found["value"].tolist() == [.25, .25] and (found["questions"] == 2).all()
