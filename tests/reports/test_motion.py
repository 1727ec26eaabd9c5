import io
from dataclasses import replace

import nibabel as nb
import numpy as np
import pytest
from PIL import Image
from toys import centres_mm, oblique

from relad_bids.pet.frames import worst_frame
from relad_bids.reports.motion import Motion, moved_figure, trace_figure

SHAPE = (40, 44, 30)
AFFINE = oblique((4.0, 4.5, 5.0), degrees=8.0, origin=(-80.0, -98.0, -74.0))


@pytest.fixture
def motion(tmp_path):
    where = centres_mm(SHAPE, AFFINE) - centres_mm(SHAPE, AFFINE).mean((1, 2, 3), keepdims=True)

    def write(name, shift_mm=0.0):
        moved = where - np.array([shift_mm, 0, 0])[:, None, None, None]
        head = 100.0 * (np.linalg.norm(moved, axis=0) < 50)
        nb.Nifti1Image(head.astype(np.float32), AFFINE).to_filename(tmp_path / f"{name}.nii.gz")
        return tmp_path / f"{name}.nii.gz"

    return Motion(
        frames=(3, 4, 6), shift_mm=(0.2, 8.0, 1.0), rotation_deg=(1.0, 2.0, 0.3),
        before=write("before", 2), after=write("after"),
        worst_before=write("worst", 25.0), worst_after=write("laid"),
    )  # fmt: skip


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def reddish(image):
    return (image[..., 0] - image[..., 1:].max(-1) > 60)[:-40].sum()  # the legend lies below


def test_the_frame_that_moved_most_is_told(motion):
    assert motion.worst == 4
    assert worst_frame([2.0, 1.0], [0.0, 3.1]) == 1
    assert worst_frame([3.2, 1.0], [0.0, 3.1]) == 0


def test_its_line_leaves_the_mean_before_and_not_after(motion):
    """Laid on the mean both lines run together: the frame's alone is drawn over the other."""
    shown = pixels(moved_figure(motion, tracer="pib"))
    still = pixels(moved_figure(replace(motion, worst_before=motion.before), tracer="pib"))
    assert shown.shape == still.shape
    assert reddish(shown) > 0
    upper = slice(0, shown.shape[0] // 6)
    assert (np.abs(shown - still)[upper] > 80).any()
    assert shown.shape[1] > shown.shape[0]


def test_both_lines_and_the_bound_are_in_the_trace(motion):
    calm = replace(motion, shift_mm=(0.1, 0.2, 0.1), rotation_deg=(0.1, 0.1, 0.2))
    one, other = (
        pixels(trace_figure(motion, tracer="pib")),
        pixels(trace_figure(calm, tracer="pib")),
    )
    assert one.shape == other.shape
    assert (np.abs(one - other) > 80).any()
