"""Corrections, masks, smoothing and second references in the graph of a session."""

from dataclasses import replace

import pytest
from nipype.interfaces.base import isdefined
from toys import tiny_card, tiny_measured
from wiring import loose_wires

from relad_bids.masks import CENTILOID
from relad_bids.pet.sharpness import Sharpness
from relad_bids.sessions import Atlas
from relad_workflows.session import init_session_wf

KNOWN = {"FullWidthHalfMaximum": 6.0}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "voi"
    made.mkdir()
    for stem in (*CENTILOID.targets.values(), *CENTILOID.references.values()):
        (made / f"{stem.replace('?', '2')}.nii").touch()
    return made


@pytest.fixture
def graph(config, unit):
    def make(
        *,
        training=(),
        space="MNI152NLin2009cAsym",
        sharpness=None,
        tracer="pib",
        atlases=(),
        **asked,
    ):
        card = tiny_card(sha256="ab" * 32, training=dict(training), space=space)
        pet = replace(
            tiny_measured(config, tracer=tracer, session="a"),
            sharpness=sharpness or Sharpness((5.0, 5.0, 6.0), "FullWidthHalfMaximum"),
        )
        chosen = replace(config, **asked)
        one = replace(unit(measured=[pet]), atlases=tuple(atlases))
        return init_session_wf(one, card=card, config=chosen)

    return make


def names(workflow):
    return set(workflow.list_node_names())


def wires(workflow, source, target):
    edge = workflow._graph.get_edge_data(workflow.get_node(source), workflow.get_node(target))
    return dict(edge["connect"]) if edge else {}


def test_nothing_is_added_unasked(graph):
    added = [name for name in names(graph()) if name.startswith(("correct_pib", "masks_", "to_m"))]
    assert added == []


@pytest.mark.parametrize(
    ("training", "asked", "corrected"),
    [
        (
            KNOWN,
            {},
            {"quantify_pib_wf.correct", "correct_measured_ses_a_pib", "quantify_pbr28_wf.correct"},
        ),
        ((), {}, {"correct_measured_ses_a_pib"}),
        ((), {"pvc_fwhm": 7.0}, {"correct_measured_ses_a_pib"}),
    ],
)
def test_each_image_is_corrected_by_what_is_known_of_it(graph, training, asked, corrected):
    """The user's width is never that of a synthetic image."""
    workflow = graph(training=training, pvc="gtm", **asked)
    found = {name for name in names(workflow) if "correct" in name.split(".")[-1]}
    found -= {name for name in found if "correct_t1w" in name or "correct_flair" in name}
    assert corrected <= found
    assert ("quantify_pib_wf.correct" in found) == bool(training)
    width = workflow.get_node("correct_measured_ses_a_pib").inputs.fwhm_mm
    assert width == pytest.approx(asked.get("pvc_fwhm", (86 / 3) ** 0.5))
    if training:
        assert workflow.get_node("quantify_pib_wf.correct").inputs.fwhm_mm == 6.0
        assert workflow.get_node("quantify_pib_wf.correct").inputs.brain_only
    assert not workflow.get_node("correct_measured_ses_a_pib").inputs.brain_only
    assert loose_wires(workflow) == []


def test_a_correction_goes_into_its_own_table(graph):
    workflow = graph(training=KNOWN, pvc="rbv")
    measured = wires(workflow, "correct_measured_ses_a_pib", "quantify_measured_ses_a_pib")
    assert measured == {"out_file": "corrected", "unstable": "unstable"}
    sink = wires(workflow, "quantify_pib_wf", "ds_pib")
    assert sink["outputnode.pvc_facts"] == "kinpar_facts"
    inner = workflow.get_node("quantify_pib_wf")
    assert wires(inner, "correct", "quantify") == measured
    assert wires(workflow, "correct_measured_ses_a_pib", "ds_measured_ses_a_pib") == {
        "facts": "measured_kinpar_facts"
    }
    told = workflow.get_node("quantify_measured_ses_a_pib").inputs.pvc
    assert told["pvc"] == "RBV"
    assert "not corrected" not in told["statement"]
    assert "PSF assumed 5.35413 mm" in told["statement"]


def test_a_table_of_an_atlas_has_what_the_pets_own_has(graph, tmp_path):
    """Spread over draws, corrected rows and their sidecar; labels of the atlas in each."""
    path = tmp_path / "S.nii.gz"
    path.touch()
    atlas = Atlas(path, "MNI152NLin2009cAsym", {"atlas": "S"}, ((1, "LH_Vis"),), "bids:x:y")
    workflow = graph(training=KNOWN, atlases=[atlas], pvc="gtm", n_samples=8)
    assert loose_wires(workflow) == []
    labels = {"dseg": "atlas"}
    for pet, sink, source in (
        ("pib", "kinpar", "quantify_pib_wf"),
        ("measured_ses_a_pib", "measured_kinpar", "to_t1w_ses_a_pib"),
    ):
        correct, quantify = f"correct_S_{pet}", f"quantify_S_{pet}"
        made = {"out_file": "corrected", "unstable": "unstable"}
        assert wires(workflow, correct, quantify) == made
        assert wires(workflow, "warp_S", quantify) == wires(workflow, "warp_S", correct) == labels
        assert wires(workflow, correct, f"ds_S_{pet}") == {"facts": f"{sink}_facts"}
        assert "activity" in wires(workflow, source, correct).values()
        assert workflow.get_node(quantify).inputs.pvc["pvc"] == "GTM"
    assert workflow.get_node("correct_S_pib").inputs.brain_only
    assert not workflow.get_node("correct_S_measured_ses_a_pib").inputs.brain_only
    spread = "measure_spread_S_pib"
    assert wires(workflow, "choose_pib_samples", spread) == {"out": "samples"}
    assert wires(workflow, spread, "quantify_S_pib") == {"table": "spread"}
    assert "measure_spread_S_measured_ses_a_pib" not in names(workflow)


def test_an_atlas_has_nothing_more_unasked(graph, tmp_path):
    path = tmp_path / "S.nii.gz"
    path.touch()
    atlas = Atlas(path, "MNI152NLin2009cAsym", {"atlas": "S"}, ((1, "LH_Vis"),), "bids:x:y")
    found = names(graph(training=KNOWN, atlases=[atlas]))
    assert not [name for name in found if name.startswith(("correct_S", "measure_spread_S"))]


def test_a_scan_of_unknown_resolution_is_not_corrected(graph):
    assert "correct_measured_ses_a_pib" not in names(graph(pvc="gtm", sharpness=Sharpness()))


@pytest.mark.parametrize("space", ["MNI152NLin2009cAsym", "MNI152NLin6Asym"])
def test_masks_are_read_in_their_own_space(graph, folder, space):
    """From the checkpoint's space through the inverse alignment, or none where it is the same."""
    workflow = graph(centiloid_dir=folder, space=space)
    aligned = space != "MNI152NLin6Asym"
    assert {"masks_pib", "masks_measured_ses_a_pib"} <= names(workflow)
    assert "masks_pbr28" not in names(workflow)
    assert wires(workflow, "masks_pib", "quantify_pib_wf") == {"table": "inputnode.template_rows"}
    assert wires(workflow, "masks_measured_ses_a_pib", "quantify_measured_ses_a_pib") == {
        "table": "template_rows"
    }
    many = "list_to_masks_measured_ses_a_pib"
    first = 2 if aligned else 1
    assert wires(workflow, "prepare_t1w_wf", many) == {"outputnode.t1w_to_mni": f"in{first}"}
    assert wires(workflow, "register_ses_a_pib", many) == {"xfm": f"in{first + 1}"}
    if aligned:
        assert wires(workflow, "align_atlas", many) == {"inverse": "in1"}
        assert wires(workflow, "align_atlas", "to_masks_pib") == {"inverse": "xfm"}
    assert wires(workflow, "realign_ses_a_pib", "masks_measured_ses_a_pib") == {"facts": "motion"}
    assert loose_wires(workflow) == []


def test_smoothing_reaches_every_step_that_interpolates(graph, folder):
    sharp = Sharpness((5.0, 5.0, 6.0), "FullWidthHalfMaximum", target_mm=8.0)
    workflow = graph(sharpness=sharp, centiloid_dir=folder)
    for name in ("to_t1w_ses_a_pib", "to_grid_ses_a_pib", "to_masks_measured_ses_a_pib"):
        assert workflow.get_node(name).inputs.smooth == sharp.smooth
    plain = graph()
    assert not isdefined(plain.get_node("to_t1w_ses_a_pib").inputs.smooth)


@pytest.mark.parametrize(
    ("tracer", "chosen", "seconds"),
    [
        ("pbr28", {}, ["global-brain"]),
        ("pbr28", {"pbr28": "global-brain"}, ["cerebellum-gm"]),
        ("pbr28", {"pbr28": "occipital"}, ["cerebellum-gm", "global-brain"]),
        ("pib", {}, []),
    ],
)
def test_a_tracer_without_a_reference_region_has_both(graph, tracer, chosen, seconds):
    workflow = graph(tracer=tracer, reference=chosen)
    assert workflow.get_node(f"quantify_measured_ses_a_{tracer}").inputs.second_refs == seconds
    step = workflow.get_node(f"quantify_{tracer}_wf").get_node("quantify")
    assert step.inputs.second_refs == seconds
