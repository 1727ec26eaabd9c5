import ants
import numpy as np
import pytest

from relad_bids.data.template import ATLAS_SPACE, SPACE, SPACES, template_file
from relad_bids.mri.head_template import head_template
from relad_bids.mri.linear import apply_affine, read_affine, write_affine
from relad_bids.mri.registration import register_atlas, register_rigid, register_to_template
from relad_bids.mri.resample import carry_points, grid_of, like, resample

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


@pytest.fixture
def person(tmp_path):
    """The template's brain made smaller, its mask, and the affine that undoes it."""
    small = np.diag([0.93, 0.95, 0.9, 1.0])
    template = head_template(stripped=True)
    file = write_affine(np.linalg.inv(small), tmp_path / "small.mat")
    brain = resample(template.head, template.head, [file])
    initial = write_affine(small, tmp_path / "initial.mat")
    return brain, like(brain, brain.numpy() > 0.1), initial


def points_to_template(points, xfm):
    return carry_points(points, [xfm.inverse])


def to_template(image, mask, initial, folder, **settings):
    folder.mkdir()
    return register_to_template(
        image, mask, initial=initial, out_dir=folder, sloppy=True, **settings
    )


def test_a_lesion_does_not_bend_the_warp(person, tmp_path):
    """A dark ball of 34 mL; the truth is the warp of the same brain without it.

    Measured 0.3 mm against 1.5 mm, a coarse warp.
    """
    brain, mask, initial = person
    places = apply_affine(grid_of(brain).affine, np.argwhere(mask.numpy() > 0))
    away_mm = np.linalg.norm(places - [25.0, -20.0, 25.0], axis=1)
    lesion = np.zeros(brain.shape)
    lesion[mask.numpy() > 0] = away_mm < 20.0
    dark = like(brain, np.where(lesion > 0, 0.05 * brain.numpy().max(), brain.numpy()))
    near = places[away_mm < 30.0][::5]
    whole = points_to_template(near, to_template(brain, mask, initial, tmp_path / "a"))
    error_mm = {}
    for name, settings in (("blind", {}), ("told", {"lesion": like(brain, lesion)})):
        xfm = to_template(dark, mask, initial, tmp_path / name, **settings)
        moved = points_to_template(near, xfm)
        error_mm[name] = np.linalg.norm(moved - whole, axis=1).mean()
    assert error_mm["told"] < 0.5 * error_mm["blind"]


def test_an_empty_lesion_changes_nothing(person, tmp_path):
    brain, mask, initial = person
    empty = like(brain, np.zeros(brain.shape))
    files = [
        to_template(brain, mask, initial, tmp_path / name, lesion=lesion).forward.read_bytes()
        for name, lesion in (("a", None), ("b", empty))
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("axes", ["LPS", "PSR", "LIA"])
def test_the_order_of_the_voxels_does_not_move_the_warp(person, tmp_path, axes):
    """Same voxels, other axes: both are brought to one grid first."""
    brain, mask, initial = person
    first = to_template(brain, mask, initial, tmp_path / "a")
    stored = [ants.reorient_image2(image, axes) for image in (brain, mask)]
    second = to_template(*stored, initial, tmp_path / "b")
    places = apply_affine(grid_of(brain).affine, np.argwhere(mask.numpy() > 0)[::500])
    # Rounding of the affine, then of the optimiser: hundredths of a millimetre.
    np.testing.assert_allclose(
        points_to_template(places, first), points_to_template(places, second), atol=0.1
    )


@pytest.mark.parametrize("axes", ["LPS", "PSR", "LIA"])
def test_the_order_of_the_voxels_does_not_move_a_rigid_transform(pair, tmp_path, axes):
    moving, fixed = pair
    places = brain_points(fixed)
    moved = []
    for image in (moving, ants.reorient_image2(moving, axes)):
        found = read_affine(register_rigid(image, fixed, out_dir=tmp_path).transform_file)
        moved.append(apply_affine(found, places))
    np.testing.assert_allclose(moved[0], moved[1], atol=0.05)


@pytest.mark.parametrize("away", [(31.0, 0.0, 0.0), (-31.0, 31.0, -31.0)])
def test_headers_31_mm_apart_are_survived(pair, tmp_path, away):
    """A third of a voxel of these balls within balls, which hold little against a turn."""
    moving, fixed = pair
    moving.set_origin(tuple(np.array(moving.origin) + np.array(away) * [-1, -1, 1]))
    points = brain_points(fixed)
    found = read_affine(register_rigid(moving, fixed, out_dir=tmp_path).transform_file)
    error_mm = np.linalg.norm(apply_affine(found, points) - (points + SHIFT_MM + away), axis=1)
    assert error_mm.mean() < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("away", [(31.0, -31.0, 31.0), (0.0, 40.0, -120.0)])
def test_a_brain_elsewhere_in_the_scanner_finds_the_template(person, tmp_path, away):
    """Without a first guess: the search for a start sees the tissue, not the header."""
    brain, mask, initial = person
    places = apply_affine(grid_of(brain).affine, np.argwhere(mask.numpy() > 0)[::500])
    truth = apply_affine(np.linalg.inv(read_affine(initial)), places)
    for image in (brain, mask):
        image.set_origin(tuple(np.array(image.origin) + np.array(away) * [-1, -1, 1]))
    xfm = to_template(brain, mask, None, tmp_path / "a")
    error_mm = np.linalg.norm(points_to_template(places + np.array(away), xfm) - truth, axis=1)
    # The same brain with its own affine: what a coarse warp of a smooth brain may add.
    assert error_mm.mean() < 1.5


def test_histograms_are_never_matched(pair, tmp_path, monkeypatch):
    """A healthy template's histogram would take the white matter lesions with it."""
    seen = []
    run = ants.registration

    def watched(arguments, *rest):
        seen.append(arguments)
        return run(arguments, *rest)

    monkeypatch.setattr(ants, "registration", watched)
    moving, fixed = pair
    register_rigid(moving, fixed, out_dir=tmp_path)
    assert len(seen) == 3
    for arguments in seen:
        assert arguments[arguments.index("--use-histogram-matching") + 1] == "0"
        assert arguments.count("--use-histogram-matching") == 1


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
