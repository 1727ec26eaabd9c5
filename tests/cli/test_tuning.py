import numpy as np
import pytest
import torch
from small_models import KINDS, SHAPE, small
from toys import tiny_card

from relad_bids.cli.tuning import Base
from relad_bids.cohorts.gather import Cohorts
from relad_bids.model.card import TracerOutput
from relad_bids.model.data import Cohort, Sample, loader
from relad_bids.model.learning.floor import spread_around, training_mean
from relad_bids.model.learning.recipe import GridRecipe, Recipe


def sample(index):
    rng = np.random.default_rng([5, index])
    mri = rng.uniform(-1, 1, (2, *SHAPE)).astype(np.float32)
    return Sample(mri, mri * 0.3, np.array([True, index != 1]), np.ones(SHAPE, bool))


def cohorts_of(n):
    nobody = Cohort(sample, ())
    return Cohorts(nobody, Cohort(sample, range(n)), nobody, nobody, {}, "", "")


def recipe_for(kind):
    architecture, objective, diffusion = KINDS[kind]
    grid = GridRecipe(
        space="MNI152NLin2009cAsym", shape=SHAPE, affine=tuple(map(tuple, np.eye(4)))
    )
    return Recipe(
        name="tuned", version="1", statement="", kind=kind, grid=grid, architecture=architecture,
        suvr_max={"pib": 4.0, "pbr28": 3.0}, class_numbers=(0, 1), objective=objective,
        diffusion=diffusion,
    )  # fmt: skip


def base_of(kind, seed):
    torch.manual_seed(seed)
    model = small(kind, training=False).eval()
    for weight in model.parameters():
        weight.data.add_(0.01 * torch.randn_like(weight))
    card = tiny_card(tracers=(TracerOutput(name="pib", index=0, suvr_max=4.0),))
    return Base(card, model, ())


@pytest.mark.parametrize("kind", ["unet", "pix2pix", "cyclegan", "ddpm", "rela", "rela-published"])
def test_a_network_goes_on_from_the_checkpoint(kind):
    """All that answers is the checkpoint's, bit for bit; a critic is built and is new."""
    base = base_of(kind, 1)
    torch.manual_seed(2)
    network = base.network(recipe_for(kind))
    theirs = base.answering.answering_state()
    ours = network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert {name.partition(".")[0] for name in ours.keys() - theirs.keys()} <= set(
        network.training_only
    )
    assert set(network.parts()) == set(small(kind).parts())


def test_the_unit_of_errors_is_what_the_checkpoints_mean_leaves():
    """Of a tracer that one participant lacks it is over the others."""
    base, cohorts = base_of("unet", 3), cohorts_of(3)
    prior = base.answering.start.prior
    prior.uniform_(-0.2, 0.2)
    spread = base.spread(cohorts, recipe_for("unet"))
    errors = [
        [(sample(i).pet[tracer] - prior[tracer].numpy()) ** 2 for i in who]
        for tracer, who in enumerate(([0, 1, 2], [0, 2]))
    ]
    assert spread.voxel.tolist() == pytest.approx([np.mean(e) for e in errors], rel=1e-4)
    whole = loader(cohorts.train, batch_size=3, workers=0)
    torch.testing.assert_close(spread.coarse, spread_around(prior, whole).coarse)


def test_without_a_regression_the_mean_is_their_own():
    base, cohorts = base_of("rela-published", 3), cohorts_of(4)
    batches = loader(cohorts.train, batch_size=4, workers=0)
    expected = spread_around(training_mean(batches)[0], batches)
    spread = base.spread(cohorts, recipe_for("rela-published"))
    torch.testing.assert_close(spread.voxel, expected.voxel)
