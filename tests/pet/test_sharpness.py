"""Who says how sharp a scan is, and what follows of it."""

import math

import pytest

from relad_bids.errors import DataError, InputError
from relad_bids.pet.fields import Fields
from relad_bids.pet.sharpness import FIELD, Sharpness, read_psf_table, read_sharpness

KEY = ("01", "a", "11CPIB")


def read(told=None, **settings):
    fields = Fields({} if told is None else {FIELD: told}, "pet.json")
    return read_sharpness(fields, KEY, **settings)


@pytest.mark.parametrize(
    ("told", "native", "fwhm"),
    [
        (5, (5.0, 5.0, 5.0), 5.0),
        ([4, 4, 7], (4.0, 4.0, 7.0), math.sqrt((16 + 16 + 49) / 3)),
        ("n/a", None, None),
        (None, None, None),
    ],
)
def test_the_sidecar_says_it(told, native, fwhm):
    found = read(told)
    assert found.native_mm == native
    assert found.fwhm_mm == pytest.approx(fwhm)
    assert found.smooth == {}
    assert bool(found.facts) == (native is not None)


def test_a_known_scan_is_smoothed_to_the_target():
    found = read([4, 4, 6], target_mm=8.0)
    assert found.smooth == {"native_fwhm_mm": [4.0, 4.0, 6.0], "target_fwhm_mm": 8.0}
    assert (found.fwhm_mm, found.flags) == (8.0, ())
    assert found.facts["SmoothedBeforeInterpolation"] is True


@pytest.mark.parametrize(
    ("native", "flags"), [(6.0, ()), (6.001, ("lowres",)), ([5, 5, 7], ("lowres",))]
)
def test_a_scan_less_sharp_than_the_target_is_flagged_and_left(native, flags):
    """Both sides of the bound; nothing is ever sharpened, and one axis is enough."""
    found = read(native, target_mm=6.0)
    assert found.flags == flags
    assert bool(found.smooth) == (not flags)
    if flags:
        assert found.fwhm_mm == pytest.approx(read(native).fwhm_mm)


def test_a_target_without_a_known_resolution_is_refused():
    with pytest.raises(DataError, match=r"pet.json: --pet-fwhm 8 .* in neither"):
        read(target_mm=8.0)


@pytest.mark.parametrize("told", [0.5, 25, [5, 5], [5, 5, 5, 5], [5, 5, 0]])
def test_a_width_that_no_scanner_has(told):
    with pytest.raises(DataError, match=r"pet.json: FullWidthHalfMaximum is .* one or three"):
        read(told)


@pytest.mark.parametrize(
    ("keys", "winner"),
    [
        ([("01", "", ""), ("01", "a", "")], ("01", "a", "")),
        ([("01", "a", ""), ("01", "a", "11CPIB")], ("01", "a", "11CPIB")),
        ([("01", "", ""), ("01", "b", "")], ("01", "", "")),
        ([("02", "", "")], None),
    ],
)
def test_the_table_goes_before_the_sidecar_and_its_narrowest_row_counts(keys, winner):
    table = {key: (3.0 + n, 3.0, 3.0) for n, key in enumerate(keys)}
    found = read(6, table=table)
    assert found.native_mm == ((6.0, 6.0, 6.0) if winner is None else table[winner])
    assert found.source == (FIELD if winner is None else "user's table")


def test_tables_are_read_as_clinica_writes_them(tmp_path):
    path = tmp_path / "psf.tsv"
    path.write_text(
        "participant_id\tsession_id\tacq_label\tpsf_x\tpsf_y\tpsf_z\n"
        "sub-01\tses-a\t11CPIB\t5\t5\t6.5\nsub-02\tn/a\t\t4\t4\t4\n"
    )
    assert read_psf_table(path) == {
        ("01", "a", "11CPIB"): (5.0, 5.0, 6.5),
        ("02", "", ""): (4.0, 4.0, 4.0),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("participant_id\tfwhm\nsub-01\t5\n", r"holds participant_id, fwhm; needed are"),
        ("", "holds no row"),
        ("participant_id\tpsf_x\tpsf_y\tpsf_z\nsub-01\tfive\t5\t5\n", r"sub-01 has .*'five'"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, message):
    path = tmp_path / "psf.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_psf_table(path)
    with pytest.raises(InputError, match="is not there"):
        read_psf_table(tmp_path / "nowhere.tsv")


def test_nothing_is_known_of_most():
    assert Sharpness().fwhm_mm is None
    assert Sharpness().facts == {}
