import json

import numpy as np
import pandas as pd
import pytest

from relad_bids.core.ood import ood_score
from relad_bids.errors import DataError
from relad_bids.evaluate.score import truth_rows
from relad_bids.evaluate.training_side import demographics, look_back

PRIMARY = "amyloid-composite"


@pytest.fixture(scope="module")
def learned(make_person):
    """Twelve people whose load grows with their age (60 + number)."""
    return [make_person(20 + number, 1.2 + 0.05 * number, noise=0.0) for number in range(12)]


@pytest.fixture(scope="module")
def side(learned, regions):
    return look_back(learned, regions)


def test_truth_of_each_is_kept(side, learned, regions):
    assert len(side.truth) == 12 * len(regions.vois("pib"))
    here = side.truth[side.truth["voi"] == PRIMARY]
    assert here["truth"].tolist() == pytest.approx([1.2 + 0.05 * n for n in range(12)])
    assert here["age"].tolist() == [80.0 + n for n in range(12)]
    rows = pd.DataFrame(truth_rows(learned[4].images(), regions, "pib")).set_index("voi")
    assert rows.loc[PRIMARY, "truth"] == pytest.approx(1.4)


def test_age_foretells_what_grows_with_it(side, make_person):
    """A year is worth 0.05 SUVr; sex, which alternates, nothing."""
    asked = [make_person(5, 9.9), make_person(6, 9.9)]
    pairs = pd.DataFrame({"participant_id": ["sub-05", "sub-06"], "tracer": "pib", "voi": PRIMARY})
    found = demographics(pairs, side, asked)
    assert found.name == "age_sex"
    assert found.tolist() == pytest.approx([1.2 - 0.05 * 15, 1.2 - 0.05 * 14])


def test_without_age_nothing_is_foretold(side, make_person):
    from dataclasses import replace

    asked = [replace(make_person(5, 1.5), covariates={})]
    pairs = pd.DataFrame({"participant_id": ["sub-05"], "tracer": "pib", "voi": PRIMARY})
    assert demographics(pairs, side, asked).isna().all()


def test_nobody_is_foretold_from_themselves(side, learned):
    pairs = pd.DataFrame({"participant_id": ["sub-20"], "tracer": "pib", "voi": PRIMARY})
    with pytest.raises(DataError, match="both in the training set and in the table"):
        demographics(pairs, side, learned)


def test_inputs_are_summarised(side, regions):
    stats = json.loads(json.dumps(side.ood))
    assert stats["n"] == 12
    assert {"t1w_histogram_distance", "flair_histogram_distance"} <= set(stats["ranges"])
    assert stats["ranges"]["t1w_histogram_distance"][1] > 0, "nobody is the mean of all"
    assert set(stats["histograms"]) == {"T1w", "FLAIR"}
    score, flag, reasons = ood_score({"t1w_p50": 5.0, "brain_volume_ml": 1.0}, stats)
    assert flag
    assert np.isfinite(score)
    assert reasons
