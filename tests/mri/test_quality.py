"""The packaged template as a participant: every figure of its place is known."""

import ants
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from relad_bids.core.grid import Grid
from relad_bids.core.quality_columns import FIGURES
from relad_bids.data.template import template_file
from relad_bids.mri.linear import apply_affine, write_affine
from relad_bids.mri.quality import flair_figures, standard, t1w_figures, template_figures
from relad_bids.mri.resample import grid_of, like, reference_image, resample

AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xz", [10, -6], degrees=True).as_matrix() * 1.05
AFFINE[:3, 3] = [4.0, -31.0, 12.0]
"""Template mm -> the participant's mm."""


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """The template's T1w, brain and tissue, moved, on a left-handed grid of 3 mm."""
    file = write_affine(AFFINE, tmp_path_factory.mktemp("brain") / "affine.mat")
    back = write_affine(np.linalg.inv(AFFINE), file.with_name("back.mat"))
    affine = np.diag([-3.0, 3.0, 2.5, 1.0])
    affine[:3, 3] = [110.0, -180.0, -95.0]
    reference = reference_image(Grid((74, 80, 92), affine))
    bring = {
        name: resample(ants.image_read(str(template_file(name))), reference, [back])
        for name in ("T1w", "GM", "WM")
    }
    t1w = bring["T1w"]
    images = {
        "t1w": t1w,
        "mask": like(t1w, t1w.numpy() > 0.5 * np.median(t1w.numpy()[t1w.numpy() > 0])),
        "gm": bring["GM"] / 255,
        "wm": bring["WM"] / 255,
    }
    return images, file


def figures(brain, **changed):
    images, file = brain
    return template_figures(**{**images, **changed}, forward=[file], affine_file=file)


@pytest.fixture(scope="module")
def placed(brain):
    return figures(brain)


def test_the_template_lies_on_itself(placed):
    """Two interpolations, at 3 and 2 mm, take a tenth away; nothing is bent or cut off."""
    for name in ("mask_dice", "gm_dice", "wm_dice", "template_corr"):
        assert placed[name] > 0.9
    assert placed["template_nmi"] > 1.25
    for name in ("jacobian_p01", "jacobian_p99", "jacobian_min"):
        assert placed[name] == pytest.approx(1, abs=1e-5)  # points in single precision
    assert placed["jacobian_folded"] == 0
    assert placed["brain_in_fov"] == placed["cerebellum_in_fov"] == 1


def test_no_figure_of_a_good_brain_is_flagged(placed):
    assert [n for n, value in placed.items() if FIGURES[n].state(value) == "unusual"] == []
    assert set(placed) <= set(FIGURES)


def test_a_shifted_registration_is_seen(brain, tmp_path):
    """20 mm beside: each figure of similarity leaves its range."""
    images, _ = brain
    moved = AFFINE.copy()
    moved[:3, 3] += [0, 20, 0]
    found = template_figures(**images, forward=[write_affine(moved, tmp_path / "moved.mat")])
    for name in ("mask_dice", "template_corr", "gm_dice", "wm_dice"):
        assert FIGURES[name].state(found[name]) == "unusual", name
    assert found["t1w_left_right"] is None


def cropped(image, *, lowest, zeroed):
    """Lose the slices below an index, in the file or as zeros."""
    if zeroed:
        values = image.numpy().copy()
        values[:, :, :lowest] = 0
        return like(image, values)
    return ants.crop_indices(image, [0, 0, lowest], list(image.shape))


@pytest.mark.parametrize("zeroed", [False, True])
@pytest.mark.parametrize("lowest", [24, 28])
def test_the_share_of_the_cerebellum_in_view_is_counted(brain, lowest, zeroed):
    """The share of its points whose slice is left, counted on the template itself."""
    images, _ = brain
    cut = {name: cropped(image, lowest=lowest, zeroed=zeroed) for name, image in images.items()}
    found = figures(brain, **cut)
    known = standard()
    for column, inside in (
        ("cerebellum_in_fov", known.cerebellum), ("brain_in_fov", known.brain)
    ):  # fmt: skip
        points = apply_affine(AFFINE, apply_affine(known.grid.affine, np.argwhere(inside)))
        slices = apply_affine(np.linalg.inv(grid_of(images["t1w"]).affine), points)[:, 2]
        # Zeros begin where the brain does not reach: the box is that of the file or wider.
        assert found[column] == pytest.approx((slices >= lowest - 0.5).mean(), abs=0.002)
    assert FIGURES["cerebellum_in_fov"].state(found["cerebellum_in_fov"]) == "unusual"


def test_the_line_says_what_is_in_view_and_not_the_warp(brain, tmp_path):
    """A warp that leads elsewhere changes nothing; without a line it is all there is."""
    images, file = brain
    moved = AFFINE.copy()
    moved[2, 3] -= 60
    elsewhere = [write_affine(moved, tmp_path / "elsewhere.mat")]
    assert template_figures(**images, forward=elsewhere, affine_file=file)["brain_in_fov"] == 1
    assert template_figures(**images, forward=elsewhere)["brain_in_fov"] < 0.8


def test_a_mirrored_head_lies_worse(brain, placed):
    images, file = brain
    t1w = images["t1w"]
    known = standard()
    flip = reference_image(known.grid)
    back = write_affine(np.linalg.inv(AFFINE), file.with_name("back.mat"))
    mirrored = like(flip, resample(t1w, flip, [file]).numpy()[::-1])
    found = figures(brain, t1w=resample(mirrored, t1w, [back]))
    # The mirror is interpolated twice more, and its margin is smaller for it.
    assert placed["t1w_left_right"] > 0.1
    assert found["t1w_left_right"] < -0.1


def test_both_spaces_have_their_template():
    other = standard("MNI152NLin6Asym")
    assert other.grid.shape == standard().grid.shape
    assert not np.array_equal(other.t1w, standard().t1w)
    x = other.grid.affine[0, 0] * np.arange(other.grid.shape[0]) + other.grid.affine[0, 3]
    np.testing.assert_allclose(x, -x[::-1])  # symmetric, so that a flip is a mirror
    for known in (other, standard()):
        # 2 mm voxels of a brain of 1.9 L, and of the packaged cerebellum of 169 mL
        assert known.brain.sum() * 8e-3 == pytest.approx(1860, rel=0.05)
        assert known.cerebellum.sum() * 8e-3 == pytest.approx(169, rel=0.03)


def noisy(images, sigma):
    rng = np.random.default_rng(4)
    values = np.where(images["wm"].numpy() > 0.5, 90.0, 60.0) * (images["mask"].numpy() > 0)
    return like(images["t1w"], np.hypot(values + rng.normal(0, sigma, values.shape),
                                        rng.normal(0, sigma, values.shape)))  # fmt: skip


def test_noise_and_contrast_of_a_t1w(brain):
    """Two tissues of 60 and 90 with noise of 4 in each channel, in air."""
    images, _ = brain
    scanned = noisy(images, 4.0)
    tissue = {name: images[name] for name in ("mask", "gm", "wm")}
    found = t1w_figures(scanned, scanned, **tissue)
    assert found["t1w_voxel_mm"] == pytest.approx(3)
    # Rician noise of a bright tissue is nearly Gaussian.
    assert found["t1w_snr_wm"] == pytest.approx(90 / 4, rel=0.02)
    # The air's deviation rests on the voxels 10 mm off the head; interpolated maps share borders.
    assert found["t1w_snr_air"] == pytest.approx(90 / 4, rel=0.03)
    assert found["t1w_snr_gm"] == pytest.approx(60 / 4, rel=0.1)  # its edge mixes with air
    grey_sd = 60 / found["t1w_snr_gm"]
    expected = 30 / np.sqrt(4**2 + grey_sd**2 + (4 * 0.655) ** 2)
    assert found["t1w_cnr"] == pytest.approx(expected, rel=0.03)
    assert found["t1w_inu_range"] == pytest.approx(0, abs=1e-6)
    assert 0 < found["t1w_efc"] < 1
    assert found["t1w_fber"] > 100
    assert set(found) <= set(FIGURES)


def test_what_was_prepared_elsewhere_tells_less(brain):
    """Without the image as scanned there is neither air nor field."""
    images, _ = brain
    tissue = {name: images[name] for name in ("mask", "gm", "wm")}
    found = t1w_figures(None, noisy(images, 4.0), **tissue)
    unknown = {name for name, value in found.items() if value is None}
    assert unknown == {"t1w_snr_air", "t1w_efc", "t1w_fber", "t1w_inu_range"}


def test_a_flair_and_its_field_of_view(brain, tmp_path):
    """A FLAIR that lacks the slices below one of the T1w."""
    images, _ = brain
    t1w, identity = images["t1w"], write_affine(np.eye(4), tmp_path / "identity.mat")
    contrast = np.where(images["wm"].numpy() > 0.5, 60.0, 90.0) * (images["mask"].numpy() > 0)
    flair = like(t1w, contrast + np.random.default_rng(1).normal(0, 2, contrast.shape))
    cut = cropped(flair, lowest=40, zeroed=False)
    on_t1w = resample(cut, t1w, [identity])
    rest = [images[name] for name in ("t1w", "mask", "gm", "wm")]
    found = flair_figures(cut, on_t1w, *rest, xfm=identity, scanned=cut)
    mask = images["mask"].numpy() > 0
    # The points looked at are 4 mm apart, and a plane of them holds 3 % of a brain.
    assert found["flair_brain_in_fov"] == pytest.approx(
        mask[:, :, 40:].sum() / mask.sum(), abs=0.02
    )
    whole = flair_figures(flair, flair, *rest, xfm=identity)
    assert whole["flair_brain_in_fov"] == 1
    assert whole["flair_inu_range"] is None
    assert whole["flair_nmi"] > found["flair_nmi"]
    assert set(found) <= set(FIGURES)
