import ants
import numpy as np
import pytest

from relad_bids.mri.h5_times import clear_times, lookup3


@pytest.mark.parametrize(
    ("text", "hashed"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],
)
def test_lookup3_gives_its_authors_values(text, hashed):
    """Published in the driver of lookup3.c (May 2006)."""
    assert lookup3(text) == hashed


def test_file_reads_the_same_without_its_times(tmp_path):
    transform = ants.create_ants_transform(
        transform_type="AffineTransform", dimension=3, translation=(1.0, -2.0, 3.0)
    )
    path = tmp_path / "a.h5"
    ants.write_transform(transform, str(path))
    before = path.read_bytes()
    clear_times(path)
    assert path.read_bytes() != before
    assert len(path.read_bytes()) == len(before)
    np.testing.assert_allclose(
        ants.read_transform(str(path)).apply_to_point((0, 0, 0)), (1.0, -2.0, 3.0)
    )


def test_data_that_look_like_a_header_are_left_alone(tmp_path):
    path = tmp_path / "b.h5"
    path.write_bytes(b"xx" + b"OHDR\x02\x20" + bytes(range(1, 60)))
    before = path.read_bytes()
    clear_times(path)
    assert path.read_bytes() == before
