"""Masks of Centiloid and CenTauR by their makers' names, and the equations they allow."""

import math

import pytest

from relad_bids.errors import InputError
from relad_bids.masks import (
    CENTAUR,
    CENTILOID,
    OF_TARGET,
    equations_of,
    find_masks,
    scale_value,
    why_no_scale,
)

GAAIN = ("ctx", "WhlCbl", "CerebGry", "WhlCblBrnStm", "Pons")
CENTAUR_FILES = ("CenTauR", "Mesial_CenTauR", "Meta_CenTauR", "TP_CenTauR", "Frontal_CenTauR",
                 "voi_CerebGry_tau_2mm")  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).touch()
        return tmp_path

    return make


@pytest.mark.parametrize("head", ["", "centiloid_"])
def test_masks_go_by_the_end_of_their_names(folder, head):
    where = folder(*(f"{head}voi_{name}_2mm.nii.gz" for name in GAAIN))
    found = {name: path.name for name, path in find_masks(CENTILOID, where).items()}
    assert list(found) == [
        "centiloid-ctx", "cerebellum-whole(GAAIN)", "cerebellum-gm(GAAIN)",
        "cerebellum-brainstem(GAAIN)", "pons(GAAIN)",
    ]  # fmt: skip
    assert found["cerebellum-whole(GAAIN)"] == f"{head}voi_WhlCbl_2mm.nii.gz"
    assert found["cerebellum-brainstem(GAAIN)"] == f"{head}voi_WhlCblBrnStm_2mm.nii.gz"


def test_two_millimetres_go_before_one(folder):
    sizes = [f"voi_{name}_{size}mm.nii" for name in GAAIN for size in (1, 2)]
    found = find_masks(CENTILOID, folder(*sizes))
    assert all(path.name.endswith("2mm.nii") for path in found.values())


def test_no_mask_is_taken_for_another_whose_name_ends_alike(folder):
    where = folder(*(f"{name}.nii" for name in CENTAUR_FILES), "asym_09c_CenTauR.nii")
    found = {name: path.name for name, path in find_masks(CENTAUR, where).items()}
    assert found["centaur-universal"] == "CenTauR.nii"
    assert found["centaur-metatemporal"] == "Meta_CenTauR.nii"
    (where / "CenTauR.nii").unlink()
    (where / "asym_09c_CenTauR.nii").unlink()
    with pytest.raises(InputError, match=r"lacks CenTauR.nii .* it holds"):
        find_masks(CENTAUR, where)


def test_an_empty_folder_names_all_that_is_needed(tmp_path):
    with pytest.raises(InputError, match=r"--centiloid-voi-dir .*voi_ctx_.*voi_Pons_.* no image"):
        find_masks(CENTILOID, tmp_path)


def test_names_are_those_of_the_equations():
    """Otherwise no value would ever come out."""
    for scale in (CENTILOID, CENTAUR):
        own = [one for one in equations_of(scale) if one.pipeline == scale.pipeline]
        assert {one.voi for one in own} == set(scale.targets)
        assert {one.reference for one in own} == {next(iter(scale.references))}


@pytest.mark.parametrize(
    ("tracer", "suvr", "expected"),
    [("pib", 1.009, 0), ("pib", 2.076, 100), ("florbetapir", 1.2, 28.18)],
)
def test_anchors_of_centiloid(tracer, suvr, expected):
    """Klunk 2015: 0 and 100 at 1.009 and 2.076; five digits of the equation are known."""
    first = next(iter(CENTILOID.references))
    made = scale_value(suvr, "centiloid-ctx", first, scale=CENTILOID, tracer=tracer)
    assert made.value == pytest.approx(expected, abs=1e-2)
    assert made.note == "uncalibrated-pipeline"


@pytest.mark.parametrize(
    ("tracer", "reference"), [("pib", "pons(GAAIN)"), ("flortaucipir", "cerebellum-whole(GAAIN)")]
)
def test_nothing_is_taken_for_something_like_it(tracer, reference):
    made = scale_value(1.5, "centiloid-ctx", reference, scale=CENTILOID, tracer=tracer)
    assert math.isnan(made.value)
    assert made.note.startswith("no Centiloid equation for")


def test_tau_at_its_zero():
    reference = next(iter(CENTAUR.references))
    made = scale_value(1.163, "centaur-universal", reference, scale=CENTAUR, tracer="flortaucipir")
    assert made.value == pytest.approx(0, abs=2e-3)  # 1.163 has four digits


@pytest.mark.parametrize(
    ("tracer", "with_masks", "reason"),
    [
        ("pib", True, ""),
        ("flortaucipir", True, ""),
        ("pib", False, "give the folder of its masks with --centiloid-voi-dir"),
        ("mk6240", False, "--centaur-voi-dir"),
        ("pbr28", True, "neither Centiloid nor CenTauR is a scale of tspo tracers"),
    ],
)
def test_the_reason_is_one_that_helps(tracer, with_masks, reason):
    found = why_no_scale(tracer, with_masks=with_masks)
    assert (found == "") == (reason == "")
    assert reason in found


def test_scales_belong_to_targets():
    assert OF_TARGET == {"amyloid": CENTILOID, "tau": CENTAUR}
