from collections import Counter

import pytest

from relad_bids.errors import UsageError
from relad_bids.tables import find_tracer, label_names, tracers, voi_sets

HALF_LIFE_S = {"F18": 6586.2, "C11": 1221.84}
"""109.77 and 20.364 minutes."""


UNDECLARED = tracers()["tspo-undeclared"]


@pytest.fixture(params=tracers().values(), ids=lambda tracer: tracer.name)
def tracer(request):
    return request.param


@pytest.fixture(
    params=[tracer for tracer in tracers().values() if tracer is not UNDECLARED],
    ids=lambda tracer: tracer.name,
)
def ligand(request):
    return request.param


def test_the_tracers_that_are_known():
    targets = Counter(tracer.target for tracer in tracers().values() if tracer.declared)
    assert targets == {"tau": 5, "amyloid": 5, "tspo": 1, "metabolism": 1}
    assert [tracer.name for tracer in tracers().values() if not tracer.declared] == [
        UNDECLARED.name
    ]


def test_a_tracer_is_whole(ligand):
    assert ligand.half_life_s == HALF_LIFE_S[ligand.radionuclide]
    for first, last in (ligand.window_min, *ligand.accepted_windows_min):
        assert 0 < first < last
    assert ligand.window_min not in ligand.accepted_windows_min
    assert ligand.trc.startswith(ligand.radionuclide[1:] + ligand.radionuclide[0])
    ligand.require_declared("anything")


def test_a_label_of_bids_holds_letters_and_digits(tracer):
    assert tracer.trc.isalnum()


def test_a_target_without_ligand_knows_nothing_of_one():
    assert UNDECLARED.target == "tspo"
    assert UNDECLARED.half_life_s is UNDECLARED.window_min is None
    assert UNDECLARED.accepted_windows_min == UNDECLARED.reference_alternates == ()
    with pytest.raises(
        UsageError, match=r"a cut-off was asked for tspo-undeclared; which TSPO ligand .* over "
        r"cerebellum-gm, flagged ligand_undeclared",
    ):  # fmt: skip
        UNDECLARED.require_declared("a cut-off")


def test_the_regions_of_a_tracer_are_in_the_table(tracer):
    references = {voi.voi for voi in voi_sets(["ref"])}
    assert {tracer.reference, *tracer.reference_alternates} <= references
    assert tracer.primary_vois
    assert set(tracer.primary_vois) <= {voi.voi for voi in voi_sets()}


def test_a_pattern_stands_for_all_its_regions():
    assert len([name for name in tracers()["fdg"].primary_vois if name.startswith("lobe-")]) == 6


def test_every_spelling_finds_its_tracer(tracer):
    for spelling in (tracer.name, tracer.trc, *tracer.aliases, *tracer.also):
        assert find_tracer(spelling) is tracer
        assert find_tracer(spelling.upper()) is tracer


def test_dashes_spaces_and_isotopes_do_not_count(ligand):
    element, mass = ligand.radionuclide[0], ligand.radionuclide[1:]
    for isotope in (f"[{mass}{element}]", f"[{element}-{mass}]", f"({mass}{element})-"):
        assert find_tracer(f"{isotope}{ligand.name}") is ligand
    assert find_tracer(f"{mass}{element}-{ligand.name}") is ligand
    assert find_tracer(f"{ligand.name} {element} {mass}") is ligand


@pytest.mark.parametrize(
    ("word", "name"),
    [("tau", "flortaucipir"), ("amyloid", "pib"), ("TSPO", "pbr28"), ("pbr", "pbr28")],
)
def test_a_target_stands_for_the_usual_tracer(word, name):
    assert find_tracer(word).name == name


@pytest.mark.parametrize(
    ("word", "among", "name"),
    [
        ("tspo", ["tspo-undeclared", "pib"], "tspo-undeclared"),
        ("PBR", ["tspo-undeclared", "pib"], "tspo-undeclared"),
        ("tau", ["mk6240", "pib"], "mk6240"),
        ("tau", ["mk6240", "ro948"], "flortaucipir"),  # two: nobody can tell which
        ("tau", ["pib"], "flortaucipir"),
        ("pbr28", ["tspo-undeclared"], "pbr28"),  # a ligand is a ligand
        ("flortaucipir", ["mk6240"], "flortaucipir"),
    ],
)
def test_a_target_stands_for_the_one_tracer_of_it_that_there_is(word, among, name):
    assert find_tracer(word, among=among).name == name


@pytest.mark.parametrize("text", ["", "18F", "CIMBI36", "flor", "pibb"])
def test_an_unknown_tracer(text):
    with pytest.raises(UsageError, match=r"is not known\. Known are flortaucipir \(18FAV1451\), "):
        find_tracer(text)


def test_facts_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        tracers()["tau"] = None
    with pytest.raises(TypeError, match="does not support item assignment"):
        label_names()[17] = None


def voi(family, name):
    (found,) = (voi for voi in voi_sets([family]) if voi.voi == name)
    return found


@pytest.mark.parametrize("found", voi_sets(), ids=lambda voi: f"{voi.family}-{voi.voi}")
def test_a_voi_set_can_be_resolved(found):
    """Each kind holds what it is made of, of things that exist."""
    assert set(found.labels) <= label_names().keys()
    assert len(set(found.labels)) == len(found.labels)
    assert bool(found.parts) == (found.kind == "parts")
    assert set(found.parts) <= {voi.voi for voi in voi_sets()}
    if found.kind == "labels":
        assert found.labels
    elif found.kind == "parts":
        assert found.labels == ()


def test_the_braak_stages_share_no_label_and_agree_with_the_label_table():
    stages = [voi("tau", f"braak{n}") for n in range(1, 7)]
    counted = Counter(label for stage in stages for label in stage.labels)
    assert set(counted.values()) == {1}
    assert len(counted) == 72  # 68 cortical labels, hippocampus and amygdala
    for stage in stages:
        in_table = {label.index for label in label_names().values() if label.braak == stage.voi}
        assert set(stage.labels) == in_table


def test_left_and_right_come_in_pairs():
    for found in voi_sets():
        hemis = Counter(label_names()[index].hemi for index in found.labels)
        assert hemis["L"] == hemis["R"], found


@pytest.mark.parametrize(
    ("family", "name", "kind", "labels"),
    [
        ("ref", "cerebellum-inferior-gm", "mask", (8, 47)),
        ("ref", "wm-eroded", "mask", (2, 41, 77)),
        ("ref", "pons", "mask", (174,)),
        ("tspo", "wmh", "mask", (77,)),
        ("amyloid", "centiloid-ctx", "mask", ()),
        ("offtarget", "meninges-ring", "mask", ()),
        ("ref", "cerebellum-whole", "labels", (7, 8, 46, 47)),
        ("tspo", "brainstem", "labels", (16,)),
    ],
)
def test_what_labels_give_and_what_needs_a_mask(family, name, kind, labels):
    found = voi(family, name)
    assert (found.kind, found.labels) == (kind, labels)


def test_means_of_parts():
    assert len(voi("amyloid", "amyloid-composite").parts) == 4
    assert voi("ref", "composite").parts == ("wm-eroded", "brainstem", "cerebellum-whole")


def test_the_whole_brain_is_tissue_only():
    tissues = {label_names()[index].tissue for index in voi("ref", "global-brain").labels}
    assert {"cortex", "subcortical-gm", "wm", "cerebellar-gm", "cerebellar-wm"} <= tissues
    assert not tissues & {"csf", "offtarget", "other", "wmh"}


def test_families():
    assert {voi.family for voi in voi_sets(["tau", "ref"])} == {"tau", "ref"}
    assert len(voi_sets()) > len(voi_sets(["tau"])) > 0
    with pytest.raises(UsageError, match=r"called taus\. Known are tau, amyloid, "):
        voi_sets(["taus", "tau"])


def test_labels():
    hippocampus, entorhinal = label_names()[17], label_names()[1006]
    assert (hippocampus.name, hippocampus.hemi) == ("Left-Hippocampus", "L")
    assert hippocampus.lobe is None
    assert (entorhinal.lobe, entorhinal.braak, entorhinal.in_dkt) == ("temporal", "braak1", True)
    assert not label_names()[1001].in_dkt
