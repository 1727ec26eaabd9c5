import json
from dataclasses import replace
from pathlib import Path

import pytest
from toys import drawing_card, tiny_card, tiny_config, tiny_measured, tiny_unit

from relad_bids import __version__
from relad_bids.core.columns import COLUMNS, MEASURED_STATEMENT, SYNTHETIC_STATEMENT
from relad_bids.core.qc import QC_COLUMNS
from relad_bids.records import (
    Sidecars,
    inside,
    intervals,
    known_qc,
    pet_context,
    pet_flags,
    report_facts,
    resolution_label,
    sampling_text,
    session_flags,
    statement,
    steps_of,
    table_paths,
)
from relad_bids.records_measured import (
    measured_context,
    measured_flags,
    measured_path,
    measured_sidecars,
    measured_text,
)
from relad_bids.sessions import Labels, Unread

CARD = tiny_card(sha256="ab" * 32)


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path, reference={"pib": "cerebellum-gm"}, seed=4)


@pytest.fixture
def unit(config):
    return tiny_unit(config)


def cubes(edge_mm):
    return tiny_card(affine=tuple(
        tuple(edge_mm if row == column < 3 else float(row == column) for column in range(4))
        for row in range(4)
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("edge_mm", "label"), [(2.0, "2"), (1.0, "1"), (1.5, "1p5"), (0.8, "0p8"), (1.25, "1p25")]
)
def test_resolution_in_a_file_name(edge_mm, label):
    """A BIDS label takes letters and digits only."""
    assert resolution_label(cubes(edge_mm)) == label


def test_input_files_are_named_inside_their_dataset(config, unit):
    assert inside(config, unit.t1w) == "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"


@pytest.mark.parametrize("flair", [True, False])
def test_nothing_written_names_a_place_on_the_machine(config, tmp_path, flair):
    """Sidecars and tables are shared; the folder of the test stands for anybody's home."""
    unit = tiny_unit(config, flair=flair)
    made = Sidecars(unit, CARD, config)
    every = [
        made.anat(("t1w_preproc", "t1w_norm", "dseg", "t1w_to_mni_xfm"), source="t1w"),
        made.pet("pib"),
        known_qc(unit, CARD, config),
        pet_context(unit, "pib", CARD, config),
        report_facts(unit, CARD, config),
    ]
    text = json.dumps(every)
    assert str(tmp_path) not in text
    assert '"/' not in text


def test_transforms_and_tables_have_no_sidecar_of_an_image(config, unit):
    keys = ("t1w_preproc", "t1w_to_mni_xfm", "dseg", "dseg_table", "morph")
    made = Sidecars(unit, CARD, config).anat(keys, source="t1w")
    assert set(made) == {"t1w_preproc", "dseg"}


def test_each_sidecar_names_what_it_was_made_from(config, unit):
    made = Sidecars(unit, CARD, config)
    t1w = made.anat(("t1w_preproc",), source="t1w")["t1w_preproc"]
    flair = made.anat(("flair_norm",), source="flair")["flair_norm"]
    assert t1w["Sources"] == ["bids:raw:sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"]
    assert flair["Sources"] == ["bids:raw:sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz"]


@pytest.mark.parametrize(("flair", "sequences"), [(True, ["T1w", "FLAIR"]), (False, ["T1w"])])
def test_synthetic_maps_come_from_what_the_network_saw(config, flair, sequences):
    made = Sidecars(tiny_unit(config, flair=flair), CARD, config).pet("pib")
    head = "bids::sub-01/ses-a/anat/sub-01_ses-a_space-MNI152NLin2009cAsym_res-8p96_desc-norm_"
    assert made["suvr_mni"]["Sources"] == [f"{head}{name}.nii.gz" for name in sequences]
    assert made["kinpar"]["Sources"] == made["suvr_mni"]["Sources"]


def test_every_synthetic_file_says_so(config, unit):
    made = Sidecars(unit, CARD, config).pet("pib")
    for key in ("suvr_mni", "suvr_t1w", "kinpar"):
        assert made[key]["Synthetic"] is True
        assert "not a measurement" in json.dumps(made[key])
        assert made[key]["SynthesisModel"]["WeightsSHA256"] == "ab" * 32
        assert made[key]["SynthesisModel"]["Seed"] == unit.seed(4, "pib")
        assert made[key]["ReferenceRegion"] == "cerebellum-gm"
    assert "Synthetic" not in made["reference_mask"]


def test_how_it_was_drawn_is_written_down(config, unit):
    """Sampler, steps, samples and seed: what is needed to draw it again."""
    chosen = replace(config, n_samples=8, sampling_steps=12)
    card = drawing_card(sha256="cd" * 32)
    made = Sidecars(unit, card, chosen).pet("pib")
    for key in ("suvr_mni", "suvr_t1w", "suvr_sd_mni", "kinpar"):
        model = made[key]["SynthesisModel"]
        assert model["Sampler"] == {"name": "dpmpp2m", "steps": 12, "spacing": "log_snr"}
        assert (model["NumberOfSamples"], model["Seed"]) == (8, unit.seed(4, "pib"))
    context = pet_context(unit, "pib", card, chosen)
    assert (context["n_samples"], context["seed"]) == (8, unit.seed(4, "pib"))
    assert report_facts(unit, card, chosen)["used"]["Samples"] == "8 samples of 12 steps, dpmpp2m"
    assert "mean of 8 samples" in report_facts(unit, card, chosen)["methods"]


def test_a_map_of_spread_says_what_it_is_not(config, unit):
    text = Sidecars(unit, CARD, config).pet("pib")["suvr_sd_mni"]["Description"]
    assert "not a measurement" in text
    assert "not how wrong they are" in text


@pytest.mark.parametrize(
    ("card", "n_samples", "steps", "text"),
    [
        (CARD, 1, None, "1 sample, one pass"),
        (drawing_card(), 1, None, "1 sample of 2 steps, dpmpp2m"),
        (drawing_card(), 1, 1, "1 sample, one pass"),
        (drawing_card(), 3, 20, "3 samples of 20 steps, dpmpp2m"),
    ],
)
def test_sampling_in_words(config, card, n_samples, steps, text):
    chosen = replace(config, n_samples=n_samples, sampling_steps=steps)
    assert sampling_text(card, chosen) == text
    assert steps_of(card, chosen) == (steps or card.sampler["steps"])


def test_table_sidecar_explains_every_column(config, unit):
    assert set(COLUMNS) <= set(Sidecars(unit, CARD, config).pet("pib")["kinpar"])


def test_spaces_and_resolutions_of_images(config, unit):
    """BIDS: Resolution wherever ``res-`` stands, SpatialReference wherever the space does."""
    made = Sidecars(unit, CARD, config)
    images = {
        **made.anat(("t1w_mni", "mask_mni", "t1w_norm", "dseg", "brain_mask"), source="t1w"),
        **made.pet("pib"),
    }
    for key in ("t1w_mni", "mask_mni", "t1w_norm", "suvr_mni"):
        assert "16x20x24 voxels, the grid of tiny" in images[key]["Resolution"]
        assert images[key]["SpatialReference"] == "MNI152NLin2009cAsym"
    for key in ("dseg", "brain_mask", "suvr_t1w", "reference_mask"):
        assert images[key]["SpatialReference"] == "orig"
        assert "Resolution" not in images[key]
    assert all("SkullStripped" in images[key] for key in images if key != "kinpar")


@pytest.mark.parametrize(
    ("tracer", "flair", "n_samples", "flags"),
    [
        ("pib", True, 1, ["single_sample"]),
        ("pib", True, 2, []),
        ("pib", False, 1, ["flair_missing", "single_sample"]),
        ("pbr28", True, 1, ["pseudo_reference", "single_sample"]),
        ("pbr28", True, 8, ["pseudo_reference"]),
        ("tspo-undeclared", True, 8, ["pseudo_reference", "ligand_undeclared"]),
    ],
)
def test_flags_of_an_image(config, tracer, flair, n_samples, flags):
    unit = tiny_unit(config, flair=flair)
    assert pet_flags(unit, tracer, replace(config, n_samples=n_samples)) == flags
    assert set(flags) <= set(COLUMNS["qc_flags"]["Levels"])
    assert session_flags(unit) == ([] if flair else ["flair_missing"])


def test_context_fills_columns_that_exist(config, unit):
    context = pet_context(unit, "flortaucipir", CARD, config)
    assert set(context) <= set(COLUMNS)
    assert context["participant_id"] == "sub-01"
    assert context["session_id"] == "ses-a"
    assert context["trc_label"] == "18FAV1451"
    assert context["seed"] == unit.seed(4, "flortaucipir")
    assert context["checkpoint_id"] == "tiny-1+abababab"
    assert context["source"] in COLUMNS["source"]["Levels"]
    assert context["voi_source"] in COLUMNS["voi_source"]["Levels"]


FACTORS = {"pib": {"striatum": {"factor": 1.7, "n": 40}}}
TOLD = {"level": 0.9, "n_samples": 8, "steps": 12, "times": "spread", "factors": FACTORS}
ASKED = {"n_samples": 8, "sampling_steps": 12, "reference": {}}


def test_intervals_of_the_answers_they_were_measured_in(config):
    found = intervals("pib", drawing_card(calibration=TOLD), replace(config, **ASKED))
    assert found == {"factors": {"striatum": 1.7}, "times": "spread"}


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        (None, {}),
        ({**TOLD, "level": 0.8}, {}),
        ({**TOLD, "factors": {}}, {}),
        ({**TOLD, "factors": {"pbr28": FACTORS["pib"]}}, {}),
        (TOLD, {"n_samples": 16}),
        (TOLD, {"sampling_steps": 13}),
        (TOLD, {"reference": {"pib": "cerebellum-gm"}}),
        ({**TOLD, "n_samples": 7}, {"n_samples": 7}),  # too few for a spread
    ],
)
def test_no_intervals_for_other_answers(config, told, asked):
    chosen = replace(config, **{**ASKED, **asked})
    assert intervals("pib", drawing_card(calibration=told), chosen) == {}


def test_steps_that_were_left_to_the_checkpoint_are_its_own(config):
    told = {**TOLD, "n_samples": 1, "steps": None, "times": "SUVr"}
    card = drawing_card(calibration=told)  # walks 2 steps
    for steps, known in ((None, True), (2, True), (3, False)):
        chosen = replace(config, n_samples=1, sampling_steps=steps, reference={})
        assert bool(intervals("pib", card, chosen)) is known


@pytest.mark.parametrize(("contract", "word"), [("suvr-fixed", "SUVR"), ("minmax", "arbitrary")])
def test_unit_of_the_image_is_that_of_its_contract(config, unit, contract, word):
    """Of a min-max network only ratios mean anything."""
    context = pet_context(unit, "pib", tiny_card(pet_contract=contract), config)
    assert context["unit"].startswith(word)


def test_nobody_knows_the_nuclide_of_an_undeclared_ligand(config, unit):
    made = Sidecars(unit, CARD, config).pet("tspo-undeclared")
    assert made["suvr_mni"]["TracerRadionuclide"] == "n/a"
    assert made["suvr_mni"]["TracerName"] == "tspo-undeclared"
    context = pet_context(unit, "tspo-undeclared", CARD, config)
    assert context["trc_label"] == "TSPOundeclared"


def test_no_session_is_missing_and_not_a_label(config):
    unit = tiny_unit(config, session=None)
    assert pet_context(unit, "pib", CARD, config)["session_id"] is None
    assert known_qc(unit, CARD, config)["session_id"] is None


def test_qc_facts_have_their_columns(config, unit):
    known = known_qc(unit, CARD, config)
    assert set(known) <= set(QC_COLUMNS)
    assert known["software_version"] == __version__
    assert known_qc(tiny_unit(config, flair=False), CARD, config)["flair"] is None


def test_statement_holds_ours_and_the_checkpoints():
    assert statement(CARD) == f"{SYNTHETIC_STATEMENT} A toy, for tests."


def test_page_shows_each_tracer_with_its_reference(config, unit):
    facts = report_facts(unit, CARD, config)
    assert {pet["tracer"]: pet["ref_region"] for pet in facts["pets"]} == {
        "flortaucipir": "cerebellum-inferior-gm", "pbr28": "cerebellum-gm", "pib": "cerebellum-gm",
    }  # fmt: skip
    assert facts["used"]["FLAIR"].endswith("_FLAIR.nii.gz")
    no_flair = report_facts(tiny_unit(config, flair=False), CARD, config)
    assert no_flair["used"]["FLAIR"] == "missing"


def test_measured_columns_are_columns_of_the_table(config):
    context = measured_context(tiny_measured(config), tiny_unit(config))
    assert set(context) <= set(COLUMNS)
    assert (context["source"], context["statement"]) == ("real", MEASURED_STATEMENT)
    assert (context["window_start_min"], context["window_status"]) == (50.0, "ok")
    assert "checkpoint_id" not in context


def test_measured_flags_are_described(config):
    flags = measured_flags(tiny_measured(config, tracer="pbr28", flags=("window_assumed",)))
    assert flags == ["window_assumed", "pseudo_reference"]
    assert set(flags) <= set(COLUMNS["qc_flags"]["Levels"])


def test_measured_sidecars_name_what_was_done_and_no_network(config, unit):
    pet = tiny_measured(config, session="b")
    made = measured_sidecars(pet, unit, CARD, config)
    assert "ynthe" not in json.dumps(
        {k: v for k, v in made.items() if k != "measured_kinpar"}
    ).replace('"Synthetic": false', "")
    facts = made["measured_t1w"]
    assert facts["Synthetic"] is False
    assert facts["ReferenceRegion"] == "cerebellum-gm"  # the user's
    assert facts["FrameWeights"] == [0.5, 0.5]
    assert facts["Sources"] == [
        "bids:raw:sub-01/ses-b/pet/sub-01_ses-b_trc-11CPIB_pet.nii.gz",
        "bids::sub-01/ses-a/anat/sub-01_ses-a_space-T1w_atlas-DesikanKilliany_dseg.nii.gz",
    ]
    assert made["measured_kinpar"]["SyntheticDataStatement"] == MEASURED_STATEMENT
    assert made["petref"]["Units"] == "Bq/mL"
    name = measured_path("measured_kinpar", pet, unit, CARD).as_posix()
    assert name.startswith("sub-01/ses-b/pet/sub-01_ses-b_trc-11CPIB_atlas-")


def test_the_log_says_how_a_scan_is_averaged(config):
    assert measured_text(tiny_measured(config)) == "2 frames, 50-70 min (ok)"
    told = measured_text(tiny_measured(config, suv_factor=None, suv_reason="no dose.", note="N."))
    assert told == "2 frames, 50-70 min (ok); N.; no SUV: no dose."


def test_pet_used_and_left_stands_in_the_qc_row(config, unit):
    pet = tiny_measured(config)
    left = Unread("sub-01_ses-a", config.bids_dir / "sub-01" / "x_pet.nii.gz", "why")
    row = known_qc(replace(unit, measured=(pet,), unread=(left,)), CARD, config)
    assert row["pet"] == "sub-01/ses-a/pet/sub-01_ses-a_trc-11CPIB_pet.nii.gz"
    assert row["pet_left"] == "sub-01/x_pet.nii.gz"
    assert (known_qc(unit, CARD, config)["pet"], set(row) <= set(QC_COLUMNS)) == (None, True)


def test_the_users_labels_are_named_in_tables_files_and_sidecars(config):
    """FastSurfer lacks regions: a table of its labels is not named after those that have them."""
    labels = Labels(Path("/fs/sub-01/x.mgz"), "fastsurfer", "DKT", "bids:fs:sub-01/x.mgz")
    unit, pet = replace(tiny_unit(config), labels=labels), tiny_measured(config)
    for context in (
        pet_context(unit, "pib", CARD, config),
        measured_context(pet, unit),
    ):
        assert [context[key] for key in ("atlas", "voi_source")] == ["DKT", "fastsurfer"]
    assert all("_atlas-DKT_" in path.name for path in table_paths(unit, CARD))
    assert "_atlas-DKT_" in measured_path("measured_kinpar", pet, unit, CARD).name
    made = Sidecars(unit, CARD, config)
    dseg = made.anat(("dseg",), source="t1w")["dseg"]
    assert dseg["Sources"] == ["bids:fs:sub-01/x.mgz"]
    assert "not cut further" in dseg["Description"]
    (source,) = made.reference_mask()["reference_mask"]["Sources"]
    assert "_atlas-DKT_dseg" in source
    facts = report_facts(unit, CARD, config)
    assert facts["used"]["Labels"] == "fastsurfer: sub-01/x.mgz"
    assert "as given by FastSurfer" in facts["methods"]
    assert "warped from the template" in report_facts(tiny_unit(config), CARD, config)["methods"]


def test_measured_pet_alone_speaks_of_no_network(config):
    unit = tiny_unit(config, flair=False, tracers=(), measured=[tiny_measured(config)])
    known, facts = known_qc(unit, CARD, config), report_facts(unit, CARD, config)
    assert (known["checkpoint_id"], known["device"]) == (None, None)
    assert "has no FLAIR image" in known["reason"]
    assert CARD.label not in str(facts)
    assert "arXiv 2602.21345" not in facts["methods"]
    assert "Measured PET was averaged over 50 to 70 (pib) minutes" in facts["methods"]
    asked = replace(unit, flair_missing=False)
    assert "nothing was asked" in known_qc(asked, CARD, config)["reason"]
    assert report_facts(asked, CARD, config)["used"]["FLAIR"] == "not needed"
