import gzip

import nibabel as nb
import numpy as np
import pytest
from toys import tiny_card, tiny_config, tiny_measured, tiny_unit

from relad_bids.cli.fitting import fitting, memory_factors, need_of
from relad_bids.core.memory import least_gb
from relad_bids.interfaces.network import network_mem_gb
from relad_bids.sessions import Plan
from relad_workflows.base import init_relad_wf
from relad_workflows.memory import scale_memory
from relad_workflows.quantify import CORRECT_MEM_GB


def write(path, shape):
    """A header alone: nothing reads the voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = nb.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4)))


@pytest.fixture
def session(tmp_path):
    """A unit with T1w, FLAIR and PET of given shapes, and the settings."""

    def _session(t1w=(90, 90, 90), flair=(90, 90, 30), pet=(60, 60, 40, 6), **changes):
        config = tiny_config(tmp_path, **changes)
        scan = tiny_measured(config)
        unit = tiny_unit(config, measured=[scan])
        for path, shape in ((unit.t1w, t1w), (unit.flair, flair), (scan.path, pet)):
            write(path, shape)
        return unit, config

    return _session


@pytest.mark.parametrize("large", ["t1w", "flair", "pet"])
def test_the_largest_image_decides(session, large):
    unit, config = session(**{large: (512, 512, 400)})
    need = need_of(unit, tiny_card(), config)
    assert memory_factors([unit])[unit.graph_name] > 5
    assert {"t1w": "_T1w.", "flair": "_FLAIR.", "pet": "_pet."}[large] in need.why
    assert "512 x 512 x 400 voxels" in need.why


def test_frames_are_not_held_together(session):
    unit, _ = session(pet=(90, 90, 90, 1000))
    assert memory_factors([unit]) == {unit.graph_name: 1}


def test_a_large_network_counts(session):
    unit, config = session(omp_nthreads=2)
    need = need_of(unit, tiny_card(shape=(300, 300, 300)), config)
    assert need.gb == network_mem_gb((300, 300, 300), at_once=2)
    assert "images of 300 x 300 x 300 voxels, 2 at once" in need.why
    measured = need_of(tiny_unit(config, tracers=()), tiny_card(shape=(300, 300, 300)), config)
    assert measured.gb == least_gb(90**3)


@pytest.mark.parametrize(("mem_mb", "fits"), [(1385, True), (1384, False)])
def test_both_sides_of_the_limit(session, mem_mb, fits):
    """1.3 GB and 77 bytes for each of 90^3 voxels are 1384.7 MB (the network takes 1.006 GB)."""
    unit, config = session(mem_mb=mem_mb)
    plan = fitting(Plan((unit,), ()), tiny_card(), config)
    assert bool(plan.units) is fits
    assert bool(plan.left) is not fits


def test_who_does_not_fit_is_told_what_to_ask_for_and_others_go_on(session):
    unit, config = session(t1w=(512, 512, 512), mem_mb=8000)
    other = tiny_unit(config, "02")
    for path, source in ((other.t1w, (90, 90, 90)), (other.flair, (90, 90, 90))):
        write(path, source)
    plan = fitting(Plan((unit, other), ()), tiny_card(), config)
    assert plan.units == (other,)
    (left,) = plan.left
    assert (left.label, left.flag, left.exit_code) == ("sub-01_ses-a", "memory_short", 75)
    assert "512 x 512 x 512 voxels), given are 7.8 GB" in left.reason
    assert "--mem 11G" in left.reason


def mem_gb(workflow, unit):
    session = workflow.get_node(unit.graph_name)
    return {name: session.get_node(name).mem_gb for name in session.list_node_names()}


def test_steps_are_planned_with_what_their_images_take(session):
    """All but the network, which has a grid of its own."""
    unit, config = session(t1w=(512, 512, 200))
    need = need_of(unit, tiny_card(), config)
    workflow = init_relad_wf([unit], card=tiny_card(), config=config)
    before = mem_gb(workflow, unit)
    scale_memory(workflow, memory_factors([unit]))
    after = mem_gb(workflow, unit)
    assert max(after.values()) >= need.gb
    for name, gb in after.items():
        factor = 1 if name == "synthesise" else memory_factors([unit])[unit.graph_name]
        assert gb == pytest.approx(before[name] * factor), name


MEASURED_GB = {96: 0.18, 160: 0.42, 193: 0.58, 256: 1.20}
"""Peak of the hungriest correction (GTM) by the side of a cube (``benchmarks/step_memory.py``)."""


@pytest.mark.parametrize(("side", "measured_gb"), MEASURED_GB.items())
def test_a_correction_is_planned_with_what_was_measured(session, side, measured_gb):
    """Its step with what it takes at least; the whole run needs more anyway, for other steps."""
    unit, config = session(t1w=(side,) * 3, pvc="gtm", pvc_fwhm=6.0)
    planned_gb = memory_factors([unit])[unit.graph_name] * CORRECT_MEM_GB
    assert measured_gb <= planned_gb < 2 * max(measured_gb, CORRECT_MEM_GB)
    need = need_of(unit, tiny_card(), config)
    assert need.gb == least_gb(side**3) > measured_gb
