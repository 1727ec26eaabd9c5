import nibabel as nb
import numpy as np
import pytest

from relad_bids.data.template import template_file
from relad_bids.errors import UsageError
from relad_bids.phantom.regions import (
    CEREBELLUM_GM,
    HEAD,
    MENINGES,
    TRACERS,
    braak_groups,
    label_areas,
    label_uptake,
)


def test_every_label_of_the_parcellation_has_an_uptake():
    image = nb.Nifti1Image.from_filename(template_file("aparcaseg"))
    held = set(np.unique(np.asarray(image.dataobj)).astype(int))
    unnamed = {0, 1000, 2000}  # background and the medial wall, which the phantom fills
    for tracer in TRACERS:
        assert held - unnamed - set(label_uptake(tracer)) == set()
        assert {HEAD, MENINGES} <= set(label_uptake(tracer))


def test_uptake_and_areas_cover_the_same_labels():
    for tracer in TRACERS:
        assert set(label_uptake(tracer)) == set(label_areas())


@pytest.mark.parametrize("tracer", TRACERS)
def test_cerebellar_grey_matter_is_the_unit(tracer):
    for label in CEREBELLUM_GM:
        assert label_uptake(tracer)[label] == (1.0, 0.0, 0.0)


def test_published_rows_arrive_at_their_labels():
    """Figures read off ``phantom_uptake.tsv`` by eye: entorhinal, pallidum, precuneus."""
    assert label_uptake("flortaucipir")[2006] == pytest.approx((1.119, 0.459, 0.110))
    assert label_uptake("flortaucipir")[13].negative == 1.6
    assert label_uptake("pib")[1025] == pytest.approx((1.25, 1.15, 0.10))
    assert label_uptake("pbr28")[49].negative == 1.16


def test_left_and_right_have_the_same_means():
    for tracer in TRACERS:
        table = label_uptake(tracer)
        for label in range(1001, 1036):
            if label in table:
                assert table[label] == table[label + 1000]


def test_braak_stages_are_those_of_the_label_table():
    groups = braak_groups()
    assert len(groups) == 72
    assert groups[17] == "braak2"
    assert groups[1006] == "braak1"


def test_unknown_tracer_is_refused():
    with pytest.raises(UsageError, match="'fdg'; it knows flortaucipir, pib, pbr28"):
        label_uptake("fdg")
