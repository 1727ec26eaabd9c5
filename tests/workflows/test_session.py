from dataclasses import replace

import pytest
from nipype.interfaces.base import isdefined
from toys import TRACERS, tiny_card, tiny_measured
from wiring import loose_wires

from relad_bids.bids.outputs import PRODUCTS
from relad_bids.interfaces.atlas import AdoptLabels
from relad_bids.interfaces.outputs import SaveDerivatives
from relad_bids.interfaces.reuse import AdoptMask, AdoptT1w, AdoptWarp
from relad_bids.sessions import Atlas, Derived, Labels, Lesion, Reused, Unread
from relad_workflows.outputs import reference_label
from relad_workflows.session import init_session_wf


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
CASES += [pytest.param({"n_samples": n}) for n in (7, 8)]
CASES += [pytest.param({"pet": pet}) for pet in ([("pib", "a")], [("mk6240", "b"), ("pib", "a")])]


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


def test_a_scan_that_missed_its_window_has_a_table_and_no_image(card, config, unit):
    scan = tiny_measured(config, weights=(), flags=("window_mismatch",))
    unread = (Unread(scan.label, scan.path, "too early"),)
    unread += (replace(unread[0], missed=scan),)
    workflow = init_session_wf(replace(unit(), unread=unread), card=card, config=config)
    sink = workflow.get_node("ds_missed_ses_a_pib")
    assert sink.interface._products == ("measured_kinpar",)
    assert wires_into(workflow, sink) == {"measured_kinpar"}
    assert workflow.get_node("tell_missed_ses_a_pib").inputs.flags[0] == "window_mismatch"
    assert not [
        name for name in workflow.list_node_names() if "register_" in name and "pib" in name
    ]


@pytest.mark.parametrize("case", CASES)
def test_every_image_and_table_has_its_sidecar(session_wf, case):
    workflow = session_wf(**case)
    for sink in sinks(workflow):
        for product in sink.interface._products:
            is_image = PRODUCTS[product].extension == ".nii.gz"
            is_table = product.endswith("kinpar") or product in ("morph", "qc")
            assert (product in sink.inputs.sidecars) is (is_image or is_table)
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
        "write_report", "align_atlas", "flag_mri",
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


def test_flags_of_the_mri_reach_every_table(session_wf):
    workflow = session_wf(tracers=("pib", "pbr28"))
    flagged = {
        target.name: data["connect"]
        for _, target, data in workflow._graph.out_edges(workflow.get_node("flag_mri"), data=True)
    }
    table = [("flags", "inputnode.mri_flags")]
    assert flagged == {
        "quantify_pib_wf": table,
        "quantify_pbr28_wf": table,
        "collect_qc": [("flags", "mri_flags")],
    }


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


SPACES = ["MNI152NLin2009cAsym", "MNI152NLin6Asym"]


@pytest.mark.parametrize("space", SPACES)
def test_the_space_is_the_checkpoints(config, unit, space):
    """The template registered to, the one shown, and the names written."""
    workflow = init_session_wf(unit(), card=tiny_card(space=space), config=config)
    assert workflow.get_node("prepare_t1w_wf.register_template").inputs.space == space
    assert workflow.get_node("write_report").inputs.space == space
    assert {sink.inputs.space for sink in sinks(workflow)} == {space}
    assert space in workflow.get_node("write_report").inputs.facts["methods"]


@pytest.mark.parametrize("space", SPACES)
def test_the_parcellation_comes_from_its_own_space(config, unit, space):
    """It lies in MNI152NLin6Asym: there it needs no step, elsewhere one that sessions share."""
    workflow = init_session_wf(unit(), card=tiny_card(space=space), config=config)
    parcellate = workflow.get_node("warp_parcellation")
    elsewhere = space != "MNI152NLin6Asym"
    assert ("align_atlas" in workflow.list_node_names()) is elsewhere
    assert ("atlas_to_mni" in wires_into(workflow, parcellate)) is elsewhere
    if elsewhere:
        align = workflow.get_node("align_atlas").inputs
        assert align.space == space
        assert align.cache_dir == str(config.work_dir / "atlas")


def test_each_tracer_gets_its_own_image(session_wf):
    """``choose_x`` picks the position that x has in the list the network was given."""
    workflow = session_wf()
    order = workflow.get_node("synthesise").inputs.tracers
    assert tuple(order) == TRACERS
    for position, tracer in enumerate(order):
        assert workflow.get_node(f"choose_{tracer}").inputs.index == [position]
        quantify = workflow.get_node(f"quantify_{tracer}_wf.quantify")
        assert quantify.inputs.context["tracer"] == tracer


def test_each_tracer_gets_its_own_samples(session_wf):
    """``sample_files`` holds those of the first tracer, then those of the second ..."""
    workflow = session_wf(n_samples=8)
    synthesise = workflow.get_node("synthesise")
    assert synthesise.inputs.n_samples == 8
    for position, tracer in enumerate(synthesise.inputs.tracers):
        chosen = workflow.get_node(f"choose_{tracer}_samples")
        assert chosen.inputs.index == list(range(8 * position, 8 * position + 8))
        ((_, target, data),) = workflow._graph.out_edges(chosen, data=True)
        assert target.name == f"quantify_{tracer}_wf"
        assert data["connect"] == [("out", "inputnode.samples")]


@pytest.mark.parametrize(("n_samples", "told"), [(1, False), (7, False), (8, True)])
def test_a_spread_is_measured_where_samples_suffice(session_wf, n_samples, told):
    workflow = session_wf(n_samples=n_samples, tracers=("pib",))
    assert ("quantify_pib_wf.measure_spread" in workflow.list_node_names()) is told
    assert ("suvr_sd_mni" in workflow.get_node("ds_pib").interface._products) is told
    flags = workflow.get_node("quantify_pib_wf.quantify").inputs.flags
    assert ("single_sample" in flags) is (n_samples == 1)


def test_each_tracer_has_its_own_intervals(config, unit):
    told = {
        "level": 0.9, "n_samples": 1, "steps": None, "times": "SUVr",
        "factors": {"pib": {"striatum": {"factor": 0.3, "n": 40}}},
    }  # fmt: skip
    workflow = init_session_wf(unit(), card=tiny_card(calibration=told), config=config)
    found = {
        tracer: workflow.get_node(f"quantify_{tracer}_wf.quantify").inputs.intervals
        for tracer in TRACERS
    }
    assert found.pop("pib") == {"factors": {"striatum": 0.3}, "times": "SUVr"}
    assert set(map(len, found.values())) == {0}


def test_measured_pet_joins_at_the_quantification(session_wf):
    """Mean, T1w, SUVr; the map in template space in one interpolation from the mean."""
    workflow = session_wf(pet=[("mk6240", "b"), ("pib", "a")])
    get = workflow.get_node
    for name, label in (("ses_b_mk6240", "sub-01_ses-b"), ("ses_a_pib", "sub-01_ses-a")):
        realign = get(f"realign_{name}")
        targets = {target.name for target in workflow._graph.successors(realign)}
        assert targets == {
            f"register_{name}", f"to_t1w_{name}", f"to_grid_{name}", f"ds_measured_{name}",
            f"quantify_measured_{name}", "list_motions", "list_traces",
        }  # fmt: skip
        for step in ("realign", "to_t1w", "to_grid"):
            assert get(f"{step}_{name}").inputs.weights == [0.5, 0.5]
        ways = {"list_to_t1w": {("xfm", "in1")}}
        ways["list_to_grid"] = {("outputnode.t1w_to_mni", "in1"), ("xfm", "in2")}
        for step, way in ways.items():
            edges = workflow._graph.in_edges(get(f"{step}_{name}"), data=True)
            assert {data["connect"][0] for _, _, data in edges} == way
        quantify = get(f"quantify_measured_{name}").inputs
        assert quantify.context["source"] == "real"
        assert quantify.suv_factor == 2e-4
        assert get(f"ds_measured_{name}").inputs.label == label
        assert get(f"ds_reference_{name}").inputs.label == "sub-01_ses-a"
    assert get("quantify_measured_ses_b_mk6240").inputs.ref_region == "cerebellum-inferior-gm"


def test_without_dose_there_is_no_suv(card, config, unit):
    measured = [tiny_measured(config, suv_factor=None, suv_reason="no dose")]
    workflow = init_session_wf(unit(measured=measured), card=card, config=config)
    quantify = workflow.get_node("quantify_measured_ses_a_pib")
    assert not isdefined(quantify.inputs.suv_factor)


@pytest.mark.parametrize("method", ["auto", "identity"])
def test_the_way_onto_the_t1w_is_the_users(card, config, unit, method):
    made = unit(measured=[tiny_measured(config)])
    workflow = init_session_wf(made, card=card, config=replace(config, pet2anat=method))
    assert workflow.get_node("register_ses_a_pib").inputs.method == method


def test_the_page_shows_measured_after_synthetic(session_wf):
    workflow = session_wf(pet=[("pib", "a")])
    pets = workflow.get_node("write_report").inputs.facts["pets"]
    assert [(pet["tracer"], pet["source"]) for pet in pets[-2:]] == [
        (TRACERS[-1], "synthetic"), ("pib", "real"),
    ]  # fmt: skip
    for lists in ("list_maps", "list_tables", "list_references"):
        (last,) = [
            source.name
            for source, _, data in workflow._graph.in_edges(workflow.get_node(lists), data=True)
            if data["connect"][0][1] == f"in{len(pets)}"
        ]
        assert last == "quantify_measured_ses_a_pib"


def test_each_tracer_has_its_own_seed(card, config, unit):
    """By participant, session, tracer and the base seed; the order does not matter."""
    one, other = unit(), unit(session="b")
    seeds = {}
    for job in (one, other, replace(one, tracers=TRACERS[::-1])):
        synthesise = init_session_wf(job, card=card, config=config).get_node("synthesise").inputs
        for tracer, seed in zip(synthesise.tracers, synthesise.seeds, strict=True):
            assert seeds.setdefault((job.label, tracer), seed) == seed
            assert seed == job.seed(config.seed, tracer)
    assert len(set(seeds.values())) == len(seeds) == 6


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
        config, min_coverage=0.7, reference={"pib": "cerebellum-gm"}, seed=9, omp_nthreads=2,
        n_samples=3, sampling_steps=5,
    )  # fmt: skip
    one = unit()
    workflow = init_session_wf(one, card=card, config=chosen)
    quantify = workflow.get_node("quantify_pib_wf.quantify")
    assert quantify.inputs.min_coverage == 0.7
    assert quantify.inputs.ref_region == "cerebellum-gm"
    assert quantify.inputs.context["seed"] == one.seed(9, "pib")
    synthesise = workflow.get_node("synthesise")
    assert (synthesise.inputs.n_samples, synthesise.inputs.steps) == (3, 5)
    assert synthesise.inputs.seeds == [one.seed(9, tracer) for tracer in one.tracers]
    assert synthesise.inputs.weights == card.sha256
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


MEASURED_ALONE = {"tracers": (), "flair": False, "pet": [("pib", "a")]}


def test_measured_pet_alone_has_no_network(session_wf):
    """Nothing of the network is in the graph, and all that is written has what it needs."""
    workflow = session_wf(**MEASURED_ALONE)
    names = {name.split(".")[0] for name in workflow.list_node_names()}
    assert not {name for name in names if "network" in name or "synth" in name or "flair" in name}
    assert {"t1w_to_grid", "quantify_measured_ses_a_pib", "write_report"} <= names
    assert loose_wires(workflow) == []
    anat = workflow.get_node("ds_anat")
    assert set(anat.interface._products) <= wires_into(workflow, anat)
    assert "t1w_norm" not in anat.interface._products
    assert "t1w_mni" in wires_into(workflow, workflow.get_node("write_report"))


def schaefer(tmp_path, space, name="Schaefer"):
    path = tmp_path / f"{name}_{space}.nii.gz"
    path.touch()
    return Atlas(path, space, {"atlas": name}, ((1, "LH_Vis"), (7, "RH_Som")), "bids:x:y")


@pytest.mark.parametrize("case", [MEASURED_ALONE, {"tracers": ("pib",), "pet": [("pib", "a")]}])
def test_each_atlas_is_one_job_with_a_table_of_each_pet(session_wf, tmp_path, case):
    spaces = ("MNI152NLin2009cAsym", "MNI152NLin6Asym")
    atlases = [schaefer(tmp_path, space, f"S{n}") for n, space in enumerate(spaces)]
    workflow = session_wf(**case, atlases=atlases)
    assert loose_wires(workflow) == []
    for atlas in atlases:
        tables = [s for s in sinks(workflow) if s.name.startswith(f"ds_{atlas.node_name}_")]
        assert len(tables) == len(case["tracers"]) + 1
        for sink in tables:
            (product,) = sink.interface._products
            assert sink.inputs.extra[product]["atlas"] == atlas.entities["atlas"]
            assert wires_into(workflow, sink) == {product}
        warp = workflow.get_node(f"warp_{atlas.node_name}")
        elsewhere = atlas.space != "MNI152NLin2009cAsym"
        assert ("atlas_to_mni" in wires_into(workflow, warp)) is elsewhere
        assert "gm" in wires_into(workflow, warp)
    steps = [name for name in workflow.list_node_names() if name.startswith("align_")]
    assert steps == ["align_atlas"], "one for the packaged labels and the atlas"


def test_atlases_of_the_other_space_are_led_to_that_of_the_checkpoint(config, unit, tmp_path):
    atlases = [schaefer(tmp_path, "MNI152NLin2009cAsym", name) for name in ("S1", "S2")]
    chosen = replace(config, atlas_cut="none")
    workflow = init_session_wf(
        replace(unit(), atlases=tuple(atlases)),
        card=tiny_card(space="MNI152NLin6Asym"),
        config=chosen,
    )
    align = workflow.get_node("align_MNI152NLin2009cAsym").inputs
    assert (align.atlas_space, align.space) == ("MNI152NLin2009cAsym", "MNI152NLin6Asym")
    for name in ("warp_S1", "warp_S2"):
        wires = wires_into(workflow, workflow.get_node(name))
        assert "atlas_to_mni" in wires
        assert "gm" not in wires


def derived(tmp_path, *names):
    for name in names:
        (tmp_path / name).touch()
    return [Derived(tmp_path / name, "fmriprep", f"bids:fmriprep:{name}") for name in names]


def test_derivatives_take_the_place_of_steps(session_wf, tmp_path):
    reused = Reused(*derived(tmp_path, "t1w.nii.gz", "mask.nii.gz", "to.h5", "from.h5"))
    workflow = session_wf(reused=reused, pet=[("pib", "a")])
    get = workflow.get_node
    assert get("inputnode").inputs.t1w == str(tmp_path / "t1w.nii.gz")
    for name, kind in (
        ("correct_t1w", AdoptT1w), ("extract_brain", AdoptMask), ("register_template", AdoptWarp),
    ):  # fmt: skip
        assert isinstance(get(f"prepare_t1w_wf.{name}").interface, kind)
    warp = get("prepare_t1w_wf.register_template").inputs
    assert (warp.forward_file, warp.inverse_file, warp.space) == (
        str(tmp_path / "to.h5"), str(tmp_path / "from.h5"), "MNI152NLin2009cAsym",
    )  # fmt: skip
    assert get("prepare_t1w_wf.extract_brain").inputs.mask_file == str(tmp_path / "mask.nii.gz")
    assert loose_wires(workflow) == []


def test_each_step_is_replaced_by_itself(session_wf, tmp_path):
    (mask,) = derived(tmp_path, "mask.nii.gz")
    get = session_wf(reused=Reused(mask=mask)).get_node
    assert not isinstance(get("prepare_t1w_wf.correct_t1w").interface, AdoptT1w)
    assert isinstance(get("prepare_t1w_wf.extract_brain").interface, AdoptMask)
    assert not isinstance(get("prepare_t1w_wf.register_template").interface, AdoptWarp)


@pytest.mark.parametrize("on", ["T1w", "FLAIR"])
@pytest.mark.parametrize("flair", [True, False])
def test_a_lesion_reaches_warp_scale_table_and_sink(session_wf, tmp_path, on, flair):
    if (on, flair) == ("FLAIR", False):
        pytest.skip("no FLAIR to draw on")
    (tmp_path / "lesion.nii.gz").touch()
    lesion = Lesion(tmp_path / "lesion.nii.gz", on, "bids:raw:lesion.nii.gz")
    workflow = session_wf(lesion=lesion, flair=flair)
    prepare = workflow.get_node("prepare_t1w_wf")
    assert loose_wires(workflow) == []
    assert "lesion" in wires_into(prepare, prepare.get_node("register_template"))
    assert ("xfm" in wires_into(prepare, prepare.get_node("adopt_lesion"))) is (on == "FLAIR")
    assert "lesion" in wires_into(workflow, workflow.get_node("collect_qc"))
    for name in ("t1w_to_network_wf", "flair_to_network_wf")[: 2 if flair else 1]:
        wires = wires_into(workflow, workflow.get_node(name))
        assert "normalise.exclude_file" in wires
    assert wires_into(workflow, workflow.get_node("ds_lesion")) == {"lesion_mask"}
    graph = workflow._create_flat_graph()  # no step waits for itself
    assert {node.name for node in graph.nodes()} >= {"adopt_lesion", "lesion_to_grid"}


def test_a_lesion_and_measured_pet_alone(session_wf, tmp_path):
    (tmp_path / "lesion.nii.gz").touch()
    lesion = Lesion(tmp_path / "lesion.nii.gz", "T1w", "bids:raw:lesion.nii.gz")
    workflow = session_wf(lesion=lesion, tracers=(), flair=False, pet=[("pib", "a")])
    assert loose_wires(workflow) == []
    assert "adopt_lesion" in {name.split(".")[-1] for name in workflow.list_node_names()}


def test_given_labels_take_the_place_of_the_packaged_ones(session_wf, tmp_path):
    path = tmp_path / "aparc.mgz"
    path.touch()
    labels = Labels(path, "fastsurfer", "DKT", "bids:fs:x")
    workflow = session_wf(labels=labels, pet=[("pib", "a")])
    step = workflow.get_node("warp_parcellation")
    assert isinstance(step.interface, AdoptLabels)
    assert step.inputs.labels == str(path)
    assert loose_wires(workflow) == []
    assert workflow.get_node("ds_anat").inputs.extra["dseg"] == {"atlas": "DKT"}
    assert workflow.get_node("ds_pib").inputs.extra["kinpar"]["atlas"] == "DKT"
    assert (
        workflow.get_node("quantify_pib_wf.quantify").inputs.context["voi_source"] == "fastsurfer"
    )


@pytest.mark.parametrize("space", SPACES)
def test_suit_draws_the_inferior_cerebellum_of_every_pet(config, unit, tmp_path, space):
    suit = schaefer(tmp_path, "MNI152NLin6Asym", "suit")
    workflow = init_session_wf(
        replace(unit(), suit=suit), card=tiny_card(space=space), config=config
    )
    step = workflow.get_node("warp_parcellation")
    assert step.inputs.suit == str(suit.path)
    assert ("suit_to_mni" in wires_into(workflow, step)) is (space != "MNI152NLin6Asym")
    told = {
        tracer: workflow.get_node(f"quantify_{tracer}_wf.quantify").inputs.suit
        for tracer in TRACERS
    }
    assert told == dict.fromkeys(TRACERS, True)


def test_what_is_found_of_measured_pet_is_told_in_the_order_of_the_scans(session_wf):
    workflow = session_wf(tracers=("pib",), pet=[("mk6240", "b"), ("pib", "a")])
    for gather, field in (
        ("list_scores", "facts"),
        ("list_motions", "facts"),
        ("list_traces", "trace"),
    ):
        edges = workflow._graph.in_edges(workflow.get_node(gather), data=True)
        found = {data["connect"][0][1]: source.name for source, _, data in edges}
        assert [found[place].split("_", 1)[1] for place in ("in1", "in2")] == [
            "ses_b_mk6240",
            "ses_a_pib",
        ]
        assert {data["connect"][0][0] for _, _, data in edges} == {field}
    assert {"pet_scores", "pet_motions"} <= wires_into(workflow, workflow.get_node("collect_qc"))
    assert {"scores", "traces"} <= wires_into(workflow, workflow.get_node("write_report"))
    alone = session_wf(tracers=("pib",))
    assert "pet_scores" not in wires_into(alone, alone.get_node("collect_qc"))
