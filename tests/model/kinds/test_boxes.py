"""Learning from boxes: what each kind then sees, and that whole boxes change nothing."""

import pytest
import small_models
import torch
from toy_turns import Ear, a_turn

from relad_bids.errors import ConfigError
from relad_bids.model.data import Batch, Cohort
from relad_bids.model.learning.training import TrainConfig, train
from relad_bids.model.networks.diffusion_unet import ConditionalDiffusionUNet
from relad_bids.model.registry import KINDS

SHAPE = (18, 17, 20)
EDGE = 12
BOXED = ("unet", "pix2pix", "ddpm", "ficd", "ddgan", "rela")


def made(kind):
    torch.manual_seed(3)
    objective = {"rela": {"informative": 1.0}}.get(kind, {})
    model = small_models.small(kind, shape=SHAPE, objective=objective)
    for name, buffer in model.named_buffers():
        if name.endswith("prior"):
            buffer.copy_(torch.rand(buffer.shape) - 0.8)
    return model


@pytest.fixture
def batch():
    """Brains at different places, and nothing outside them."""
    generator = torch.Generator().manual_seed(1)
    mri, pet = (torch.rand(3, 2, *SHAPE, generator=generator) * 2 - 1 for _ in range(2))
    mask = torch.zeros(3, 1, *SHAPE, dtype=torch.bool)
    mask[0, :, :4, :4, :4] = True
    mask[1, :, 14:, 13:, 16:] = True
    mask[2, :, 5:12, 5:12, 5:12] = True
    mri = torch.where(mask, mri, -1)
    return Batch(mri, pet, torch.ones(3, 2, dtype=torch.bool), mask)


def run(model, batch, patch):
    ear = Ear(model)
    model.fit(batch, a_turn(len(batch.mri), ear, patch=patch))
    return ear


@pytest.mark.parametrize("kind", sorted(set(BOXED) - {"ddgan"}))
def test_a_box_as_large_as_the_grid_is_the_grid(kind, batch):
    """To the bit; ddgan draws its noise after the box, so that its draws are others."""
    whole, boxed = (run(made(kind), batch, patch) for patch in (0, 20))
    assert boxed.losses == whole.losses
    assert boxed.log == whole.log


@pytest.mark.parametrize("kind", BOXED)
def test_the_networks_see_a_box_of_brain_and_where_it_is(kind, batch):
    """Position says which voxels of the participant's own MRI these are."""
    model, seen = made(kind), []
    for module in model.modules():
        if isinstance(module, ConditionalDiffusionUNet):
            module.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    if hasattr(model, "unet"):
        model.unet.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    run(model, batch, EDGE)
    (conditions,) = seen
    assert conditions.shape[-3:] == (EDGE,) * 3
    # MRI 2, then the diffusion's m and what is expected, before the position.
    at = 2 if hasattr(model, "unet") else 4
    for b in range(3):
        first = [
            round((conditions[b, at + axis, 0, 0, 0].item() + 1) / 2 * (side - 1))
            for axis, side in enumerate(SHAPE)
        ]
        box = tuple(slice(a, a + EDGE) for a in first)
        assert torch.equal(conditions[b, :2], batch.mri[(b, slice(None), *box)])
        assert batch.mask[(b, 0, *box)].any()


@pytest.mark.parametrize("kind", BOXED)
def test_the_regression_sees_all(kind, batch):
    model, seen = made(kind), []
    model.linear_part().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    run(model, batch, EDGE)
    assert all(torch.equal(mri, batch.mri) for mri in seen)
    assert seen


def test_the_critic_sees_the_same_box(batch):
    for kind in ("pix2pix", "rela", "ddgan"):
        model, seen = made(kind), []
        model.critic.register_forward_pre_hook(lambda _, given, to=seen: to.append(given[0]))
        run(model, batch, EDGE)
        assert {image.shape[-3:] for image in seen} == {(EDGE,) * 3}


def test_the_losses_are_those_of_the_box(batch):
    """A network that says nothing more, cut by hand: the start's error there over the spread."""
    model = made("unet")
    model.gain.data.zero_()
    seen = []
    model.unet.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 2:5]))
    ear = run(model, batch, EDGE)
    corner = seen[0][:, :, 0, 0, 0]
    errors = []
    for b in range(3):
        first = [
            round((corner[b, axis].item() + 1) / 2 * (side - 1)) for axis, side in enumerate(SHAPE)
        ]
        box = (slice(None), *(slice(a, a + EDGE) for a in first))
        cut = Batch(
            batch.mri[b][box][None], batch.pet[b][box][None], batch.available[b : b + 1],
            batch.mask[b][box][None],
        )  # fmt: skip
        off = (model.start.prior[box][None] - cut.pet) * cut.mask
        voxel = off.square().sum((2, 3, 4)) / cut.mask.sum((2, 3, 4))
        cells = torch.nn.functional.avg_pool3d(off, 4)
        weight = torch.nn.functional.avg_pool3d(cut.mask.float(), 4)
        mean = torch.where(weight > 0, cells / weight.clamp_min(1e-6), 0)
        coarse = (mean.square() * weight).sum((2, 3, 4)) / weight.sum((2, 3, 4))
        errors.append((voxel + coarse) / 2)
    assert ear.losses["network"] == pytest.approx(torch.cat(errors).mean().item(), rel=1e-5)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(BOXED)))
def test_the_others_say_that_they_cannot(kind, tmp_path):
    assert KINDS[kind].learns_from_boxes is False
    nobody = Cohort(lambda index: None, range(2))
    config = TrainConfig(steps=1, patch_voxels=16)
    name = KINDS[kind].__name__
    with pytest.raises(ConfigError, match=rf"patch_voxels is 16, and a {name} cannot learn from"):
        train(
            small_models.small(kind), nobody, config, start_from=nobody, seed=1,
            state_file=tmp_path / "state.pt",
        )  # fmt: skip
