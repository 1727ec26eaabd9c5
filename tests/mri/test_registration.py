import ants
import numpy as np
import pytest

from relad_bids.data.template import ATLAS_SPACE, SPACE, SPACES, template_file
from relad_bids.mri.head_template import head_template
from relad_bids.mri.linear import apply_affine, read_affine, write_affine
from relad_bids.mri.registration import register_atlas, register_rigid, register_to_template
from relad_bids.mri.resample import grid_of, like, resample

SHIFT_MM = np.array([5.0, -3.0, 2.0])
"""How the fixture ``pair`` places its FLAIR-like head against the T1w-like one."""


def brain_points(fixed):
    return apply_affine(grid_of(fixed).affine, np.argwhere(fixed.numpy() > 0)[::50])


def test_known_shift_is_found_across_contrasts(pair, tmp_path):
    """Half a millimetre: an eighth of the voxels these images have."""
    moving, fixed = pair
    found = read_affine(register_rigid(moving, fixed, out_dir=tmp_path).transform_file)
    points = brain_points(fixed)
    error_mm = np.linalg.norm(apply_affine(found, points) - (points + SHIFT_MM), axis=1)
    assert error_mm.mean() < 0.5
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-3)


def test_headers_far_apart_are_survived(pair, tmp_path):
    moving, fixed = pair
    far_mm = np.array([0.0, 40.0, -120.0])
    moving.set_origin(tuple(np.array(moving.origin) + far_mm * [-1, -1, 1]))
    result = register_rigid(moving, fixed, out_dir=tmp_path)
    points = brain_points(fixed)
    found = apply_affine(read_affine(result.transform_file), points)
    error_mm = np.linalg.norm(found - (points + SHIFT_MM + far_mm), axis=1)
    assert error_mm.mean() < 0.5
    assert result.start == "centre of mass"


def test_there_and_back_again(tmp_path):
    """Forward then inverse is no change: a warp and its inverse agree to a fraction of 2 mm."""
    template = head_template(stripped=True)
    small = np.diag([0.93, 0.95, 0.9, 1.0])
    file = write_affine(np.linalg.inv(small), tmp_path / "small.mat")
    brain = resample(template.head, template.head, [file])
    mask = like(brain, brain.numpy() > 0.1)
    initial = write_affine(small, tmp_path / "initial.mat")
    xfm = register_to_template(brain, mask, initial=initial, out_dir=tmp_path, sloppy=True)
    ramp = like(brain, grid_ramp(brain))
    back = resample(ramp, brain, [xfm.forward, xfm.inverse]).numpy()
    inside = mask.numpy() > 0
    assert np.abs(back - ramp.numpy())[inside].mean() < 0.3
    onto = resample(brain, template.head, [xfm.forward]).numpy()
    assert np.corrcoef(onto.ravel(), template.head.numpy().ravel())[0, 1] > 0.95


def brain_of(space):
    return ants.image_read(str(template_file("T1w", space=space)))


def likeness(image, space):
    """Correlation of an image on a template's grid with its brain."""
    brain = brain_of(space)
    inside = brain.numpy() > 0
    return np.corrcoef(image.numpy()[inside], brain.numpy()[inside])[0, 1]


def test_a_brain_goes_to_the_space_that_is_asked_for(tmp_path):
    """The same person, laid on both templates: like each one where that one was asked for."""
    small = write_affine(np.diag([1.06, 1.05, 1.08, 1.0]), tmp_path / "small.mat")
    person = resample(brain_of(SPACE), brain_of(SPACE), [small])
    mask = like(person, person.numpy() > 0)
    initial = write_affine(np.diag([0.94, 0.95, 0.93, 1.0]), tmp_path / "initial.mat")
    forward = {}
    for space in SPACES:
        (tmp_path / space).mkdir()
        xfm = register_to_template(
            person, mask, space=space, initial=initial, out_dir=tmp_path / space, sloppy=True
        )
        forward[space] = xfm.forward
    for space in SPACES:
        likes = {
            k: likeness(resample(person, brain_of(space), [forward[k]]), space) for k in SPACES
        }
        (other,) = set(SPACES) - {space}
        # Measured .92 against .84 in 2009c, .81 against .76 in 6.
        assert likes[space] > likes[other] + 0.02


@pytest.mark.slow
def test_the_parcellation_fits_better_once_it_is_led_to_the_other_space(tmp_path):
    """White matter of its labels is where 2009c is bright; as they lie, less of it."""
    labels = ants.image_read(str(template_file("aparcaseg")))
    brain = brain_of(SPACE)
    xfm = register_atlas(SPACE, out_dir=tmp_path)
    bright = brain.numpy() > np.quantile(brain.numpy()[brain.numpy() > 0], 0.6)
    shares = []
    for way in ([], [xfm.forward]):
        white = np.isin(resample(labels, brain, way, interpolation="nearest").numpy(), (2, 41))
        shares.append(bright[white].mean())
    # Measured .823 against .787.
    assert shares[1] > shares[0] + 0.02


def test_the_way_of_the_parcellation_is_one_of_templates(tmp_path):
    """From its space to the other: the brain of the one becomes like that of the other."""
    xfm = register_atlas(SPACE, out_dir=tmp_path, sloppy=True)
    onto = [resample(brain_of(ATLAS_SPACE), brain_of(SPACE), way) for way in ([], [xfm.forward])]
    assert likeness(onto[1], SPACE) > likeness(onto[0], SPACE) + 0.05
    back = resample(brain_of(SPACE), brain_of(ATLAS_SPACE), [xfm.inverse])
    assert likeness(back, ATLAS_SPACE) > likeness(onto[0], SPACE)


def grid_ramp(image):
    """Return the x coordinate of every voxel in mm, well above 0."""
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    return (
        apply_affine(grid_of(image).affine, index.reshape(-1, 3))[:, 0].reshape(image.shape)
        + 500.0
    )


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("scan", ["p12_ses-1", "p12_ses-2", "p01_ses-1"])
def test_published_coregistrations_are_met(real_data, tmp_path, scan):
    """The published files resample T1w onto FLAIR; ours go the other way. 1.5 mm: half a slice."""
    import ants

    subject, session = scan.split("_")
    anat = real_data / "bids-mri" / f"sub-{subject}" / session / "anat"
    t1w, flair = (
        ants.image_read(str(anat / f"sub-{scan}_{name}.nii.gz")) for name in ("T1w", "FLAIR")
    )
    found = read_affine(register_rigid(flair, t1w, out_dir=tmp_path).transform_file)
    published = read_affine(real_data / "truth" / f"sub-{scan}_from-T1w_to-FLAIR_affine.txt")
    tissue = np.argwhere(t1w.numpy() > 100)[::1000]
    points = apply_affine(grid_of(t1w).affine, tissue)
    there = apply_affine(np.linalg.inv(published), points)
    assert np.linalg.norm(apply_affine(found, points) - there, axis=1).mean() < 1.5
