import gc
import gzip
import pickle
import tracemalloc
from dataclasses import replace

import nibabel as nb
import numpy as np
import pytest
import torch
from toys import oblique, save_nifti

from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract, normalise_mri
from relad_bids.errors import DataError, GridMismatchError, ImageError
from relad_bids.model.data import Cohort, loader
from relad_bids.model.learning.paired import read_pair
from relad_bids.pair import Pair

SHAPE = (9, 12, 11)
GRID = Grid(shape=SHAPE, affine=oblique())
SUVR_MAX = {"flortaucipir": 5.0, "pib": 4.0}
CONTRACT = MRIContract(lower_percentile=2.0, upper_percentile=95.0)
MASK = np.zeros(SHAPE, dtype=np.uint8)
MASK[2:7, 1:10, 3:9] = 1
INSIDE = MASK > 0


@pytest.fixture
def images():
    """Arrays by role; bright fat around the brain, uptake around 1."""
    rng = np.random.default_rng(12)
    made = {
        role: rng.uniform(100, 300, SHAPE).astype(np.float32) + np.float32(2000) * ~INSIDE
        for role in ("t1w", "flair")
    }
    made["pib"] = rng.uniform(0.2, 2.5, SHAPE).astype(np.float32)
    return {**made, "mask": MASK}


@pytest.fixture
def write(tmp_path, images):
    """Write a session; an image is changed by its role, or left out by None."""

    def make(subject="01", affine=GRID.affine, **changes):
        paths = {}
        for role, data in {**images, **changes}.items():
            if data is not None:
                paths[role] = tmp_path / f"{subject}_{role}.nii.gz"
                save_nifti(paths[role], data, affine)
        pet = {tracer: paths[tracer] for tracer in SUVR_MAX if tracer in paths}
        return Pair(subject, None, paths["t1w"], paths.get("flair"), paths["mask"], pet)

    return make


def read(pair, suvr_max=SUVR_MAX, contract=CONTRACT, grid=GRID):
    return read_pair(pair, grid, suvr_max=suvr_max, contract=contract)


def test_mri_is_what_the_app_shows_the_network(write, images):
    """By the contract of the recipe, from original intensities: bit for bit."""
    sample = read(write())
    assert sample.mri.dtype == np.float32
    assert sample.mri.shape == (2, *SHAPE)
    np.testing.assert_array_equal(sample.mask, INSIDE)
    for channel, role in enumerate(("t1w", "flair")):
        expected = normalise_mri(images[role], INSIDE, CONTRACT).data
        np.testing.assert_array_equal(sample.mri[channel], expected)
        assert (sample.mri[channel][~INSIDE] == -1).all()


def test_suvr_is_scaled_by_the_range_of_its_tracer(write, images):
    """SUVr 0 is -1, suvr_max is +1, and beyond it clipped: in the place of the tracer's class."""
    pib = images["pib"].copy()
    pib[2, 1, 3:6] = 0, 4.0, 7.0
    sample = read(write(pib=pib))
    assert sample.pet.dtype == np.float32
    assert sample.available.tolist() == [False, True]
    assert sample.pet[1, 2, 1, 3:6].tolist() == [-1, 1, 1]
    kept = INSIDE & (pib <= 4)
    np.testing.assert_allclose(sample.pet[1][kept], pib[kept] / 2 - 1, atol=1e-6)  # float32
    assert (sample.pet[1][~INSIDE] == -1).all()
    other_order = read(write(pib=pib), suvr_max={"pib": 8.0, "flortaucipir": 5.0})
    assert other_order.available.tolist() == [True, False]
    assert other_order.pet[0, 2, 1, 3:6].tolist() == [-1, 0, 0.75]


def test_what_is_missing_is_background(write):
    sample = read(write(flair=None))
    assert (sample.mri[1] == -1).all()
    assert (sample.mri[0][INSIDE] > -1).any()
    assert (sample.pet[0] == -1).all()
    without = read(write(pib=None))
    assert not without.available.any()


def test_a_tracer_nobody_asks_for_is_not_read(write):
    pair = write()
    pair.pet["pib"].write_bytes(b"")
    assert read(pair, suvr_max={"flortaucipir": 5.0}).pet.shape == (1, *SHAPE)


def test_a_batch_is_made_of_it(write):
    pairs = [write("01"), write("02", flair=None)]
    (batch,) = loader(Cohort(lambda i: read(pairs[i]), range(2)), batch_size=2, workers=0)
    assert batch.mri.shape == (2, 2, *SHAPE)
    assert batch.available.tolist() == [[False, True]] * 2
    assert torch.isfinite(batch.pet).all()


@pytest.mark.parametrize("role", ["t1w", "flair", "mask", "pib"])
def test_every_image_must_lie_on_the_grid(write, images, role):
    pair = write()
    path = getattr(pair, role, None) or pair.pet["pib"]
    moved = GRID.affine.copy()
    moved[0, 3] += 0.01  # ten times the limit of core.grid
    save_nifti(path, images[role], moved)
    with pytest.raises(GridMismatchError, match=rf"grid and .*01_{role}.nii.gz have .* 0\.01 mm"):
        read(pair)
    save_nifti(path, images[role][:-1], GRID.affine)
    with pytest.raises(GridMismatchError, match=rf"but .*01_{role}.nii.gz is \(8, 12, 11\)"):
        read(pair)
    moved[0, 3] -= 0.01 - 1e-5
    save_nifti(path, images[role], moved)
    read(pair)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("role", ["t1w", "flair", "pib"])
def test_the_brain_holds_numbers(write, images, role, value):
    """Outside it anything may stand."""
    data = images[role].copy()
    data[0, 0, 0] = value
    sample = read(write(**{role: data}))
    assert np.isfinite(sample.mri).all()
    assert np.isfinite(sample.pet).all()
    data[3, 3, 3] = value
    with pytest.raises(
        DataError, match=rf"01_{role}.nii.gz: 1 of 270 voxels of the brain are NaN or infinite"
    ):
        read(write(**{role: data}))


@pytest.mark.parametrize(
    ("middle", "fits"), [(-0.1, False), (0.0, False), (0.1, True), (3.9, True), (4.0, False)]
)
def test_a_target_lies_in_the_range_of_the_network(write, images, middle, fits):
    """More than half of the brain below 0 or clipped is no SUVr of this tracer."""
    pair = write(pib=np.where(INSIDE, np.float32(middle), np.float32(1)))
    if fits:
        read(pair)
        return
    with pytest.raises(
        DataError,
        match=rf"01_pib.nii.gz: the median over the brain is {middle:.4g}, needed is SUVr with a "
        r"median between 0 and 4, where .* activity \(Bq/mL\) must be divided",
    ):
        read(pair)


def test_an_activity_is_no_suvr(write, images):
    with pytest.raises(
        DataError, match=r"the median over the brain is 1\.\d*e\+04, needed is SUVr"
    ):
        read(write(pib=images["pib"] * 1e4))


def test_a_brain_must_be_there(write):
    with pytest.raises(DataError, match=r"01_mask.nii.gz: the brain mask is empty"):
        read(write(mask=MASK * 0))


def test_a_blank_mri_is_named(write):
    with pytest.raises(DataError, match=r"one intensity only") as caught:
        read(write(flair=np.full(SHAPE, 7, dtype=np.float32)))
    assert caught.value.__notes__[0].endswith("01_flair.nii.gz")


@pytest.mark.parametrize("content", [b"", b"<html>" * 100, None, "cut"])
def test_a_file_that_cannot_be_read_is_named(write, content):
    pair = write()
    if content is None:
        pair.t1w.unlink()
    else:
        pair.t1w.write_bytes(pair.t1w.read_bytes()[:-500] if content == "cut" else content)
    with pytest.raises(ImageError, match=r"01_t1w.nii.gz: cannot be read to its end \("):
        read(pair)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("text.nii", lambda plain: b"<html>" * 200),
        (
            "turned.nii",
            lambda plain: plain[:252] + b"\1\0\0\0" + np.float32(9).tobytes() + plain[260:],
        ),
        ("packed.nii.gz", lambda plain: gzip.compress(plain)[:10] + b"\xff" * 200),
        ("image.txt", lambda plain: plain),
    ],
)
def test_damage_of_any_kind_is_named(write, name, damage):
    """No NIfTI; a quaternion longer than 1; a block that gzip does not know; a foreign name."""
    pair = write()
    path = pair.mask.with_name(name)
    path.write_bytes(damage(gzip.decompress(pair.mask.read_bytes())))
    with pytest.raises(ImageError, match=rf"{name}: cannot be read to its end \(.*prepare the"):
        read(replace(pair, mask=path))


def test_scaled_integers_are_read_as_what_they_mean(write, images):
    """A PET stored as int16 with a slope, as other programs write it."""
    pair = write()
    image = nb.Nifti1Image(np.zeros(SHAPE, np.float32), GRID.affine)
    image.set_data_dtype(np.int16)
    image = nb.Nifti1Image(images["pib"], GRID.affine, image.header)
    image.to_filename(pair.pet["pib"])
    assert nb.Nifti1Image.from_filename(pair.pet["pib"]).get_data_dtype() == np.int16
    # One step of int16 over the range 2.5, on the scale of 4 SUVr to 2.
    np.testing.assert_allclose(
        read(pair).pet[1][INSIDE], images["pib"][INSIDE] / 2 - 1, atol=2.5 / 65535 / 2 + 1e-6
    )


def test_a_pair_travels_to_a_worker(write):
    pair = write()
    assert pickle.loads(pickle.dumps(pair)) == pair
    assert pair.label == "sub-01"


def test_nothing_is_kept_between_two(write):
    """After eight sessions no array is left, of the samples or of what was read for them."""
    pairs = [write(f"{index:02}") for index in range(8)]
    cohort = Cohort(lambda index: read(pairs[index]), range(8))
    of_arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    tracemalloc.start()
    for index in range(8):
        cohort[index]
    gc.collect()
    held = tracemalloc.take_snapshot().filter_traces([of_arrays]).traces
    tracemalloc.stop()
    assert sum(trace.size for trace in held) < MASK.nbytes
