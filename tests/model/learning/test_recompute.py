import pytest
import small_models
import torch
from toy_turns import Ear, a_turn

from relad_bids.model.data import Batch
from relad_bids.model.learning.recompute import recomputed

KINDS = ("unet", "pix2pix", "cyclegan", "ddpm", "ddgan", "rela", "rela-latent", "rela-published")
SHAPE = small_models.SHAPE


def made(kind):
    torch.manual_seed(3)
    objective = {"rela": {"informative": 1.0}, "rela-published": {"adversarial_from": 0}}
    return small_models.small(kind, objective=objective.get(kind, {})).train()


def batch():
    generator = torch.Generator().manual_seed(1)
    mri, pet = (torch.rand(2, 2, *SHAPE, generator=generator) * 2 - 1 for _ in range(2))
    mask = torch.ones(2, 1, *SHAPE, dtype=torch.bool)
    return Batch(mri, pet, torch.ones(2, 2, dtype=torch.bool), mask)


def gradients(kind, again, step):
    """What both losses of a step leave in each weight, and the buffers after it."""
    model, found = made(kind), {}

    def watch(part, loss):
        found[part] = {n: w.grad for n, w in model.named_parameters() if w.grad is not None}

    turn = a_turn(2, Ear(model, watch), step=step)
    if again:
        with recomputed(model):
            model.fit(batch(), turn)
    else:
        model.fit(batch(), turn)
    return found, dict(model.named_buffers())


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_same_bits(kind, step):
    """The same operations on the same numbers, a second time; both stages of rela-latent.

    Nor do norms move further than when a network is asked once.
    """
    (plain, buffers), (again, after) = (gradients(kind, flag, step) for flag in (False, True))
    assert again.keys() == plain.keys()
    for part in plain:
        assert again[part].keys() == plain[part].keys()
        assert all(torch.equal(again[part][name], plain[part][name]) for name in plain[part])
    assert all(torch.equal(after[name], buffers[name]) for name in buffers)


def kept_bytes(kind, *, again):
    """What autograd keeps of one call of the network for the way back."""
    model, sizes = made(kind), []

    def pack(tensor):
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if again:
            with recomputed(model):
                model.fit(batch(), a_turn(2, lambda part, loss, **_: None))
        else:
            model.fit(batch(), a_turn(2, lambda part, loss, **_: None))
    return sum(sizes)


@pytest.mark.parametrize("kind", ["unet", "ddpm"])
def test_less_is_kept(kind):
    assert kept_bytes(kind, again=True) < 0.7 * kept_bytes(kind, again=False)


@pytest.mark.parametrize("kind", KINDS)
def test_afterwards_the_model_is_as_it_was(kind):
    model = made(kind)
    before = {name: module.forward for name, module in model.named_modules()}
    with recomputed(model):
        changed = [n for n, m in model.named_modules() if m.forward != before[n]]
    assert changed
    assert not [name for name in changed if "critic" in name]
    assert all("forward" not in vars(module) for module in model.modules())


def test_also_after_an_error():
    model = made("unet")

    def power_is_cut():
        with recomputed(model):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        power_is_cut()
    assert all("forward" not in vars(module) for module in model.modules())


def test_a_block_within_a_block_is_not_recomputed_twice():
    model = made("unet")
    with recomputed(model):
        changed = [name for name, module in model.named_modules() if "forward" in vars(module)]
    assert not [name for name in changed for other in changed if name.startswith(f"{other}.")]
