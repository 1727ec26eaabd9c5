"""The small builders: wires, names, outputs."""

import pytest
from wiring import loose_wires

from relad_workflows.outputs import (
    ANAT_PRODUCTS,
    FLAIR_PRODUCTS,
    PET_PRODUCTS,
    SPREAD_PRODUCTS,
    init_ds_node,
)
from relad_workflows.prepare import (
    init_prepare_flair_wf,
    init_prepare_t1w_wf,
    init_to_network_wf,
)
from relad_workflows.quantify import init_quantify_wf

GRID = {"shape": [4, 5, 6], "affine": [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]}

QUANTIFY = {
    "ref_region": "cerebellum-gm", "min_coverage": 0.5, "context": {}, "flags": [],
    "intervals": {},
}  # fmt: skip

BUILDERS = {
    "prepare_t1w_wf": lambda: init_prepare_t1w_wf(
        space="MNI152NLin2009cAsym", skull_strip="auto", engine="template", sloppy=False
    ),
    "prepare_flair_wf": init_prepare_flair_wf,
    "one_wf": lambda: init_to_network_wf(grid=GRID, contract={}, n_transforms=1, name="one_wf"),
    "two_wf": lambda: init_to_network_wf(grid=GRID, contract={}, n_transforms=2, name="two_wf"),
    "quantify_wf": lambda: init_quantify_wf(**QUANTIFY, with_spread=False, name="quantify_wf"),
    "spread_wf": lambda: init_quantify_wf(**QUANTIFY, with_spread=True, name="spread_wf"),
    "corrected_wf": lambda: init_quantify_wf(
        **QUANTIFY,
        with_spread=False,
        correction={"method": "gtm", "fwhm_mm": 6.0},
        name="corrected_wf",
    ),
}

NODES = {
    "prepare_t1w_wf": {
        "check_t1w", "correct_t1w", "extract_brain", "segment_tissue", "register_template",
        "measure_t1w",
    },
    "prepare_flair_wf": {
        "check_flair", "correct_flair", "register_flair", "list_transforms", "flair_on_t1w",
        "measure_flair",
    },
    "one_wf": {"list_transforms", "to_grid", "normalise"},
    "two_wf": {"list_transforms", "to_grid", "normalise"},
    "quantify_wf": {"warp_activity", "quantify"},
    "spread_wf": {"warp_activity", "quantify", "measure_spread"},
    "corrected_wf": {"warp_activity", "quantify", "correct"},
}  # fmt: skip


@pytest.mark.parametrize("name", BUILDERS)
def test_no_wire_is_loose(name):
    assert loose_wires(BUILDERS[name]()) == []


@pytest.mark.parametrize("name", BUILDERS)
def test_names(name):
    workflow = BUILDERS[name]()
    assert workflow.name == name
    assert {*workflow.list_node_names()} == NODES[name] | {"inputnode", "outputnode"}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_output_is_filled_and_every_input_used(name):
    workflow = BUILDERS[name]()
    inputnode, outputnode = workflow.get_node("inputnode"), workflow.get_node("outputnode")
    arriving = {
        field
        for _, _, data in workflow._graph.in_edges(outputnode, data=True)
        for _, field in data["connect"]
    }
    leaving = {
        field
        for _, _, data in workflow._graph.out_edges(inputnode, data=True)
        for field, _ in data["connect"]
    }
    assert arriving == set(outputnode.interface._fields)
    assert leaving == set(inputnode.interface._fields)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_field_is_in_the_docstring(name):
    """Inputs and Outputs of a builder are its signature."""
    builder = {
        "prepare_t1w_wf": init_prepare_t1w_wf, "prepare_flair_wf": init_prepare_flair_wf,
        "quantify_wf": init_quantify_wf, "spread_wf": init_quantify_wf,
        "corrected_wf": init_quantify_wf,
    }.get(name, init_to_network_wf)  # fmt: skip
    workflow = BUILDERS[name]()
    for node in ("inputnode", "outputnode"):
        for field in workflow.get_node(node).interface._fields:
            assert field in builder.__doc__, f"{name}.{node}.{field}"


def test_first_transform_is_applied_last():
    """FLAIR: xfm2 brings it to T1w first, then xfm1 to the template: one interpolation."""
    workflow = BUILDERS["two_wf"]()
    inputnode, merge = workflow.get_node("inputnode"), workflow.get_node("list_transforms")
    wires = workflow._graph.get_edge_data(inputnode, merge)["connect"]
    assert sorted(wires) == [("xfm1", "in1"), ("xfm2", "in2")]


@pytest.mark.parametrize(
    ("space", "skull_strip", "engine", "sloppy"),
    [
        ("MNI152NLin2009cAsym", "auto", "template", False),
        ("MNI152NLin6Asym", "force", "synthstrip", True),
    ],
)
def test_settings_reach_their_steps(space, skull_strip, engine, sloppy):
    workflow = init_prepare_t1w_wf(
        space=space, skull_strip=skull_strip, engine=engine, sloppy=sloppy
    )
    assert workflow.get_node("extract_brain").inputs.engine == engine
    assert workflow.get_node("extract_brain").inputs.mode == skull_strip
    assert workflow.get_node("register_template").inputs.sloppy is sloppy
    assert workflow.get_node("register_template").inputs.space == space


def test_a_sample_is_quantified_as_the_mean_is():
    workflow = init_quantify_wf(**QUANTIFY, with_spread=True, name="spread_wf")
    one, all_of_them = workflow.get_node("quantify"), workflow.get_node("measure_spread")
    for setting in ("ref_region", "min_coverage"):
        assert getattr(one.inputs, setting) == getattr(all_of_them.inputs, setting)


def test_products_are_shared_out():
    groups = (ANAT_PRODUCTS, FLAIR_PRODUCTS, PET_PRODUCTS, SPREAD_PRODUCTS, ("qc",))
    every = [product for group in groups for product in group]
    assert len(every) == len(set(every))


def test_a_sink_keeps_no_hold_on_its_arguments(unit, tmp_path):
    sidecars = {"dseg": {"a": 1}}
    node = init_ds_node(
        products=("dseg",), label=unit().label, output_dir=tmp_path, space="MNI", resolution="2",
        sidecars=sidecars, name="ds",
    )  # fmt: skip
    sidecars["dseg"]["a"] = 2
    assert node.inputs.sidecars == {"dseg": {"a": 1}}
    assert node.inputs.label == "sub-01_ses-a"
