import pytest
import torch

from relad_bids.model.diffusion.noising import crop_alike, crop_brain
from relad_bids.model.learning.chance import Chance

GRID = (6, 9, 7)


def chance(n, seed=0):
    return Chance.of_step(seed=seed, step=0, positions=range(n))


def places(n):
    """Every voxel says where it is, (n, 3, I, J, K)."""
    axes = [torch.arange(side) for side in GRID]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(n, -1, -1, -1, -1)


def brain(n, *voxels):
    mask = torch.zeros(n, 1, *GRID, dtype=torch.bool)
    for voxel in voxels:
        mask[(slice(None), 0, *voxel)] = True
    return mask


@pytest.mark.parametrize("voxel", [(0, 0, 0), (5, 8, 6), (3, 4, 3), (0, 8, 2)])
@pytest.mark.parametrize("edge", [1, 2, 3, 6])
def test_a_box_lies_around_its_voxel_as_far_as_the_grid_goes(voxel, edge):
    """One voxel of brain: its box is known, and never smaller than asked."""
    (cut,) = crop_brain([places(1)], brain(1, voxel), edge=edge, chance=chance(1))
    for axis, (middle, side) in enumerate(zip(voxel, GRID, strict=True)):
        values = cut[0, axis].unique().tolist()
        assert len(values) == edge
        first = min(max(middle - edge // 2, 0), side - edge)
        assert values == list(range(first, first + edge))


@pytest.mark.parametrize("crop", ["alike", "brain"])
@pytest.mark.parametrize(("edge", "shape"), [(7, (6, 7, 7)), (9, (6, 9, 7)), (50, (6, 9, 7))])
def test_a_grid_shorter_than_the_box_stays_whole(crop, edge, shape):
    images, mask = [places(2)], brain(2, (1, 1, 1))
    if crop == "alike":
        (cut,) = crop_alike(images, edge=edge, chance=chance(2))
    else:
        (cut,) = crop_brain(images, mask, edge=edge, chance=chance(2))
    assert cut.shape == (2, 3, *shape)
    assert torch.equal(cut[:, 0, :, 0, 0], places(2)[:, 0, :, 0, 0])


def test_without_an_edge_nothing_is_cut_or_drawn():
    image, one, other = places(2), chance(2), chance(2)
    assert crop_brain([image], brain(2), edge=0, chance=one)[0] is image
    assert crop_alike([image], edge=0, chance=one)[0] is image
    assert torch.equal(one.uniform(), other.uniform())


def test_all_images_are_cut_at_the_same_place_and_participants_at_their_own():
    mask = brain(40, *[(i, j, k) for i in range(6) for j in range(9) for k in range(7)])
    images = [places(40), -places(40), mask]
    cut, mirrored, inside = crop_brain(images, mask, edge=3, chance=chance(40))
    assert torch.equal(cut, -mirrored)
    assert inside.shape == (40, 1, 3, 3, 3)
    corners = {tuple(one[:, 0, 0, 0].tolist()) for one in cut}
    # 4 x 7 x 5 corners: 40 draws of one of them cannot all be the same ten.
    assert len(corners) > 10


def test_every_voxel_of_the_brain_is_as_likely():
    """Two voxels far apart, 400 draws: a share of a half is known to four SD of 0.025."""
    mask = brain(400, (0, 0, 0), (5, 8, 6))
    (cut,) = crop_brain([places(400)], mask, edge=2, chance=chance(400))
    upper = (cut[:, 0, 0, 0, 0] > 0).float()
    assert upper.mean().item() == pytest.approx(0.5, abs=0.1)
    assert mask.any()


def test_a_participants_box_does_not_depend_on_the_others():
    mask = brain(3, (0, 0, 0), (5, 8, 6), (2, 4, 3))
    mask[1, 0, 3, 3, 3] = True
    (whole,) = crop_brain([places(3)], mask, edge=2, chance=chance(3, seed=5))
    last = Chance.of_step(seed=5, step=0, positions=[1])
    (alone,) = crop_brain([places(1)], mask[1:2], edge=2, chance=last)
    assert torch.equal(whole[1:2], alone)
