from dataclasses import replace

import pytest
from nipype.interfaces.base import isdefined
from toys import TRACERS
from wiring import loose_wires

from relad_bids.bids.outputs import PRODUCTS
from relad_bids.interfaces.outputs import SaveDerivatives
from relad_workflows.session import init_session_wf, reference_label


def steps(workflow):
    """Every node of a graph, however deep."""
    return [workflow.get_node(name) for name in workflow.list_node_names()]


def wires_into(workflow, node):
    """Fields of a node of the top level that something is connected to."""
    edges = workflow._graph.in_edges(node, data=True)
    return {field for _, _, data in edges for _, field in data["connect"]}


def sinks(workflow):
    return [node for node in steps(workflow) if isinstance(node.interface, SaveDerivatives)]


CASES = [
    pytest.param({"flair": flair, "session": session, "tracers": tracers})
    for flair in (True, False)
    for session, tracers in (("a", TRACERS), (None, ("pib",)))
]


@pytest.mark.parametrize("case", CASES)
def test_no_wire_is_loose(session_wf, case):
    assert loose_wires(session_wf(**case)) == []


@pytest.mark.parametrize("case", CASES)
def test_every_product_is_connected(session_wf, case):
    """A dynamic input takes any name: a misspelt one would never be written, without a word."""
    workflow = session_wf(**case)
    assert sinks(workflow)
    for sink in sinks(workflow):
        products = set(sink.interface._products)
        connected = wires_into(workflow, sink)
        assert products <= connected
        assert connected <= products | {f"{name}_facts" for name in products}
        assert products <= set(PRODUCTS)


@pytest.mark.parametrize("case", CASES)
def test_every_image_and_table_of_pet_has_its_sidecar(session_wf, case):
    workflow = session_wf(**case)
    for sink in sinks(workflow):
        for product in sink.interface._products:
            is_image = PRODUCTS[product].extension == ".nii.gz"
            assert (product in sink.inputs.sidecars) is (is_image or product == "kinpar")
        facts = {name for name in wires_into(workflow, sink) if name.endswith("_facts")}
        assert {name.removesuffix("_facts") for name in facts} <= set(sink.inputs.sidecars)


@pytest.mark.parametrize("case", CASES)
def test_every_mandatory_input_is_set_or_connected(session_wf, case):
    """Nipype would only say so when the step is reached, hours later."""
    graph = session_wf(**case)._create_flat_graph()
    lacking = []
    for node in graph.nodes():
        edges = graph.in_edges(node, data=True)
        connected = {field for _, _, data in edges for _, field in data["connect"]}
        lacking += [
            f"{node.fullname}.{name}"
            for name in node.inputs.traits(mandatory=True)
            if name not in connected and not isdefined(getattr(node.inputs, name))
        ]
    assert lacking == []


@pytest.mark.parametrize("flair", [True, False])
def test_names_tell_the_story(session_wf, flair):
    workflow = session_wf(flair=flair, tracers=("pib", "pbr28"))
    names = {name.split(".")[0] for name in workflow.list_node_names()}
    expected = {
        "inputnode", "prepare_t1w_wf", "list_transforms", "mask_to_grid", "t1w_to_network_wf",
        "synthesise", "warp_parcellation", "describe_parcellation", "collect_qc", "ds_anat",
        "choose_pib", "quantify_pib_wf", "ds_pib", "choose_pbr28", "quantify_pbr28_wf", "ds_pbr28",
        "write_report",
    }  # fmt: skip
    if flair:
        expected |= {"flair_input", "prepare_flair_wf", "flair_to_network_wf", "ds_flair"}
    lists = {name for name in names - expected if name.startswith("list_")}
    assert names - lists == expected


def test_without_flair_the_network_is_told_so(session_wf):
    """An undefined input, not an empty file: SynthesisePET then fills in background."""
    for flair in (True, False):
        workflow = session_wf(flair=flair)
        synthesise = workflow.get_node("synthesise")
        assert ("flair" in wires_into(workflow, synthesise)) is flair
        assert not isdefined(synthesise.inputs.flair)
        assert ("flair_missing" in workflow.get_node("collect_qc").inputs.flags) is not flair


def test_each_transform_is_used_in_its_direction(session_wf):
    """Onto the network's grid by ``t1w_to_mni``, onto the T1w by ``mni_to_t1w``; both saved."""
    workflow = session_wf(tracers=("pib",))
    found = {"outputnode.t1w_to_mni": set(), "outputnode.mni_to_t1w": set()}
    prepared = workflow.get_node("prepare_t1w_wf")
    for _, target, data in workflow._graph.out_edges(prepared, data=True):
        for source, field in data["connect"]:
            if source in found:
                found[source].add(f"{target.name}.{field}")
    assert found == {
        "outputnode.t1w_to_mni": {
            "list_transforms.in1", "t1w_to_network_wf.inputnode.xfm1",
            "flair_to_network_wf.inputnode.xfm1", "ds_anat.t1w_to_mni_xfm",
        },
        "outputnode.mni_to_t1w": {
            "warp_parcellation.mni_to_t1w", "quantify_pib_wf.inputnode.mni_to_t1w",
            "ds_anat.mni_to_t1w_xfm",
        },
    }  # fmt: skip


def test_each_tracer_gets_its_own_image(session_wf):
    """``choose_x`` picks the position that x has in the list the network was given."""
    workflow = session_wf()
    order = workflow.get_node("synthesise").inputs.tracers
    assert tuple(order) == TRACERS
    for position, tracer in enumerate(order):
        assert workflow.get_node(f"choose_{tracer}").inputs.index == [position]
        quantify = workflow.get_node(f"quantify_{tracer}_wf.quantify")
        assert quantify.inputs.context["tracer"] == tracer


def test_the_page_gets_the_tracers_in_the_order_of_its_facts(session_wf):
    workflow = session_wf()
    report = workflow.get_node("write_report")
    assert [pet["tracer"] for pet in report.inputs.facts["pets"]] == list(TRACERS)
    maps = workflow.get_node("list_maps")
    for source, _, data in workflow._graph.in_edges(maps, data=True):
        ((_, field),) = data["connect"]
        assert source.name == f"quantify_{TRACERS[int(field.removeprefix('in')) - 1]}_wf"


def test_settings_reach_their_steps(card, config, unit):
    chosen = replace(
        config, min_coverage=0.7, reference={"pib": "cerebellum-gm"}, seed=9, omp_nthreads=2
    )
    one = unit()
    workflow = init_session_wf(one, card=card, config=chosen)
    quantify = workflow.get_node("quantify_pib_wf.quantify")
    assert quantify.inputs.min_coverage == 0.7
    assert quantify.inputs.ref_region == "cerebellum-gm"
    assert quantify.inputs.context["seed"] == one.seed(9, "pib")
    synthesise = workflow.get_node("synthesise")
    assert synthesise.inputs.num_threads == 2
    assert synthesise.n_procs == 2


def test_every_name_written_differs(session_wf):
    """Sinks of one session never share a file, except the reference region of equal labels."""
    names = []
    for sink in sinks(session_wf()):
        extra = sink.inputs.extra if isdefined(sink.inputs.extra) else {}
        names += [
            (product, tuple(extra.get(product, {}).items()))
            for product in sink.interface._products
        ]
    masks = [name for name in names if name[0] == "reference_mask"]
    others = [name for name in names if name[0] != "reference_mask"]
    assert len(others) == len(set(others))
    assert {dict(extra)["label"] for _, extra in masks} == {
        "cerebellumInferiorGm", "cerebellumGm", "cerebellumWhole",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "label"),
    [("pons", "pons"), ("cerebellum-gm", "cerebellumGm"), ("a-b-c", "aBC")],
)
def test_a_region_as_a_bids_label(name, label):
    assert reference_label(name) == label


def test_a_label_with_plus_can_be_built(session_wf):
    """BIDS allows it in a label, Nipype does not in a name."""
    assert session_wf(subject="0+1").name == "sub_0__1_ses_a_wf"
