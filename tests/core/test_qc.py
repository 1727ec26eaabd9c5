import pytest

from relad_bids.core.qc import QC_COLUMNS, qc_row


def test_one_row_with_all_columns_in_order():
    row = qc_row({"status": "ok", "participant_id": "sub-01"})
    assert list(row) == list(QC_COLUMNS)
    assert len(row) == 1
    assert row.loc[0, "participant_id"] == "sub-01"
    assert row.loc[0, "reason"] is None


def test_a_fact_without_a_column():
    with pytest.raises(KeyError, match=r"facts without a QC column: \['colour', 'taste'\]"):
        qc_row({"status": "ok", "taste": 1, "colour": 2})
