import json

import numpy as np
import pandas as pd
import pytest

from relad_bids.files import read_table
from relad_bids.group.wide import FAIL, OUTLIER, PARTIAL, _judged, _with_outliers, stem


@pytest.mark.parametrize(
    ("region", "name"),
    [
        (("metatemporal", "B", "tau"), "META_TEMPORAL"),
        (("braak34", "B", "tau"), "BRAAK34"),
        (("amyloid-composite", "B", "amyloid"), "SUMMARY"),
        (("cerebellum-whole", "B", "ref"), "WHOLECEREBELLUM"),
        (("ctx-lh-entorhinal", "L", "label"), "CTX_LH_ENTORHINAL"),
        (("Left-Hippocampus", "L", "label"), "LEFT_HIPPOCAMPUS"),
        (("hippocampus", "L", "tspo"), "LEFT_HIPPOCAMPUS"),
        (("3rd-Ventricle", "B", "label"), "3RD_VENTRICLE"),
    ],
)
def test_names_are_those_of_adni(region, name):
    assert stem(*region) == name


def test_one_row_per_image_with_the_long_tables_values(made, table):
    root, _, _ = made
    wide = table("wide_voi")
    assert len(wide) == 25 * 3 * 2 + 5 * 3
    assert not wide.duplicated(["participant_id", "TRACER", "SOURCE"]).any()
    long = read_table(root / "atlas-DesikanKilliany_model-SUVR_desc-measured_kinpar.tsv")
    rows = long[(long["tracer"] == "flortaucipir") & (long["pvc"] == "none")]
    for voi, hemi, column in (
        ("metatemporal", "B", "META_TEMPORAL_SUVR"),
        ("hippocampus", "R", "RIGHT_HIPPOCAMPUS_SUVR"),
        ("ctx-lh-entorhinal", "L", "CTX_LH_ENTORHINAL_SUVR"),
    ):
        one = rows[(rows["voi"] == voi) & (rows["hemi"] == hemi)]
        expected = one.drop_duplicates("participant_id").set_index("participant_id")["suvr_mean"]
        real = wide[(wide["TRACER"] == "flortaucipir") & (wide["SOURCE"] == "real")]
        found = real.set_index("participant_id")[column]
        np.testing.assert_allclose(found, expected[found.index])


def test_both_sides_of_a_cortical_region_are_weighted_by_voxels(made, table):
    root, _, _ = made
    long = read_table(root / "atlas-DesikanKilliany_model-SUVR_desc-synth_kinpar.tsv")
    one = long[(long["participant_id"] == "sub-001") & (long["tracer"] == "pib")]
    sides = one[(one["pvc"] == "none") & one["voi"].str.fullmatch("ctx-[lr]h-entorhinal")]
    expected = np.average(sides["suvr_mean"], weights=sides["n_voxels"])
    wide = table("wide_voi").query("TRACER == 'pib' and SOURCE == 'synthetic'")
    found = wide.set_index("participant_id").loc["sub-001", "CTX_ENTORHINAL_SUVR"]
    assert found == pytest.approx(expected, rel=1e-5)  # six digits are written


def test_secondary_values_have_columns_of_their_own(table):
    wide = table("wide_voi")
    tspo = wide[(wide["TRACER"] == "pbr28") & (wide["SOURCE"] == "real")]
    primary = tspo["LOBE_FRONTAL_SUVR"]
    np.testing.assert_allclose(tspo["LOBE_FRONTAL_SUVR_PVC_GTM"], 1.2 * primary, rtol=1e-5)
    np.testing.assert_allclose(
        tspo["LOBE_FRONTAL_SUVR_REF_GLOBAL_BRAIN"], 0.9 * primary, rtol=1e-5
    )
    others = wide[wide["TRACER"] != "pbr28"]
    assert others["LOBE_FRONTAL_SUVR_REF_GLOBAL_BRAIN"].isna().all()


def test_every_column_is_explained(made, table):
    told = json.loads((made[0] / "group" / "desc-wide_voi.json").read_text())
    wide = table("wide_voi")
    assert set(wide) <= set(told)
    assert all(told[name]["Description"] for name in wide)
    assert "Synthetic PET: estimated from MRI" in told["SyntheticDataStatement"]
    assert "not to be divided again" in told["Note"]
    assert told["SUMMARY_VOLUME"]["Units"] == "mm^3"


@pytest.mark.parametrize(
    ("flags", "known", "quality"),
    [
        ("ok", True, 2), ("pseudo_reference;single_sample", True, 2),
        *((f"single_sample;{flag}", True, 1) for flag in sorted(PARTIAL)),
        *((flag, True, 0) for flag in sorted(FAIL)), ("ok", False, 0),
    ],
)  # fmt: skip
def test_quality(flags, known, quality):
    assert _judged(flags, known)[0] == quality
    assert _judged(flags, known)[1] == int(
        flags.startswith(("pseudo", "window")) or "window" in flags
    )


def test_a_reference_region_unlike_the_cohorts_is_flagged():
    """Within tracer, source and unit: kBq of one tracer are not held against SUV of another."""
    n = 12
    rows = pd.DataFrame(
        {
            "tracer": ["pib"] * n + ["flortaucipir"] * n,
            "source": "real",
            "unit": ["Bq/mL"] * n + ["SUV"] * n,
            "ref_mean": [*np.linspace(4800, 5200, n), *np.linspace(0.9, 1.1, n)],
            "qc_flags": pd.Categorical(["ok"] * (2 * n - 1) + ["lowres"]),
        }
    )
    assert (_with_outliers(rows) == rows["qc_flags"].astype(object)).all()
    rows.loc[0, "ref_mean"], rows.loc[2 * n - 1, "ref_mean"] = 9000, 0.1
    found = _with_outliers(rows)
    assert (found[0], found[2 * n - 1]) == (OUTLIER, f"lowres;{OUTLIER}")
    assert (found == rows["qc_flags"].astype(object)).sum() == 2 * n - 2


def test_few_images_without_a_known_reference_mean_have_no_outlier():
    rows = pd.DataFrame(
        {"tracer": "pib", "source": "real", "unit": "SUV", "ref_mean": [np.nan, 1.0, 9.0],
         "qc_flags": "ok"}
    )  # fmt: skip
    assert _with_outliers(rows).tolist() == ["ok"] * 3
