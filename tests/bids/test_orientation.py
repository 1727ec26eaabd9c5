import nibabel as nb
import numpy as np
import pytest
from toys import oblique

from relad_bids.bids.orientation import swaps_sides

AFFINE = oblique((2.0, 3.0, 4.0), degrees=15.0, origin=(-20.0, 5.0, 3.0))
UPRIGHT = np.diag([2.0, 3.0, 4.0, 1.0])
MIRRORED = AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0])


def header(*, sform, qform, codes):
    made = nb.Nifti1Header()
    made.set_data_shape((5, 6, 7))
    if qform is not None:
        made.set_qform(qform, code=1)
    if sform is not None:
        made.set_sform(sform, code=1)
    made["sform_code"], made["qform_code"] = codes
    return made


@pytest.mark.parametrize(
    ("sform", "qform", "codes", "swapped"),
    [
        (AFFINE, AFFINE, (1, 1), False),
        (AFFINE, MIRRORED, (1, 0), True),
        (MIRRORED, AFFINE, (0, 1), True),
        (MIRRORED, UPRIGHT, (0, 1), True),  # no rotation: its quaternion is 0, and it is on
        (AFFINE, AFFINE, (1, 0), False),
        (AFFINE, AFFINE, (0, 2), False),
        (MIRRORED, None, (1, 0), False),  # a qform that was never filled in
        (None, MIRRORED, (0, 1), False),  # an sform that was never filled in
        (AFFINE, MIRRORED, (1, 1), False),  # refused elsewhere: both are on
    ],
)
def test_only_an_unused_orientation_that_swaps_is_told(sform, qform, codes, swapped):
    assert swaps_sides(header(sform=sform, qform=qform, codes=codes)) is swapped


def test_both_handednesses_of_storage_are_fine():
    """LAS voxels are as good as RAS ones, as long as the header says so."""
    for affine in (AFFINE, MIRRORED):
        assert not swaps_sides(header(sform=affine, qform=affine, codes=(1, 0)))
