import math
from dataclasses import replace

import pytest

from relad_bids.core.scales import READ, UNCALIBRATED, Equation, to_scale

PIB = Equation(
    scale="Centiloid", tracer="pib", pipeline="gaain-standard", voi="centiloid-ctx",
    reference="cerebellum-whole(GAAIN)", slope=100 / 1.067, intercept=-100.9 / 1.067,
    status=READ, source="made up",
)  # fmt: skip
FBP = replace(PIB, tracer="florbetapir", slope=175.4, intercept=-182.3)
NATIVE = replace(
    FBP, pipeline="berkeley-native", voi="amyloid-composite", reference="cerebellum-whole",
    slope=188.22, intercept=-189.16,
)  # fmt: skip
UNREAD = replace(
    PIB, pipeline="other", slope=None, intercept=None, status="coefficients not read"
)  # fmt: skip
EQUATIONS = (PIB, FBP, NATIVE, UNREAD)


def scaled(suvr, equations=EQUATIONS, **changes):
    made = {
        "tracer": "pib", "pipeline": "gaain-standard", "voi": "centiloid-ctx",
        "reference": "cerebellum-whole(GAAIN)",
    }  # fmt: skip
    return to_scale(suvr, equations, **{**made, **changes})


@pytest.mark.parametrize(("suvr", "value"), [(1.009, 0.0), (2.076, 100.0), (1.5425, 50.0)])
def test_the_anchors(suvr, value):
    found = scaled(suvr)
    assert found.value == pytest.approx(value, abs=1e-9)
    assert (found.pipeline, found.note) == ("gaain-standard", UNCALIBRATED)


def test_a_calibrated_pipeline_needs_no_note():
    assert scaled(2.076, calibrated=True).note == "ok"


def test_each_pipeline_of_a_tracer_has_its_own_line():
    made = {"tracer": "florbetapir"}
    assert scaled(1.2, **made).value == pytest.approx(175.4 * 1.2 - 182.3)
    native = scaled(
        1.2, **made, pipeline="berkeley-native", voi="amyloid-composite",
        reference="cerebellum-whole",
    )  # fmt: skip
    assert native.value == pytest.approx(188.22 * 1.2 - 189.16)
    assert native.pipeline == "berkeley-native"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"tracer": "flortaucipir"},
            "no Centiloid equation for tracer flortaucipir; there is florbetapir, pib",
        ),
        (
            {"pipeline": "berkeley-native"},
            "no Centiloid equation for tracer pib, pipeline berkeley-native; there is "
            "gaain-standard, other",
        ),
        (
            {"voi": "amyloid-composite"},
            "no Centiloid equation for tracer pib, pipeline gaain-standard, voi "
            "amyloid-composite; there is centiloid-ctx",
        ),
        (
            {"reference": "cerebellum-whole"},
            "no Centiloid equation for tracer pib, pipeline gaain-standard, voi centiloid-ctx, "
            "reference cerebellum-whole; there is cerebellum-whole(GAAIN)",
        ),
        (
            {"pipeline": "other"},
            "the Centiloid equation for pib by other: coefficients not read",
        ),
        ({"pvc": "GTM"}, "a Centiloid equation is for uncorrected SUVr, not for pvc GTM"),
        ({"equations": ()}, "no equation for tracer pib; there is none"),
    ],
)
def test_without_a_full_match_there_is_a_reason_and_no_value(changes, reason):
    found = scaled(1.5, **changes)
    assert math.isnan(found.value)
    assert found.pipeline is None
    assert found.note == reason


def test_a_status_refuses_whatever_the_coefficients_are():
    doubted = replace(PIB, status="withdrawn")
    assert (
        scaled(1.5, [doubted]).note
        == "the Centiloid equation for pib by gaain-standard: withdrawn"
    )
    half = replace(PIB, intercept=None)
    assert math.isnan(scaled(1.5, [half]).value)


@pytest.mark.parametrize("suvr", [math.nan, math.inf])
def test_no_suvr_no_value(suvr):
    found = scaled(suvr)
    assert math.isnan(found.value)
    assert found.note == "no SUVr"
