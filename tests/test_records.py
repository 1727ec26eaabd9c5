import json

import pytest
from toys import tiny_card, tiny_config, tiny_unit

from relad_bids import __version__
from relad_bids.core.columns import COLUMNS, SYNTHETIC_STATEMENT
from relad_bids.core.qc import QC_COLUMNS
from relad_bids.records import (
    Sidecars,
    inside,
    known_qc,
    pet_context,
    pet_flags,
    report_facts,
    resolution_label,
    session_flags,
    statement,
)

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
    ("tracer", "flair", "flags"),
    [
        ("pib", True, ["single_sample"]),
        ("pib", False, ["flair_missing", "single_sample"]),
        ("pbr28", True, ["pseudo_reference", "single_sample"]),
    ],
)
def test_flags_of_an_image(config, tracer, flair, flags):
    unit = tiny_unit(config, flair=flair)
    assert pet_flags(unit, tracer) == flags
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
