import re
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from toys import centres_mm, oblique

from relad_bids.errors import DataError
from relad_bids.interfaces.pet import RealignPET, RegisterPET, ResampleFrames, ScorePET
from relad_bids.mri.linear import apply_affine, read_affine, write_affine

SHAPE = (14, 17, 12)
AFFINE = oblique((4.0, 3.5, 5.0), degrees=12.0, origin=(-20.0, -25.0, -22.0))


@pytest.fixture
def series(make_nifti):
    data = np.random.default_rng(2).uniform(10, 90, (*SHAPE, 3)).astype(np.float32)
    return data, make_nifti("dyn.nii.gz", data, AFFINE)


@pytest.mark.parametrize("extra", [(), (1,), (1, 1)])
def test_a_lone_frame_stays_where_it_is(run_step, make_nifti, extra):
    data = np.random.default_rng(2).uniform(10, 90, SHAPE).astype(np.float32)
    path = make_nifti("one.nii.gz", data.reshape(*SHAPE, *extra), AFFINE)
    out = run_step(RealignPET(in_file=path, weights=[37.0]))
    made = nb.load(out.out_file)
    assert made.shape == SHAPE
    # The grid passes through ITK, whose direction cosines cost the sixth digit.
    np.testing.assert_allclose(made.get_fdata(), 37 * data, rtol=1e-4)
    np.testing.assert_allclose(made.affine, AFFINE, atol=1e-4)
    assert len(out.xfms) == 1
    assert out.facts == {"max_shift_mm": 0.0, "max_rotation_deg": 0.0}
    assert out.trace == {}


def test_a_broken_frame_is_named_with_its_file(make_nifti, tmp_path):
    data = np.ones((*SHAPE, 2), np.float32)
    data[1, 2, 3, 1] = np.nan
    step = RealignPET(in_file=make_nifti("dyn.nii.gz", data, AFFINE), weights=[0.5, 0.5])
    with pytest.raises(DataError, match="frame 2 of 2 has 1 voxels") as caught:
        step.run(cwd=str(tmp_path))
    assert any("dyn.nii.gz" in note for note in caught.value.__notes__)


HEAD = (44, 52, 40)
PLACE = oblique((4.0, 3.5, 4.5), degrees=10.0, origin=(-80.0, -95.0, -85.0))
MOVED = np.eye(4)
MOVED[:3, :3] = Rotation.from_euler("xyz", [4, -3, 2], degrees=True).as_matrix()
MOVED[:3, 3] = 3.0, -4.0, 2.0


def uptake(xyz_mm):
    """A head of four lobes, so that every turn is seen."""
    lobes = [((-20, 30, 10), 30), ((30, -20, 25), 25), ((0, -40, -30), 28), ((10, 20, -35), 20)]
    total = 20.0 * (np.linalg.norm(xyz_mm, axis=0) < 75)
    for middle, width in lobes:
        apart = xyz_mm - np.array(middle, float)[:, None, None, None]
        total = total + 60 * np.exp(-0.5 * (apart**2).sum(0) / width**2)
    return total


def test_a_frame_that_moved_is_laid_on_the_others(run_step, make_nifti):
    """Found is the way back; the mean then is that of frames that never moved."""
    where = centres_mm(HEAD, PLACE)
    back = np.einsum("ab,b...->a...", MOVED[:3, :3], where) + MOVED[:3, 3][:, None, None, None]
    still, moved = uptake(where), uptake(back)
    noise = np.random.default_rng(4).normal(0, 2, (3, *HEAD))
    data = np.stack([still, still, moved], -1) + np.moveaxis(noise, 0, -1)
    path = make_nifti("dyn.nii.gz", data.astype(np.float32), PLACE)
    out = run_step(RealignPET(in_file=path, weights=[1 / 3] * 3))
    found = [read_affine(Path(xfm)) for xfm in out.xfms]
    # All are laid on one mean, that lies somewhere between: what counts is the third to the first.
    points = 60 * np.vstack([np.eye(3), -np.eye(3)])
    apart = apply_affine(found[2], points) - apply_affine(np.linalg.inv(MOVED) @ found[0], points)
    assert np.linalg.norm(apart, axis=1).max() < 1.0  # a fifth of a voxel; 8 mm without
    assert 2 < out.facts["max_shift_mm"] < 7
    assert 2 < out.facts["max_rotation_deg"] < 7
    trace = out.trace
    assert trace["frames"] == [1, 2, 3]
    assert max(trace["shift_mm"]) == out.facts["max_shift_mm"]
    assert np.argmax(trace["rotation_deg"]) == 2
    # The third frame as it lay, and laid on the mean, where it looks like the others do.
    before, after, mean = (
        nb.load(trace[key]).get_fdata() for key in ("worst_before", "worst_after", "after")
    )
    np.testing.assert_allclose(before, data[..., 2], atol=1e-4)
    inner = (slice(8, -8),) * 3
    apart = [np.abs(one - 3 * mean / 3)[inner].mean() for one in (before, after)]
    assert apart[1] < 0.7 * apart[0]
    plain = nb.load(trace["before"]).get_fdata()
    np.testing.assert_allclose(plain, data.mean(-1), rtol=1e-4, atol=1e-4)


def test_frames_are_brought_onto_a_grid_each_by_its_own_way(run_step, make_nifti, tmp_path):
    """Linear images are interpolated exactly: 2 x + 5 of a place 6 mm away, and of its own."""
    where = centres_mm(SHAPE, AFFINE)
    data = np.stack([where[0], 2 * where[0] + 5, np.full(SHAPE, np.nan)], -1) + 300
    path = make_nifti("dyn.nii.gz", data.astype(np.float32), AFFINE)
    shift = np.eye(4)
    shift[0, 3] = 6.0
    xfms = [str(write_affine(m, tmp_path / f"{i}.mat")) for i, m in enumerate((np.eye(4), shift))]
    on = np.diag([3.0, 3.0, 3.0, 1.0])
    on[:3, 3] = where.mean((1, 2, 3)) - 12
    target = make_nifti("t1w.nii.gz", np.zeros((8, 9, 7), np.float32), on)
    step = ResampleFrames(
        in_file=path, weights=[0.25, 0.75, 0.0], xfms=xfms, transforms=[], reference=target
    )
    made = nb.load(run_step(step).out_file).get_fdata()
    x = centres_mm((8, 9, 7), on)[0]
    expected = 0.25 * x + 0.75 * (2 * (x + 6) + 5) + 300
    np.testing.assert_allclose(made, expected, rtol=1e-4)


def test_what_a_frame_did_not_see_is_missing(run_step, make_nifti, tmp_path):
    """On a grid given as numbers, twice as long as the scan."""
    path = make_nifti("one.nii.gz", np.full(SHAPE, 7.0, np.float32), np.diag([4.0, 4, 4, 1]))
    xfm = str(write_affine(np.eye(4), tmp_path / "x.mat"))
    grid = {"shape": [28, 17, 12], "affine": np.diag([4.0, 4, 4, 1]).tolist()}
    step = ResampleFrames(in_file=path, weights=[1.0], xfms=[xfm], transforms=[], grid=grid)
    made = nb.load(run_step(step).out_file).get_fdata()
    np.testing.assert_allclose(made[:14], 7.0, rtol=1e-5)
    assert np.isnan(made[14:]).all()


def test_headers_are_taken_as_they_are_where_that_is_asked_for(run_step, make_nifti):
    """The identity, and the information shared: less where the PET lies elsewhere."""
    ball = np.linalg.norm(centres_mm(SHAPE, AFFINE) - 0.0, axis=0) < 22
    t1w = make_nifti("t1w.nii.gz", (100.0 * ball + 5).astype(np.float32), AFFINE)
    mask = make_nifti("mask.nii.gz", ball.astype(np.uint8), AFFINE)
    costs = []
    for shift in (0, 3):
        pet = make_nifti(f"pet{shift}.nii.gz", np.roll(80.0 * ball + 9, shift, 0), AFFINE)
        step = RegisterPET(pet=pet, t1w=t1w, mask=mask, method="identity")
        found = run_step(step, f"lie{shift}")
        (numbers,) = re.findall(r"^Parameters: (.*)$", Path(found.xfm).read_text(), re.MULTILINE)
        identity = [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
        np.testing.assert_allclose([float(x) for x in numbers.split()], identity)
        assert found.facts["init"] == "header"
        costs.append(found.facts["cost"])
    assert costs[0] <= costs[1]


@pytest.mark.parametrize("shift", [0, 4])
def test_the_score_is_that_of_the_images(run_step, make_nifti, shift):
    where = centres_mm(HEAD, PLACE)
    image = uptake(where)
    files = {
        "pet": make_nifti("pet.nii.gz", np.roll(image, shift, 0).astype(np.float32), PLACE),
        "t1w": make_nifti("t1w.nii.gz", np.sqrt(image).astype(np.float32), PLACE),
        "mask": make_nifti("mask.nii.gz", (image > 20).astype(np.uint8), PLACE),
    }
    out = run_step(ScorePET(**files), f"score{shift}")
    assert out.flags == (["coreg_suspect"] if shift else [])
    assert out.facts["CoregistrationNMI"] > 1
    assert (out.facts["CoregistrationNMIMargin"] > 0) is (shift == 0)
