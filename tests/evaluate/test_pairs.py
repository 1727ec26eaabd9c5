import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from relad_bids.errors import GridMismatchError, ImageError
from relad_bids.evaluate.pairs import covariates_of, pair_case
from relad_bids.pair import Pair


@pytest.fixture
def write_pair(tmp_path, card, make_person):
    """One person's images as files; ``change`` spoils them by name."""

    def write(*, flair=True, change=lambda name, data: data, affine=None):
        images = make_person(3, 1.4, tracers=("pib", "pbr28")).images()
        arrays = {"t1w": images.t1w, "mask": images.mask.astype(np.float32), **images.suvr}
        arrays |= {"flair": images.flair} if flair else {}
        paths = {}
        for name, data in arrays.items():
            paths[name] = tmp_path / f"{name}.nii.gz"
            where = card.grid.affine if affine is None or name != "pib" else affine
            nb.Nifti1Image(change(name, data), where).to_filename(paths[name])
        pet = {name: paths[name] for name in ("pib", "pbr28")}
        return Pair("03", "b", paths["t1w"], paths.get("flair"), paths["mask"], pet), images

    return write


def test_what_was_written_is_read(write_pair, card):
    pair, images = write_pair()
    case = pair_case(pair, card.grid, {"age": 70.0})
    assert (case.label, case.tracers, case.covariates) == (
        "sub-03_ses-b", ("pib", "pbr28"), {"age": 70.0},
    )  # fmt: skip
    found = case.images()
    for name in ("t1w", "flair", "mask"):
        np.testing.assert_array_equal(getattr(found, name), getattr(images, name))
    for name, suvr in images.suvr.items():
        np.testing.assert_array_equal(found.suvr[name], suvr)


def test_without_flair(write_pair, card):
    pair, _ = write_pair(flair=False)
    assert pair_case(pair, card.grid, {}).images().flair is None


def test_pet_may_end_inside_the_brain(write_pair, card):
    """NaN outside its field of view: not read as 0, and no reason to stop."""

    def cut(name, data):
        data = data.copy()
        if name == "pib":
            data[:, :, -4:] = np.nan
        return data

    pair, images = write_pair(change=cut)
    suvr = pair_case(pair, card.grid, {}).images().suvr
    assert np.isnan(suvr["pib"][images.mask]).any()
    assert not np.isnan(suvr["pib"][~images.mask]).any()


def test_mri_may_not_have_holes(write_pair, card):
    def spoil(name, data):
        return np.where(data > 60, np.nan, data).astype(np.float32) if name == "t1w" else data

    pair, _ = write_pair(change=spoil)
    with pytest.raises(ImageError, match=r"t1w.nii.gz: .* are NaN or infinite"):
        pair_case(pair, card.grid, {}).images()


def test_nothing_is_resampled(write_pair, card):
    moved = card.grid.affine.copy()
    moved[0, 3] += 1
    pair, _ = write_pair(affine=moved)
    with pytest.raises(GridMismatchError, match=r"the network's grid and .*pib.nii.gz"):
        pair_case(pair, card.grid, {}).images()


def test_age_and_sex():
    table = pd.DataFrame(
        {
            "participant_id": ["sub-1", "sub-2", "sub-3", "sub-4", "sub-5"],
            "age": ["71.5", "89+", "64", np.nan, "80"],
            "sex": ["F", "M", "male", "F", "O"],
        }
    )
    assert covariates_of(table) == {
        "sub-1": {"age": 71.5, "female": 1.0},
        "sub-3": {"age": 64.0, "female": 0.0},
    }
    assert covariates_of(table.drop(columns="sex")) == {}
