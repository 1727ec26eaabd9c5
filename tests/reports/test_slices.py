import nibabel as nb
import numpy as np
import pytest

from relad_bids.errors import EmptyRegionError
from relad_bids.reports.slices import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Mosaic,
    Volume,
    box_of,
    read_volume,
    to_canonical,
)

ORIENTATIONS = ("RAS", "LAS", "LPS", "PSR", "LIA")
SIZE_MM = (150.0, 180.0, 132.0)


def head(axes="RAS", zooms=(2.0, 3.0, 4.0), degrees=0.0, marker_mm=None, radius_mm=12.0):
    """A ball of radius 50 mm, and a bright one, on a grid of any axes; world millimetres."""
    shape = tuple(round(size / zoom) for size, zoom in zip(SIZE_MM, zooms, strict=True))
    affine = np.diag([*zooms, 1.0])
    affine[:3, 3] = -np.array(SIZE_MM) / 2
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.array([[c, -s, 0, 4], [s, c, 0, -7], [0, 0, 1, 11], [0, 0, 0, 1]]) @ affine
    world = np.tensordot(affine[:3, :3], np.indices(shape), 1) + affine[:3, 3][:, None, None, None]
    data = (np.linalg.norm(world.T - (4, -7, 11), axis=-1).T < 50).astype(np.float32)
    if marker_mm is not None:
        data[radius_mm > np.linalg.norm(world.T - marker_mm, axis=-1).T] = 10
    image = nb.Nifti1Image(data, affine)
    turn = nb.orientations.ornt_transform(
        nb.orientations.io_orientation(affine), nb.orientations.axcodes2ornt(axes)
    )
    return image.as_reoriented(turn)


def volume(**settings):
    image = head(**settings)
    return to_canonical(image.get_fdata(), image.affine)


def mosaic_of(mask, **settings):
    return Mosaic(box=box_of(mask, margin_mm=10.0), pixel_mm=1.0, **settings)


def brightest(mosaic, image, axis):
    """Middle of the marker in the tile that shows most of it, as shares of its size."""
    canvas = mosaic.draw(image)
    tiles = [tile for tile in mosaic.tiles if tile.axis == axis]
    best = max(tiles, key=lambda tile: np.nansum(canvas[tile.window] > 5))
    rows, columns = np.nonzero(canvas[best.window] > 5)
    return rows.mean() / best.height, columns.mean() / best.width


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_sides_are_where_the_letters_say(axes, degrees):
    """A marker at the left, front and top of the head, whatever the order of voxels."""
    turned = {"axes": axes, "degrees": degrees}
    mosaic = mosaic_of(volume(**turned))
    image = volume(**turned, marker_mm=(-25.0, 20.0, 35.0))
    down, across = brightest(mosaic, image, AXIAL)
    assert across < 0.4  # left on the left
    assert down < 0.4  # nose up
    down, across = brightest(mosaic, image, CORONAL)
    assert across < 0.4
    assert down < 0.4  # top of the head up
    down, across = brightest(mosaic, image, SAGITTAL)
    assert across < 0.4  # nose to the left
    assert down < 0.4


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_every_order_of_voxels_gives_the_same_picture(axes):
    marker = {"marker_mm": (20.0, -15.0, 5.0)}
    expected = mosaic_of(volume()).draw(volume(**marker))
    found = mosaic_of(volume(axes=axes)).draw(volume(axes=axes, **marker))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("zooms", [(0.9, 0.9, 5.5), (2.0, 2.0, 2.0), (1.0, 3.0, 1.0)])
def test_a_ball_is_round_on_the_page(zooms):
    """Both extents agree within one slice of the image, however thick it is."""
    ball = volume(zooms=zooms)
    mosaic = mosaic_of(ball)
    canvas = mosaic.draw(ball) > 0.5
    for axis in (AXIAL, CORONAL, SAGITTAL):
        tiles = [tile for tile in mosaic.tiles if tile.axis == axis]
        widest = max(tiles, key=lambda tile: canvas[tile.window].sum())
        inside = canvas[widest.window]
        height, width = (np.ptp(np.flatnonzero(inside.any(axis=n))) + 1 for n in (1, 0))
        assert height == pytest.approx(width, abs=max(zooms) + 1)
        assert width == pytest.approx(100, abs=max(zooms) + 2)


def test_slices_run_through_measured_voxels():
    ball = volume(zooms=(0.9, 0.9, 5.5))
    box = box_of(ball, margin_mm=10.0)
    positions = box.positions_mm(AXIAL, 7)
    planes = (positions - ball.affine[2, 3]) / 5.5
    np.testing.assert_allclose(planes, np.rint(planes), atol=1e-6)
    assert len(set(np.rint(planes))) == 7


def test_another_grid_shows_the_same_place():
    """A template of 1 mm and a head of 2 mm are drawn voxel over voxel."""
    marker = {"marker_mm": (10.0, 5.0, 15.0)}
    mosaic = mosaic_of(volume())
    fine = mosaic.draw(volume(zooms=(1.0, 1.0, 1.0), **marker)) > 5
    coarse = mosaic.draw(volume(zooms=(2.0, 1.5, 2.5), axes="PSR", **marker)) > 5
    overlap = 2 * (fine & coarse).sum() / (fine.sum() + coarse.sum())
    assert overlap > 0.9  # edges of a ball of 12 mm at 2.5 mm voxels


def test_what_is_not_known_is_nan():
    image = volume()
    half = image.data.copy()
    half[: half.shape[0] // 2] = np.nan
    mosaic = mosaic_of(image)
    canvas = mosaic.draw(Volume(half, image.affine))
    for tile in mosaic.tiles:
        if tile.axis == AXIAL:
            shown = canvas[tile.window]
            assert np.isnan(shown[:, : tile.width // 2 - 3]).all()
            assert np.isfinite(shown[tile.height // 2, tile.width // 2 + 3 : -12]).all()


def test_labels_are_not_blended():
    image = volume(marker_mm=(0.0, 0.0, 10.0))
    canvas = mosaic_of(image).draw(image, labels=True)
    assert set(np.unique(canvas[np.isfinite(canvas)])) == {0.0, 1.0, 10.0}


def test_tiles_stay_inside_and_apart():
    mosaic = mosaic_of(volume(), copies=2)
    covered = np.zeros(mosaic.shape, dtype=int)
    for tile in mosaic.tiles:
        assert covered[tile.window].shape == (tile.height, tile.width)
        covered[tile.window] += 1
    assert covered.max() == 1
    assert len(mosaic.tiles) == 2 * (7 + 7 + 6)


def test_an_empty_mask_is_refused():
    empty = Volume(np.zeros((5, 6, 7), dtype=np.float32), np.eye(4))
    with pytest.raises(EmptyRegionError, match="no voxel above"):
        box_of(empty, margin_mm=5.0)


def test_trailing_axes_of_length_one_are_read(tmp_path):
    image = nb.Nifti1Image(np.ones((4, 5, 6, 1), dtype=np.int16), np.diag([-1.0, 1, 1, 1]))
    image.to_filename(tmp_path / "t1w.nii.gz")
    found = read_volume(tmp_path / "t1w.nii.gz")
    assert found.data.shape == (4, 5, 6)
    assert found.affine[0, 0] == 1
