"""What the whole level makes of a cohort, and what it refuses."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from cohort import CHECKPOINT, Cohort, people, write_checkpoint

from relad_bids.bids.outputs import GROUP_STATISTICS
from relad_bids.core.agreement import agreement, concordance
from relad_bids.errors import DataError, UsageError
from relad_bids.files import read_table, write_table
from relad_bids.group.run import run
from relad_bids.group.settings import GroupSettings


def group(root, **settings):
    settings = {"n_draws": 100, "n_permutations": 19, "unseen": True, **settings}
    return list(run(GroupSettings(output_dir=root, **settings).checked()))


def statistic(root, name):
    return read_table(root / "group" / f"desc-{name}.tsv")


def test_each_table_has_a_dictionary_that_explains_it(made):
    root, _, paths = made
    assert [path.name for path in paths][-1] == "group.html"
    written = sorted((root / "group").glob("*.tsv"))
    assert {f"group/{path.name}" for path in written} <= set(GROUP_STATISTICS.values())
    for path in written:
        told = json.loads(path.with_suffix(".json").read_text())
        assert set(read_table(path)) <= set(told), path.name
        assert told["SyntheticDataStatement"]
        assert told["ReferenceRegion"]["pib"] == ["cerebellum-whole"]
        assert (told["BootstrapDraws"], told["Seed"]) == (200, 0)
        assert str(root) not in json.dumps(told)
        assert told["GeneratedBy"][0]["Name"] == "relad-bids"
        assert all(
            told[name]["Derivative"] and told[name]["LongName"] for name in read_table(path)
        )
    for path in root.glob("*.tsv"):
        if path.name != "participants.tsv":
            told = json.loads(path.with_suffix(".json").read_text())
            assert set(read_table(path)) <= set(told), path.name
            assert told["GeneratedBy"][0]["Name"] == "relad-bids"
            if "kinpar" in path.name:
                assert told["ReferenceRegion"]["pib"] == ["cerebellum-whole"]
    assert "group" in (root / ".bidsignore").read_text().splitlines()


def test_pairs_are_rows_of_the_long_tables(made, table):
    paired = table("paired_voi")
    assert paired["participant_id"].nunique() == 25
    np.testing.assert_allclose(
        paired["difference"], paired["synthetic_suvr"] - paired["real_suvr"], atol=2e-6
    )  # six digits are written
    assert set(paired["seen_in_training"]) == {"no"}
    # Primary rows alone: one per scan and region.
    keys = ["participant_id", "tracer", "family", "voi", "hemi"]
    assert not paired.duplicated(keys).any()


def test_agreement_is_that_of_the_pairs(table):
    paired = table("paired_voi").query("tracer == 'pib' and voi == 'amyloid-composite'")
    row = table("agreement_stats").query(
        "tracer == 'pib' and voi == 'amyloid-composite' and metric == 'ccc'"
    )
    expected = concordance(paired["synthetic_suvr"], paired["real_suvr"])
    assert row["value"].item() == pytest.approx(expected, rel=1e-4)
    assert row["low"].item() < expected < row["high"].item()
    assert row["n"].item() == 25
    assert np.isnan(row["mean"].item())


def test_lines_of_method_comparison_stand_behind_the_other_measures(made, table):
    """Of test and retest nothing is known here: the ratio of errors is 1."""
    found, paired = table("agreement_stats"), table("paired_voi")
    here = found.query("tracer == 'pib' and voi == 'amyloid-composite'")
    assert here.index.tolist() == list(range(here.index[0], here.index[-1] + 1))
    value = here.set_index("metric")["value"]
    rows = paired.query("tracer == 'pib' and voi == 'amyloid-composite'").dropna(
        subset=["real_suvr", "synthetic_suvr"]
    )
    line = agreement(rows["synthetic_suvr"], rows["real_suvr"]).deming(error_ratio=1)
    assert value["deming_slope"] == pytest.approx(float(line[0]), rel=1e-4)
    assert value["deming_error_ratio"] == 1
    assert np.isfinite(value["passing_bablok_slope"])
    assert "Method comparison" in (made[0] / "group.html").read_text()


def test_verdicts_name_the_floors(table):
    skill = table("skill_stats").query("primary == True")
    assert set(skill["floor"]) == {"mean", "age_sex", "ridge", "permuted"}
    tau = skill[(skill["tracer"] == "flortaucipir") & (skill["floor"] == "mean")]
    assert tau["verdict"].item() == "better than the mean of the other participants"
    tspo = skill[(skill["tracer"] == "pbr28") & (skill["floor"] == "age_sex")]
    assert tspo["skill"].item() <= 0
    assert re.match(r"(no better|worse) than demographics", tspo["verdict"].item())


def test_the_ceiling_of_tspo_is_the_literatures(table):
    ceiling = table("ceiling_stats").set_index("voi")
    assert ceiling.loc["lobe-frontal", "r_max"] == pytest.approx(np.sqrt(0.55), rel=1e-5)
    assert ceiling.loc["thalamus", "icc_real"] == 0.21
    assert set(ceiling["tracer"]) == {"pbr28"}


def test_positivity_by_preset_cutoffs_of_the_right_reference(table):
    judged = table("positivity_stats")
    assert set(judged["tracer"]) == {"pib", "flortaucipir"}
    row = judged.query("tracer == 'flortaucipir' and metric == 'roc_auc'")
    assert row["cutoff"].item() == 1.35
    assert row["n_positive"].item() + row["n_negative"].item() == 25
    assert not judged["metric"].str.contains("trained|brier").any()
    assert set(table("positivityfolds_stats")["tracer"]) == {"pib", "flortaucipir"}


def test_subgroups_are_of_primary_regions(table):
    groups = table("subgroups_stats")
    assert set(groups["variable"]) == {"sex", "age", "diagnosis", "site"}
    assert (groups.loc[groups["n"] < 10, "value"].isna()).all()
    assert groups.loc[groups["n"] >= 10, "value"].notna().all()


def test_subgroups_of_apoe_and_race_where_they_are_known(tmp_path):
    root, who = tmp_path / "out", people(24)
    cohort = Cohort(root)
    for person in who:
        cohort.session(person, "pib")
    cohort.participants(who, APOE4=[0, 1] * 12, Ethnicity=["x"] * 10 + ["y"] * 14)
    group(root)
    table = statistic(root, "subgroups_stats")
    n = table.groupby(["variable", "level"])["n"].first()
    assert n["apoe"].to_dict() == {"0": 12, "1": 12}
    assert n["race"].to_dict() == {"x": 10, "y": 14}


def test_the_page_is_whole_and_escapes_what_it_is_told(tmp_path):
    (person, *others) = people(9)
    root = tmp_path / "out"
    cohort = Cohort(root)
    for one in (person, *others):
        cohort.session(one, "pib")
    evil = "<script>alert(1)</script>"
    cohort.participants([person, *others], diagnosis=evil)
    write_table(
        root / "participants.tsv",
        pd.concat([read_table(root / "participants.tsv")] * 1).assign(site=evil),
    )
    *_, page = group(root)
    html = page.read_text()
    assert "<script" not in html
    assert not re.search(r'(?:src|href)="(?!data:|#)', html)
    assert "Synthetic PET: estimated from MRI, not a measurement" in html
    assert re.search(r"n = 9", html)


def test_without_participants_tsv_demographics_are_left_out(tmp_path):
    root = tmp_path / "out"
    cohort = Cohort(root)
    for person in people(10):
        cohort.session(person, "pib")
    *_, page = group(root)
    assert "age_sex" not in statistic(root, "agreement_stats")
    assert not (root / "group" / "desc-subgroups_stats.tsv").exists()
    assert "No participants.tsv was found" in page.read_text()


def test_whom_the_checkpoint_has_seen_is_paired_and_not_judged(tmp_path):
    root, who = tmp_path / "out", people(14)
    seen = [f"sub-{person.label}" for person in who[:4]]
    label = write_checkpoint(tmp_path / "c", seen)
    cohort = Cohort(root)
    for person in who:
        cohort.session(person, "pib", checkpoint=label)
    *_, page = group(root, checkpoints=(tmp_path / "c",), unseen=False)
    paired = statistic(root, "paired_voi")
    told = paired.drop_duplicates("participant_id").set_index("participant_id")
    assert told.index[told["seen_in_training"] == "yes"].tolist() == seen
    assert set(statistic(root, "agreement_stats")["n"]) == {10}
    assert set(statistic(root, "positivity_stats")["n"]) == {10}
    assert "4 participants had a say in the checkpoint" in page.read_text()
    cohort.participants(who, mmse=range(14))
    with pytest.raises(DataError, match="was trained on, or chosen by, them"):
        group(root, checkpoints=(tmp_path / "c",), scores=("mmse",))


def test_a_list_that_was_not_given_is_told(tmp_path):
    root = tmp_path / "out"
    cohort = Cohort(root)
    for person in people(9):
        cohort.session(person, "pib")
    *_, page = group(root, unseen=False)
    assert set(statistic(root, "paired_voi")["seen_in_training"]) == {"unknown"}
    assert "had seen 9 of the participants is not known" in page.read_text()


def test_synthetic_alone_is_a_table_and_no_statistic(tmp_path):
    root = tmp_path / "out"
    Cohort(root).session(people(1)[0], "pib", sources=("synthetic",))
    *_, page = group(root)
    assert {path.name for path in (root / "group").glob("*.tsv")} == {"desc-wide_voi.tsv"}
    assert "No session has both measured and synthetic PET" in page.read_text()


def test_the_same_run_writes_the_same_bytes_and_leaves_nothing_old(tmp_path):
    root = tmp_path / "out"
    cohort = Cohort(root)
    for person in people(9):
        cohort.session(person, "pib", session="a")
        cohort.session(person, "pib", session="b")
    group(root, retest_sessions=("ses-a", "ses-b"))
    names = {path.name for path in (root / "group").iterdir()}
    assert "desc-retest_stats.tsv" in names
    group(root)
    assert {path.name for path in (root / "group").iterdir()} == names - {
        "desc-retest_stats.tsv", "desc-retest_stats.json",
        "desc-ceiling_stats.tsv", "desc-ceiling_stats.json",
    }  # fmt: skip
    first = {path.name: path.read_bytes() for path in (root / "group").iterdir()}
    group(root)
    assert {path.name: path.read_bytes() for path in (root / "group").iterdir()} == first


def test_a_scan_that_missed_its_window_fails_and_costs_the_others_nothing(tmp_path):
    root = tmp_path / "out"
    cohort, who = Cohort(root), people(50)
    rng = np.random.default_rng(1)
    for person in who:
        missed = person.label == "007"
        cohort.session(person, "pib", sources=("synthetic",) if missed else ("synthetic", "real"))
        if missed:
            cohort.session(
                person, "pib", sources=("real",), noise=np.nan, flags=("window_mismatch",)
            )
    mmse = [round(28 - 3 * person.burden + rng.normal(0, 1), 1) for person in who]
    cohort.participants(who, mmse=mmse)
    group(root, combat="site", scores=("mmse",), n_permutations=0)
    wide = statistic(root, "wide_voi").query("SOURCE == 'real'").set_index("participant_id")
    told = wide.loc["sub-007", ["qc_flag", "TRACER_SUVR_WARNING", "QC_FLAGS"]].tolist()
    assert told == [0, 1, "window_mismatch"]
    assert np.isnan(wide.loc["sub-007", "SUMMARY_SUVR"])
    assert wide["qc_flag"].sum() == 2 * 49
    agreed = statistic(root, "agreement_stats").query("voi == 'amyloid-composite'")
    assert set(agreed["n"]) == {49}
    held = statistic(root, "combat_voi").query("source == 'real'")
    assert held["suvr_combat"].notna().sum() > 49
    scores = statistic(root, "cognition_stats").query("metric == 'r2'")
    n = scores.groupby("sample")["n"].max()
    assert (n["all"], n["with-measured"]) == (50, 49)
    assert "M3" in set(scores.query("sample == 'with-measured'")["model"])


def test_repeated_scans(tmp_path):
    root = tmp_path / "out"
    cohort = Cohort(root)
    who = people(12)
    for person in who:
        for session, years in (("a", 0), ("b", 2), ("c", 4)):
            cohort.session(person, "pib", session=session, change=0.03 * years, noise=0.005)
    times = [
        {"participant_id": f"sub-{p.label}", "session_id": f"ses-{s}", "years": y}
        for p in who for s, y in (("a", 0), ("b", 2), ("c", 4))
    ]  # fmt: skip
    write_table(tmp_path / "times.tsv", pd.DataFrame(times))
    group(root, sessions_tsv=tmp_path / "times.tsv", retest_days=800)
    change = statistic(root, "change_stats").query("source == 'real'")
    # Standard error over 12 people and three scans: 0.005 / sqrt(12 * 8) = 0.0005.
    np.testing.assert_allclose(change["annual_change"], 0.03, atol=0.003)
    assert (change["n"] == 12).all()
    retest = statistic(root, "retest_stats").query("source == 'real' and metric == 'within_sd'")
    # Two years of 0.03 apart, once for each person: 0.06 / sqrt 2.
    np.testing.assert_allclose(retest["value"], 0.06 / np.sqrt(2), rtol=0.2)
    assert (retest["n"] == 12).all()
    # The line of method comparison weighs the errors as test and retest tell of them.
    within = statistic(root, "retest_stats").query("metric == 'within_sd'")
    of = within[within["voi"] == "amyloid-composite"].set_index("source")["value"]
    lines = statistic(root, "agreement_stats").query("voi == 'amyloid-composite'")
    ratio = lines.set_index("metric")["value"]["deming_error_ratio"]
    assert ratio == pytest.approx((of["synthetic"] / of["real"]) ** 2, rel=1e-4)
    assert ratio != 1


def test_combat_takes_a_site_out_of_each_source(tmp_path):
    root = tmp_path / "out"
    cohort = Cohort(root)
    who = people(60)
    for person in who:
        cohort.session(person, "pib", site_shift=0.2 * (person.site == "B"))
    cohort.participants(who)
    group(root, combat="site")
    values = statistic(root, "combat_voi").query("source == 'real' and hemi == 'B'")
    by_site = values.groupby("site")[["suvr_mean", "suvr_combat"]].mean()
    apart = (by_site.loc["B"] - by_site.loc["A"]).abs()
    assert apart["suvr_combat"] < 0.3 * apart["suvr_mean"]
    effects = statistic(root, "combat_stats").query("source == 'real'")
    shift = effects.groupby("site")["shift"].mean()
    assert shift["B"] - shift["A"] == pytest.approx(0.2, abs=0.05)
    assert set(values["learnt_from"]) == {"yes"}
    first = [p.label for p in who[:40]]
    group(root, combat="site", combat_train=tuple(first))
    held = statistic(root, "combat_voi")
    learnt = held[held["learnt_from"] == "yes"]["participant_id"].unique()
    assert set(learnt) == {f"sub-{label}" for label in first}
    assert held["suvr_combat"].notna().all()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"combat": "site"}, DataError, r"could harmonise nothing\. pib \(real\): .* at least 10"),
        ({"combat": "kind"}, UsageError, "measured and synthetic PET as two sites would"),
        ({"combat": "nowhere"}, UsageError, "names the column 'nowhere'; .* has .*age"),
        ({"combat_train": ("1",)}, UsageError, "--combat-train was given without"),
        ({"phenotype": ("x.tsv",)}, UsageError, "--phenotype was given without --scores"),
        ({"scores": ("mmse",)}, UsageError, "--scores names 'mmse'"),
        ({"n_draws": 99}, UsageError, "--bootstrap-draws is 99; it needs 100 or more"),
    ],
)
def test_what_is_refused(tmp_path, settings, error, message):
    root = tmp_path / "out"
    cohort, who = Cohort(root), people(8)
    for person in who:
        cohort.session(person, "pib")
    cohort.participants(who, kind=["real", "synthetic"] * 4)
    with pytest.raises(error, match=message):
        group(root, **settings)
    assert not (root / "group").exists()


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Fifty people with a score of their burden."""
    root = tmp_path_factory.mktemp("scored")
    cohort, who = Cohort(root), people(50)
    rng = np.random.default_rng(1)
    for person in who:
        cohort.session(person, "pib")
    mmse = [round(28 - 3 * person.burden + rng.normal(0, 1), 1) for person in who]
    cohort.participants(who, mmse=mmse, diagnosis=["CU"] * 42 + ["MCI"] * 8)
    return root


def test_scores_are_refused_for_pet_that_may_have_looked(scored):
    with pytest.raises(DataError, match=r"regression of .*is not among the checkpoints") as told:
        group(scored, scores=("mmse",), unseen=False)
    assert CHECKPOINT in str(told.value)


def test_scores(scored):
    group(scored, scores=("mmse",))
    table = statistic(scored, "cognition_stats")
    n = table.groupby("sample")["n"].unique().map(list).to_dict()
    assert n == {"all": [50], "with-measured": [50], "diagnosis CU": [42], "diagnosis MCI": [8]}
    few = table[table["sample"] == "diagnosis MCI"]
    assert few["note"].tolist() == ["8 participants, needs 40"]
    assert few["value"].isna().all()
    best = table.query("sample == 'with-measured' and metric == 'r2'").set_index("model")["value"]
    assert best["M3"] > best["M0"]
    told = json.loads((scored / "group" / "desc-cognition_stats.json").read_text())
    assert "data-processing inequality" in told["Theory"]


@pytest.mark.parametrize("known", ["all", "all but one"])
def test_apoe_and_hyperintensities_are_told_where_they_are_known_of_everybody(
    scored, tmp_path, known
):
    """Of a cohort that lacks one of them they are in no model, and nobody is left out."""
    table = read_table(scored / "participants.tsv")
    apoe = ["e3/e4" if index % 3 else "e3/e3" for index in range(50)]
    wmh = [1.0 + index % 7 for index in range(50)]
    if known != "all":
        apoe[7], wmh[9] = None, None
    write_table(tmp_path / "people.tsv", table.assign(apoe=apoe, wmh_ml=wmh))
    group(scored, scores=("mmse",), n_permutations=0, participants_tsv=tmp_path / "people.tsv")
    found = statistic(scored, "cognition_stats").query("sample == 'all' and metric == 'r2'")
    width = found.set_index("model")["n_predictors"]
    more = 1 if known == "all" else 0
    assert width["M0"] == 3 + more  # age, sex, one of two sites
    group(scored, scores=("mmse",), n_permutations=0)
    plain = statistic(scored, "cognition_stats").query("sample == 'all' and metric == 'r2'")
    assert width["M1"] == plain.set_index("model")["n_predictors"]["M1"] + 2 * more
    assert set(found["n"]) == {50}
    group(scored, participants_tsv=tmp_path / "people.tsv")
    page = (scored / "group.html").read_text()
    told = "APOE e4 is known of 49 of 50 participants: it is in no model" in page
    assert told == (known != "all")


def test_nothing_of_the_network_is_loaded(tmp_path):
    root = tmp_path / "out"
    Cohort(root).session(people(1)[0], "pib")
    code = f"""
import sys
from relad_bids.cli.run import main
assert main(["/gone", {str(root)!r}, "group", "--bootstrap-draws", "100"]) == 0
print(*sorted({{"torch", "monai", "nipype", "ants", "bids", "nibabel"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
