import numpy as np
import pytest

from relad_bids.errors import UsageError
from relad_bids.tables import label_names, tracers, voi_sets
from relad_bids.vois import (
    GEOMETRIC,
    atlas_vois,
    quantified_vois,
    reference_mask,
    reference_method,
    reference_of_tracer,
    reference_parts,
    reference_regions,
    ruled_labels,
    ruled_regions,
    second_references,
)


@pytest.fixture(scope="module")
def vois():
    return quantified_vois([8, 47, 16, 17, 53, 1006, 2006, 99999])


def of(vois, name, hemi="B"):
    (found,) = [
        voi for voi in vois if (voi.name, voi.hemi) == (name, hemi) and voi.family != "label"
    ]
    return found


def test_every_set_made_of_labels_has_a_row(vois):
    drawn = {(voi.family, voi.name) for voi in vois}
    wanted = {(s.family, s.voi) for s in voi_sets() if s.kind == "labels"}
    assert wanted <= drawn


def test_sets_that_need_a_mask_have_none(vois):
    drawn = {voi.name for voi in vois}
    assert drawn.isdisjoint(s.voi for s in voi_sets() if s.kind == "mask")
    assert not [voi for voi in vois if (voi.family, voi.name) == ("ref", "composite")]


def test_halves_share_out_the_labels(vois):
    both, left, right = (of(vois, "metatemporal", hemi) for hemi in "BLR")
    assert set(left.labels) | set(right.labels) == set(both.labels)
    assert {label_names()[n].hemi for n in left.labels} == {"L"}
    assert {label_names()[n].hemi for n in right.labels} == {"R"}


def test_amyloid_composite_is_a_mean_of_four_with_the_size_of_all(vois):
    """Its size and coverage are those of its voxels: no row of 0 voxels, no flag ``voi_small``."""
    composite = of(vois, "amyloid-composite")
    lobes = ("frontal", "cingulate", "parietal", "temporal")
    assert composite.parts == tuple(f"amyloid-{lobe}" for lobe in lobes)
    union = {n for part in composite.parts for n in of(vois, part).labels}
    assert composite.labels == tuple(sorted(union))


def test_parts_come_before_their_mean(vois):
    names = [voi.name for voi in vois]
    for voi in vois:
        assert all(names.index(part) < names.index(voi.name) for part in voi.parts)


def test_single_labels_are_those_of_the_parcellation(vois):
    singles = [voi for voi in vois if voi.family == "label"]
    assert [voi.labels[0] for voi in singles] == [8, 16, 17, 47, 53, 1006, 2006]
    assert {voi.labels[0]: voi.hemi for voi in singles} == {
        8: "L", 16: "B", 17: "L", 47: "R", 53: "R", 1006: "L", 2006: "R",
    }  # fmt: skip


def test_no_row_comes_twice(vois):
    keys = [(voi.family, voi.name, voi.hemi) for voi in vois]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("tracer", "region"),
    [
        ("flortaucipir", GEOMETRIC),
        ("pbr28", "cerebellum-gm"),
        ("pib", "cerebellum-whole"),
    ],
)
def test_default_reference_regions(tracer, region):
    assert reference_of_tracer(tracer, {}) == region


def test_the_user_chooses_by_tracer():
    chosen = {"pib": "cerebellum-gm"}
    assert reference_of_tracer("pib", chosen) == "cerebellum-gm"
    assert reference_of_tracer("flortaucipir", chosen) == GEOMETRIC


def test_a_region_that_labels_do_not_give():
    with pytest.raises(
        UsageError, match=r"region 'pons' was asked for pib; .* are cerebellum-gm, .*pib=NAME"
    ):
        reference_of_tracer("pib", {"pib": "pons"})


@pytest.mark.parametrize("region", ["global-brain", "cerebellum-whole", "pons"])
def test_another_region_belongs_to_a_ligand(region):
    with pytest.raises(
        UsageError, match=f"region {region} was asked for tspo-undeclared; which TSPO ligand"
    ):
        reference_of_tracer("tspo-undeclared", {"tspo-undeclared": region})


def test_an_undeclared_ligand_has_its_default_region():
    for chosen in ({}, {"tspo-undeclared": "cerebellum-gm"}, {"pib": "cerebellum-whole"}):
        assert reference_of_tracer("tspo-undeclared", chosen) == "cerebellum-gm"


def test_only_glucose_needs_a_region_that_cannot_be_drawn_yet():
    """Pons is no label of aparc+aseg; its users must name another region."""
    undrawable = {name for name, t in tracers().items() if t.reference not in reference_regions()}
    assert undrawable == {"fdg"}


@pytest.fixture
def labels():
    return np.array([7, 8, 46, 47, 16, 0]).reshape(1, 2, 3)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("cerebellum-gm", [8, 47]),
        ("cerebellum-whole", [7, 8, 46, 47]),
        (GEOMETRIC, [8]),
    ],
)
def test_reference_masks(labels, name, inside):
    """The plane leaves label 8 and the brain stem; only the geometric region asks it."""
    below = np.isin(labels, [8, 16])
    mask = reference_mask(name, labels, below, voxel_mm=(1, 1, 1))
    assert sorted(labels[mask]) == inside


def test_how_the_region_was_drawn_is_said():
    assert reference_method(GEOMETRIC) == "geometric"
    assert reference_method(GEOMETRIC, suit=True) == "suit"
    assert reference_method("cerebellum-gm", suit=True) == "labels"
    assert reference_method("wm-eroded") == "eroded"
    assert reference_method("composite") == "mean-of-parts"


@pytest.fixture
def thick():
    """White matter 24 mm thick beside brain stem and cerebellum, voxels of 2 mm."""
    found = np.zeros((14, 12, 13), int)
    found[:12], found[12:, :6, :6], found[12:, 6:, :6], found[12:, :, 6:] = 2, 16, 7, 47
    return found


def test_the_composite_is_a_mean_of_three(thick):
    below = np.zeros(thick.shape, bool)
    parts = reference_parts("composite", thick, below, voxel_mm=(2, 2, 2))
    assert [sorted(set(thick[part].tolist())) for part in parts] == [[2], [16], [7, 47]]
    assert 0 < parts[0].sum() < (thick == 2).sum()
    whole = reference_mask("composite", thick, below, voxel_mm=(2, 2, 2))
    np.testing.assert_array_equal(whole, np.logical_or.reduce(parts))


def test_regions_that_a_rule_cuts_have_rows(thick):
    below = np.zeros(thick.shape, bool)
    below[:, :, 8:] = True
    drawn, vois = ruled_regions(thick, below, voxel_mm=(2, 2, 2))
    assert [voi.name for voi in vois] == [GEOMETRIC, "wm-eroded"]
    for voi in vois:
        mask = reference_mask(voi.name, thick, below, voxel_mm=(2, 2, 2))
        np.testing.assert_array_equal(drawn == voi.labels[0], mask)
    assert [ruled_labels(voi.name) for voi in vois] == ["8,47", "2,41,77"]


@pytest.mark.parametrize("region", ["wm-eroded", "composite"])
def test_longitudinal_references_can_be_chosen(region):
    assert reference_of_tracer("florbetapir", {"florbetapir": region}) == region


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("7Networks_LH_Vis_1", "L"), ("RH_Som", "R"), ("Left-Hippocampus", "L"),
        ("ctx-rh-insula", "R"), ("Right_VI", "R"), ("l_thalamus", "L"), ("Vermis_VI", "B"),
        ("Lingual", "B"), ("Brain-Stem", "B"), ("Striatum R", "R"), ("12", "B"),
    ],
)  # fmt: skip
def test_the_side_of_a_region_is_read_from_its_name(name, side):
    assert [voi.hemi for voi in atlas_vois([(1, name)])] == [side]


@pytest.mark.parametrize(
    ("tracer", "chosen", "others"),
    [
        ("pbr28", {}, ("global-brain",)),
        ("tspo-undeclared", {}, ("global-brain",)),
        ("pbr28", {"pbr28": "occipital"}, ("cerebellum-gm", "global-brain")),
        ("flortaucipir", {}, ()),
        ("pib", {}, ()),
    ],
)
def test_both_ratios_where_no_region_is_free_of_the_target(tracer, chosen, others):
    assert second_references(tracer, chosen) == others
