import re
from pathlib import Path

import pytest

from relad_bids.bids.outputs import (
    BIDSIGNORE,
    ORDER,
    PRODUCTS,
    bids_uri,
    file_name,
    product_path,
    session_dir,
    sidecar_path,
)

MNI = "MNI152NLin2009cAsym"
DK = "atlas-DesikanKilliany"
HEAD = "sub-01_ses-01"

EXPECTED = {
    "t1w_preproc": f"anat/{HEAD}_desc-preproc_T1w.nii.gz",
    "brain_mask": f"anat/{HEAD}_desc-brain_mask.nii.gz",
    "lesion_mask": f"anat/{HEAD}_label-lesion_mask.nii.gz",
    "flair_preproc": f"anat/{HEAD}_space-T1w_desc-preproc_FLAIR.nii.gz",
    "t1w_mni": f"anat/{HEAD}_space-{MNI}_res-1_desc-preproc_T1w.nii.gz",
    "flair_mni": f"anat/{HEAD}_space-{MNI}_res-1_desc-preproc_FLAIR.nii.gz",
    "t1w_norm": f"anat/{HEAD}_space-{MNI}_res-1_desc-norm_T1w.nii.gz",
    "flair_norm": f"anat/{HEAD}_space-{MNI}_res-1_desc-norm_FLAIR.nii.gz",
    "mask_mni": f"anat/{HEAD}_space-{MNI}_res-1_desc-brain_mask.nii.gz",
    "t1w_to_mni_xfm": f"anat/{HEAD}_from-T1w_to-{MNI}_mode-image_xfm.h5",
    "mni_to_t1w_xfm": f"anat/{HEAD}_from-{MNI}_to-T1w_mode-image_xfm.h5",
    "flair_to_t1w_xfm": f"anat/{HEAD}_from-FLAIR_to-T1w_mode-image_xfm.txt",
    "dseg": f"anat/{HEAD}_space-T1w_{DK}_dseg.nii.gz",
    "dseg_table": f"anat/{HEAD}_space-T1w_{DK}_dseg.tsv",
    "morph": f"anat/{HEAD}_{DK}_morph.tsv",
    "reference_mask": f"anat/{HEAD}_space-T1w_label-cerebellumGM_desc-ref_mask.nii.gz",
    "suvr_mni": f"pet/{HEAD}_trc-11CPIB_space-{MNI}_res-1_meas-SUVR_desc-synth_mimap.nii.gz",
    "suvr_t1w": f"pet/{HEAD}_trc-11CPIB_space-T1w_meas-SUVR_desc-synth_mimap.nii.gz",
    "suvr_sd_mni": f"pet/{HEAD}_trc-11CPIB_space-{MNI}_res-1_meas-SUVR_stat-std_desc-synth_"
    "mimap.nii.gz",
    "kinpar": f"pet/{HEAD}_trc-11CPIB_{DK}_model-SUVR_desc-synth_kinpar.tsv",
    "measured_mni": f"pet/{HEAD}_trc-11CPIB_space-{MNI}_res-1_meas-SUVR_desc-measured_"
    "mimap.nii.gz",
    "measured_t1w": f"pet/{HEAD}_trc-11CPIB_space-T1w_meas-SUVR_desc-measured_mimap.nii.gz",
    "measured_kinpar": f"pet/{HEAD}_trc-11CPIB_{DK}_model-SUVR_desc-measured_kinpar.tsv",
    "petref": f"pet/{HEAD}_trc-11CPIB_desc-mean_petref.nii.gz",
    "petref_to_t1w_xfm": f"pet/{HEAD}_trc-11CPIB_from-petref_to-T1w_mode-image_xfm.txt",
    "qc": f"{HEAD}_desc-relad_qc.tsv",
}
"""Of a tree that passed the BIDS validator (BIDS 1.11.1), with this app's atlas."""

EXTRA = {
    "reference_mask": {"label": "cerebellumGM"},
    **{key: {"trc": "11CPIB"} for key, name in EXPECTED.items() if name.startswith("pet/")},
}


def path_of(key, session=HEAD):
    return product_path(key, session, space=MNI, resolution="1", extra=EXTRA.get(key, {}))


def test_every_product_is_listed_here():
    assert EXPECTED.keys() == PRODUCTS.keys()


@pytest.mark.parametrize("key", EXPECTED)
def test_names(key):
    assert path_of(key) == Path("sub-01/ses-01", EXPECTED[key])


@pytest.mark.parametrize("key", EXPECTED)
def test_names_without_session(key):
    assert path_of(key, "sub-01") == Path("sub-01", EXPECTED[key].replace("_ses-01", ""))


def test_no_two_products_share_a_file():
    assert len({path_of(key) for key in PRODUCTS}) == len(PRODUCTS)


@pytest.mark.parametrize("key", EXPECTED)
def test_entities_stand_in_the_order_of_the_specification(key):
    names = re.findall(r"(?:^|_)([a-z]+)-", path_of(key).name)
    assert names == sorted(names, key=ORDER.index)


def test_the_order_is_that_of_bids():
    """Of the schema of BIDS 1.11; ``model``, ``meas`` of BEP023 before ``desc``, the last."""
    schema = (
        "sub", "ses", "trc", "rec", "run", "space", "atlas", "seg", "scale", "res", "label",
        "model", "meas", "stat", "desc",
    )  # fmt: skip
    xfm = ("sub", "ses", "from", "to", "mode", "desc")
    for entities in (schema, xfm):
        name = file_name(dict.fromkeys(reversed(entities), "1"), "x", ".tsv")
        assert name == "_".join(f"{entity}-1" for entity in entities) + "_x.tsv"


def test_an_unknown_entity_has_no_place():
    with pytest.raises(KeyError, match=r"without a place in a file name: \['colour'\]"):
        file_name({"sub": "01", "colour": "red"}, "T1w", ".nii.gz")


@pytest.mark.parametrize(
    ("name", "sidecar"),
    [
        ("sub-01_T1w.nii.gz", "sub-01_T1w.json"),
        ("sub-01_T1w.nii", "sub-01_T1w.json"),
        ("sub-01_kinpar.tsv", "sub-01_kinpar.json"),
        ("sub-01_res-1p5_xfm.h5", "sub-01_res-1p5_xfm.json"),
    ],
)
def test_sidecar_lies_beside(name, sidecar):
    assert sidecar_path(Path("sub-01/anat", name)) == Path("sub-01/anat", sidecar)


def test_an_image_and_its_table_share_one_sidecar():
    assert sidecar_path(path_of("dseg")) == sidecar_path(path_of("dseg_table"))


def test_folders_and_uris():
    assert session_dir("sub-01_ses-a") == Path("sub-01/ses-a")
    assert session_dir("sub-01") == Path("sub-01")
    assert bids_uri(Path("sub-01/anat/x.nii.gz")) == "bids::sub-01/anat/x.nii.gz"


def test_drafts_are_hidden_from_the_validator():
    """Suffixes that BIDS 1.11 does not know yet, and folders without a trailing slash."""
    assert {"*_xfm.*", "*_mimap.*", "*_kinpar.*", "*_morph.*", "*_qc.*"} <= set(BIDSIGNORE)
    assert not [pattern for pattern in BIDSIGNORE if pattern.endswith("/")]
