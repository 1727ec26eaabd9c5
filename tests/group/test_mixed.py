"""Source and tracer in one model."""

import numpy as np
import pandas as pd
import pytest

from relad_bids.group.mixed import MIXED_COLUMNS, mixed
from relad_bids.group.people import People

NOBODY = People(pd.DataFrame(index=pd.Index([], name="participant_id")), None)


def pairs(n, *, shift, seed=1):
    """Synthetic above real by ``shift[tracer]``, in the VOI that is primary of tau tracers."""
    rng = np.random.default_rng(seed)
    level = rng.normal(1.4, 0.2, n)
    rows = []
    for tracer, above in shift.items():
        truth = level + rng.normal(0, 0.05, n)
        estimate = truth + above + rng.normal(0, 0.05, n)
        rows.append(pd.DataFrame({
            "participant_id": [f"sub-{i:02}" for i in range(n)], "tracer": tracer,
            "voi": "metatemporal", "estimate": estimate, "truth": truth,
        }))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_known_effects_of_source_are_found():
    """Standard error of a shift about 0.05 sqrt(2 / 60): 0.011; of a difference of two, 0.016."""
    found = mixed(pairs(60, shift={"flortaucipir": 0.1, "mk6240": 0.3}), NOBODY).frame
    assert list(found) == list(MIXED_COLUMNS)
    over = found[found["voi"] == "all"]
    assert over["tracer"].tolist() == ["flortaucipir", "mk6240"]
    assert over["note"].str.startswith("60 participants have all of 1 regions").all()
    found = found[found["voi"] != "all"]
    effect = found.set_index("term")["estimate"]
    assert effect["source[T.synthetic]"] == pytest.approx(0.1, abs=3 * 0.011)
    crossed = effect["source[T.synthetic]:tracer[T.mk6240]"]
    assert crossed == pytest.approx(0.2, abs=3 * 0.016)
    assert set(found["n"]) == {60}
    assert set(found["n_rows"]) == {240}
    assert set(found["note"]) == {"ok"}


@pytest.mark.parametrize(("n", "told"), [(7, False), (8, True)])
def test_fewest_participants(n, told):
    found = mixed(pairs(n, shift={"flortaucipir": 0.1}), NOBODY).frame
    of_voi = found[found["voi"] != "all"]
    assert of_voi["estimate"].notna().all() == told
    assert told or found["note"].tolist() == ["7 participants, needs 8"] * 2


def test_the_group_level_writes_it(table):
    found = table("mixed_stats")
    assert "source[T.synthetic]" in set(found["term"])
    over = found.query("voi == 'all' and tracer == 'pib'")
    assert over["term"].iloc[0] == "source[T.synthetic]"
    assert over["term"].str.contains("voi[amyloid-composite]", regex=False).any()
    assert (over["n_rows"] == 2 * 25 * (len(over) - 1)).all()
    assert set(over["method"]) == {"balanced"}
