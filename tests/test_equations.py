from collections import Counter
from csv import DictReader
from importlib.resources import files

import pytest

from relad_bids.core.scales import READ, to_scale
from relad_bids.equations import centaurz_equations, centiloid_equations
from relad_bids.tables import tracers, voi_sets

LOADERS = (centiloid_equations, centaurz_equations)


def on_scale(suvr, equation):
    return to_scale(
        suvr, [equation], tracer=equation.tracer, pipeline=equation.pipeline, voi=equation.voi,
        reference=equation.reference,
    )  # fmt: skip


def one(equations, **wanted):
    (found,) = (
        equation
        for equation in equations
        if all(getattr(equation, name) == value for name, value in wanted.items())
    )
    return found


@pytest.mark.parametrize("load", LOADERS)
def test_an_equation_is_the_only_one_of_its_kind(load):
    kinds = Counter((e.tracer, e.pipeline, e.voi, e.reference) for e in load())
    assert set(kinds.values()) == {1}


@pytest.mark.parametrize("load", LOADERS)
def test_an_equation_is_read_or_refused(load):
    for equation in load():
        known = equation.slope is not None and equation.intercept is not None
        assert known == (equation.status == READ)
        assert equation.source


def test_tracers_are_named_as_elsewhere():
    """PM-PBB3 has masks and coefficients but is no tracer of this package yet."""
    known = set(tracers())
    assert {e.tracer for e in centiloid_equations()} == {
        name for name in known if tracers()[name].target == "amyloid"
    }
    tau = {name for name in known if tracers()[name].target == "tau"}
    assert {e.tracer for e in centaurz_equations()} == tau | {"pmpbb3"}


def test_vois_of_label_based_pipelines_exist():
    named = {voi.voi for voi in voi_sets()}
    native = [e for e in centiloid_equations() if e.pipeline == "berkeley-native"]
    assert {e.voi for e in native} <= named
    assert {e.reference for e in native} <= named
    assert {e.voi for e in centiloid_equations() if e.pipeline == "gaain-standard"} <= named


@pytest.mark.parametrize(("suvr", "centiloid"), [(1.009, 0), (2.076, 100)])
def test_the_anchors_of_pib(suvr, centiloid):
    """The means of young controls and of patients; four decimals hold 0.001 Centiloid."""
    pib = one(centiloid_equations(), tracer="pib")
    assert on_scale(suvr, pib).value == pytest.approx(centiloid, abs=1e-3)
    assert (round(pib.slope, 1), round(pib.intercept, 1)) == (93.7, -94.6)


@pytest.mark.parametrize(
    ("tracer", "slope", "intercept"),
    [("florbetaben", 0.608, 0.395), ("florbetapir", 0.523, 0.513), ("flutemetamol", 0.778, 0.209)],
)
def test_fluorine_agrees_with_an_independent_line_to_pib(tracer, slope, intercept):
    """AmyPET's SUVr = slope PiB + intercept, from the same scans by other software.

    At both anchors of PiB within 4 Centiloid, of which GAAIN accepts 2 a pipeline.
    """
    equation = one(centiloid_equations(), tracer=tracer, pipeline="gaain-standard")
    for pib, centiloid in ((1.009, 0), (2.076, 100)):
        found = on_scale(slope * pib + intercept, equation).value
        assert found == pytest.approx(centiloid, abs=4)


def test_the_standard_and_the_native_line_of_a_tracer_differ():
    """By what would be an error of 10 Centiloid, were one taken for the other."""
    lines = [e for e in centiloid_equations() if e.tracer == "florbetaben"]
    values = {e.pipeline: on_scale(1.6, e).value for e in lines}
    assert values["berkeley-native"] - values["gaain-standard"] > 8


@pytest.mark.parametrize("mask", ["universal", "mesialtemporal", "metatemporal", "temporoparietal",
                                  "frontal"])  # fmt: skip
def test_a_mask_has_a_line_for_each_tracer(mask):
    found = [e for e in centaurz_equations() if e.voi == f"centaur-{mask}" and e.status == READ]
    assert len(found) == 6
    assert {e.pipeline for e in found} == {"centaur-z"}


@pytest.mark.parametrize(("suvr", "z"), [(1.163, 0), (1.310, 2)])
def test_flortaucipir_in_the_universal_mask(suvr, z):
    """Known SUVr of z 0 and 2, rounded to 0.001, which is 0.014 of z."""
    universal = one(
        centaurz_equations(), tracer="flortaucipir", voi="centaur-universal", pipeline="centaur-z"
    )
    assert on_scale(suvr, universal).value == pytest.approx(z, abs=0.01)


def test_every_line_meets_its_known_points():
    """Two of each line stand beside it in the table, rounded to 0.001."""
    text = (files("relad_bids") / "data" / "centaurz.tsv").read_text(encoding="utf-8")
    rows = [row for row in DictReader(text.splitlines(), delimiter="\t") if row["status"] == READ]
    assert len(rows) == 30
    for row in rows:
        slope, intercept = float(row["slope"]), float(row["intercept"])
        assert -intercept / slope == pytest.approx(float(row["suvr_at_z0"]), abs=1e-3)
        assert (2 - intercept) / slope == pytest.approx(float(row["suvr_at_z2"]), abs=1e-3)


def test_what_was_not_read_is_refused_with_that_reason():
    joint = one(centaurz_equations(), tracer="mk6240", pipeline="centaur-joint")
    found = on_scale(1.4, joint)
    assert found.value != found.value
    assert found.note.startswith("the CenTauR z equation for mk6240 by centaur-joint: "
                                 "coefficients not read")  # fmt: skip
