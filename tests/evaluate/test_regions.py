import numpy as np
import pytest

from relad_bids.errors import UsageError
from relad_bids.evaluate.bench import can_be_compared
from relad_bids.evaluate.regions import regions_of
from relad_bids.evaluate.sources import simulated
from relad_bids.phantom.template import template_head
from relad_bids.tables import label_names, tracers, voi_sets


@pytest.fixture(scope="module")
def fine(make_card):
    """4 mm: thin structures are not lost."""
    affine = ((4.0, 0, 0, -76.0), (0, 4.0, 0, -108.0), (0, 0, 4.0, -72.0), (0, 0, 0, 1))
    return regions_of(make_card(shape=(39, 47, 39), affine=affine))


def test_cortex_lies_in_grey_matter(fine):
    cortex = (fine.labels > 1000) & (fine.labels < 3000)
    assert cortex.any()
    assert fine.grey[cortex].all()
    assert fine.white[fine.labels == 2].all()


def test_volumes_are_those_of_a_brain(fine):
    """Hippocampus of both sides 8 to 12 mL (pet-quantification, section 7.1, in template space,
    which is larger than a head), cortex about 400, cerebellar grey matter about 110."""
    volume = {
        voi.name: np.isin(fine.labels, voi.labels).sum() * 0.064 for voi in fine.vois("pbr28")
    }
    assert 8 < volume["hippocampus"] < 13
    assert 300 < volume["neocortex"] < 500
    assert 80 < fine.reference("pbr28").sum() * 0.064 < 160
    lower = fine.reference("flortaucipir")
    assert not (lower & ~fine.reference("pbr28")).any()
    assert 0.4 < lower.sum() / fine.reference("pbr28").sum() < 0.8


def test_labels_meet_those_of_the_phantoms(fine):
    """Another route to the same template: where both name grey matter, they name it alike."""
    head = template_head(fine.grid)
    grey = np.zeros(fine.grid.shape, dtype=bool)
    grey[head.mask] = head.gm > 0.5
    both = grey & (fine.labels > 1000) & (head.gm_label > 1000)
    assert (head.gm_label[both] == fine.labels[both]).mean() > 0.99


@pytest.mark.parametrize(
    ("tracer", "primary"),
    [("flortaucipir", "metatemporal"), ("pib", "amyloid-composite"), ("pbr28", "neocortex")],
)
def test_vois_of_a_tracer(fine, tracer, primary):
    vois = fine.vois(tracer)
    names = [voi.name for voi in vois]
    assert len(set(names)) == len(names)
    assert fine.primary(tracer) == primary
    assert all(voi.hemi == "B" and voi.family != "ref" for voi in vois)
    for voi in vois:
        assert set(voi.parts) <= set(names[: names.index(voi.name)]), "parts come first"


@pytest.mark.parametrize("name", [name for name in tracers() if can_be_compared(name)])
def test_every_tracer_has_a_primary_voi_and_a_reference_region(fine, name):
    assert fine.primary(name) in tracers()[name].primary_vois
    assert fine.reference(name).sum() > 50


def test_only_labels_with_a_name_are_kept(fine):
    assert set(np.unique(fine.labels)) - {0} <= set(label_names())
    assert 0 not in fine.numbers


def test_tau_is_not_compared_in_amyloid_regions(fine):
    amyloid = {voi.voi for voi in voi_sets(("amyloid",))}
    assert not amyloid & {voi.name for voi in fine.vois("flortaucipir")}
    assert "choroid-plexus" in {voi.name for voi in fine.vois("flortaucipir")}


def test_another_space_has_no_parcellation(make_card):
    with pytest.raises(UsageError, match=r"works in Talairach; .* near MNI152NLin2009cAsym and"):
        regions_of(make_card(space="Talairach"))


def test_phantoms_live_in_one_space(make_card):
    card = make_card(space="MNI152NLin6Asym")
    assert regions_of(card).primary("pib") == "amyloid-composite"
    with pytest.raises(UsageError, match="phantoms are made in MNI152NLin2009cAsym"):
        simulated(card, ["pib"], n=1, preset="null", seed=0)
    with pytest.raises(UsageError, match=r"synthesise mk6240; phantoms have uptake of flortauc"):
        simulated(make_card(), ["mk6240"], n=1, preset="null", seed=0)
