from dataclasses import replace

import numpy as np
import pytest
import torch
from derivatives import BRAIN

from relad_bids.cohorts.watching import (
    Part,
    RegionalError,
    device_of,
    pictures,
    primary_vois,
    regional_error,
)
from relad_bids.core.grid import Grid
from relad_bids.errors import ConfigError, DataError
from relad_bids.model.card import TracerOutput
from relad_bids.model.data import Cohort, Sample
from relad_bids.model.learning.recipe import GridRecipe, Recipe, WatchRecipe
from relad_bids.phantom.template import template_head
from relad_bids.tables import voi_sets

FINE = Grid(
    (46, 55, 46), np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
)
OUTPUTS = (TracerOutput(name="pib", index=2, suvr_max=4.0),
           TracerOutput(name="flortaucipir", index=0, suvr_max=5.0))  # fmt: skip


def labels_of(name):
    return next(voi for voi in voi_sets() if voi.voi == name).labels


def test_a_region_is_the_grey_matter_of_its_labels():
    """Against a loop over the template's own arrays."""
    head = template_head(FINE)
    grey = np.zeros(FINE.shape)
    grey[head.mask] = head.gm
    (part,) = primary_vois("flortaucipir", FINE)["metatemporal"]
    inside = np.isin(head.gm_label, labels_of("metatemporal"))
    assert part.weights.sum().item() == pytest.approx(grey[inside].sum(), rel=1e-5)
    # Meta-temporal cortex: 70 mL of grey matter in people, more in an average of heads; on both
    # sides, below the AC.
    assert 50 < part.weights.sum().item() * 0.064 < 150
    where = np.column_stack(np.unravel_index(part.voxels.numpy(), FINE.shape))
    x, _, z = (where @ FINE.affine[:3, :3].T + FINE.affine[:3, 3]).T
    assert (np.abs(x) > 10).mean() > 0.95
    assert 0.3 < (x > 0).mean() < 0.7
    assert np.median(z) < 0


def test_regions_are_those_that_labels_give():
    """The Centiloid cortex needs a file of its own; the composite is a mean of four parts."""
    vois = primary_vois("pib", FINE)
    assert {name: len(parts) for name, parts in vois.items()} == {"amyloid-composite": 4}
    assert list(primary_vois("flortaucipir", FINE)) == [
        "metatemporal", "braak1", "braak34", "braak56",
    ]  # fmt: skip
    assert len(primary_vois("pbr28", FINE)) > 6


def test_a_coarse_grid_keeps_its_large_regions():
    """At 14 mm no voxel's centre lies in the entorhinal cortex; the others are there."""
    assert list(primary_vois("flortaucipir", BRAIN)) == [
        "metatemporal", "braak34", "braak56",
    ]  # fmt: skip
    (parts,) = primary_vois("pib", BRAIN).values()
    assert 0 < len(parts) <= 4


def test_a_grid_elsewhere_is_refused():
    away = Grid(FINE.shape, FINE.affine + np.array([[0, 0, 0, 900]] + [[0] * 4] * 3))
    with pytest.raises(DataError, match=r"grid shows none of the regions of pib \(amyloid-comp"):
        primary_vois("pib", away)


def test_regions_are_known_in_mni_spaces(recipe):
    """Elsewhere there are no figures, and no early stopping either."""
    asked = Cohort([].__getitem__, ())
    assert list(regional_error(recipe, asked).vois) == ["pib", "pbr28"]
    grid = replace(recipe.grid, space="MNIPediatricAsym")
    assert regional_error(replace(recipe, grid=grid), asked) is None
    watching = replace(recipe, grid=grid, watch=WatchRecipe(every=5))
    with pytest.raises(
        ConfigError, match=r"in MNI152 spaces; the grid is in MNIPed.*watch\.every"
    ):
        regional_error(watching, asked)


@pytest.fixture
def recipe():
    affine = tuple(map(tuple, BRAIN.affine.tolist()))
    grid = GridRecipe(space="MNI152NLin6Asym", shape=BRAIN.shape, affine=affine)
    return Recipe(
        name="toy", version="1", statement="", grid=grid, architecture={"n_tracers": 2},
        suvr_max={"pib": 4.0, "pbr28": 3.0},
    )  # fmt: skip


def part_of(*voxels, weights=None):
    weights = [1.0] * len(voxels) if weights is None else weights
    return Part(torch.tensor(voxels), torch.tensor(weights))


def test_mean_of_a_part():
    image = torch.arange(24.0).reshape(2, 3, 4)
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    part = part_of(1, 5, 23, weights=[1.0, 0.5, 0.5])
    assert part.mean(image, mask).item() == pytest.approx((1 + 2.5 + 11.5) / 2)
    mask[1, 2, 3] = False
    assert part.mean(image, mask).item() == pytest.approx(3.5 / 1.5)
    assert torch.isnan(part.mean(image, ~torch.ones_like(mask)))


SHAPE = (2, 3, 4)


def sample(available, *, off=0.0, mask=None):
    pet = np.zeros((3, *SHAPE), dtype=np.float32) - off
    return Sample(
        mri=np.zeros((2, *SHAPE), np.float32),
        pet=pet,
        available=np.array(available),
        mask=np.ones(SHAPE, bool) if mask is None else mask,
    )


def regional(samples, **vois):
    return RegionalError(Cohort(samples.__getitem__, range(len(samples))), OUTPUTS, vois, 0)


def test_error_is_in_suvr_over_scans_and_regions():
    """The answer is 0 everywhere, the truth -off: on pib 4 SUVr are 2 units, on tau 5."""
    one = (part_of(1),)
    ask = regional(
        [sample([True, False, True], off=0.1), sample([False, False, True], off=-0.3)],
        pib={"a": one, "b": (part_of(0), part_of(5))},
        flortaucipir={"c": one},
    )
    errors = ask(lambda mri: torch.zeros(1, 3, *SHAPE), torch.device("cpu"))
    assert errors["flortaucipir"] == pytest.approx(0.1 * 2.5)
    assert errors["pib"] == pytest.approx((0.1 + 0.1 + 0.3 + 0.3) / 4 * 2.0)


def test_errors_of_one_region_average_out_in_it_but_not_over_regions():
    answer = torch.zeros(1, 3, *SHAPE)
    answer[0, 2].view(-1)[:4] = torch.tensor([0.2, -0.2, 0.3, -0.1])
    pair, parts = (part_of(0, 1),), (part_of(0), part_of(2))
    of_pair, of_parts, of_both = (
        regional([sample([False, False, True])], pib=vois, flortaucipir={})(
            lambda mri: answer, torch.device("cpu")
        )["pib"]
        for vois in ({"a": pair}, {"a": parts}, {"a": (part_of(0),), "b": (part_of(3),)})
    )
    assert of_pair == pytest.approx(0, abs=1e-7)
    assert of_parts == pytest.approx((0.2 + 0.3) / 2 * 2)
    assert of_both == pytest.approx((0.2 + 0.1) / 2 * 2)


def test_what_nobody_has_is_not_there_and_what_one_lacks_does_not_count():
    """A tracer without scans; a region outside a brain."""
    mask = np.ones(SHAPE, bool)
    mask.ravel()[1] = False
    samples = [sample([False, False, True], off=0.4), sample([False, False, True], mask=mask)]
    vois = {"pib": {"a": (part_of(1),), "b": (part_of(2),)}, "flortaucipir": {"c": (part_of(0),)}}
    errors = regional(samples, **vois)(lambda mri: torch.zeros(1, 3, *SHAPE), torch.device("cpu"))
    assert errors == {"pib": pytest.approx((0.4 + 0.4 + 0.0) / 3 * 2)}


class Asked(torch.nn.Module):
    """Answers each tracer with its own number."""

    def __init__(self):
        super().__init__()
        self.register_buffer("place", torch.zeros(1))

    def predict(self, mri, tracer):
        return torch.full((1, 1, *mri.shape[2:]), tracer / 4)


def test_pictures_show_the_middle_of_the_brain_right_way_up():
    """Axes L, S, A on disk: i to the left, j up, k forwards."""
    shape = (5, 6, 8)
    affine = np.array([[-2.0, 0, 0, 4], [0, 0, 2, -7], [0, 2, 0, -6], [0, 0, 0, 1]])
    mask = np.zeros(shape, bool)
    mask[:, 2:5, 3:] = True  # centre of mass at j = 3
    mri = np.full((2, *shape), -1, np.float32)
    mri[0, 4, 3, 7] = 1.0  # left and front, in the middle slice
    mri[0, 4, 2, 0] = 1.0  # in another slice
    pet = np.full((3, *shape), -1, np.float32)
    pet[2, 0, 3, 7] = 0.5  # right and front
    one = Sample(mri=mri, pet=pet, available=np.array([False, False, True]), mask=mask)
    shown = pictures(Cohort([one].__getitem__, [0]), Grid(shape, affine), OUTPUTS)(Asked())
    assert list(shown) == ["pib"]
    image = shown["pib"]
    assert image.shape == (8, 15)
    assert image.dtype == np.float32
    t1w, truth, answer = np.hsplit(image, 3)
    assert np.argwhere(t1w).tolist() == [[0, 0]]
    assert np.argwhere(truth).tolist() == [[0, 4]]
    assert (t1w[0, 0], truth[0, 4]) == (1.0, 0.75)
    assert (answer == 0.75).all()


def test_device_of_a_model_without_weights():
    assert device_of(Asked()) == torch.device("cpu")
