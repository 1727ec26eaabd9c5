import pandas as pd
import pytest
from cohort import Cohort, people

from relad_bids.files import read_table, write_table
from relad_bids.group.reading import find_tables, join_tables, participant_folders, read_rows
from relad_bids.group.scans import (
    compared,
    default_reference,
    first_sessions,
    primary_voi,
    sort_scans,
)


@pytest.fixture
def scans(tmp_path):
    """Write sessions with ``write(cohort)``, and sort what is read."""

    def made(write):
        root = tmp_path / "out"
        write(Cohort(root))
        found = find_tables(participant_folders(root, ()), "measured_kinpar")
        joined = [join_tables(paths, root / name) for name, paths in found.items()]
        return sort_scans(read_rows(joined))

    return made


def real(cohort, person, tracer="pbr28", **more):
    return cohort.session(person, tracer, sources=("real",), **more)


def test_secondary_rows_are_told_apart(scans):
    (person,) = people(1)
    second = [("GTM", "cerebellum-gm", 1.2), ("none", "global-brain", 0.9)]
    found = scans(lambda c: real(c, person, secondary=second))
    n = len(found.primary)
    assert len(found.secondary) == 2 * n
    assert set(found.primary["pvc"]) == {"none"}
    assert set(found.primary["ref_region"]) == {"cerebellum-gm"}
    assert not found.primary.duplicated(["scan", "family", "voi", "hemi"]).any()
    assert any("in no statistic: pvc GTM" in note for note in found.notes)
    assert not any("reconstructions" in note for note in found.notes)


def test_primary_rows_are_told_by_their_flags_and_not_by_their_order(scans):
    """A table may come back sorted, with the second reference region first."""
    (person,) = people(1)

    def write(cohort):
        real(cohort, person, secondary=[("none", "global-brain", 0.9)])
        (path,) = cohort.root.rglob("*_kinpar.tsv")
        write_table(path, read_table(path).iloc[::-1])

    assert set(scans(write).primary["ref_region"]) == {"cerebellum-gm"}


def test_a_mask_with_a_reference_of_its_own_is_no_news(scans):
    (person,) = people(1)

    def write(cohort):
        real(cohort, person, "pib")
        (path,) = cohort.root.rglob("*_kinpar.tsv")
        rows = read_table(path)
        mask = rows.tail(1).assign(voi="centiloid-ctx", ref_region="centiloid-wc")
        write_table(path, pd.concat([rows, mask]))

    assert not any("divided by" in note for note in scans(write).notes)


def test_a_reference_region_of_the_users_choice_is_primary_and_told(scans):
    """Rows of another reference without the flag are what the user asked for."""
    (person,) = people(1)

    def write(cohort):
        real(cohort, person, "pib")
        (path,) = cohort.root.rglob("*_kinpar.tsv")
        path.write_text(path.read_text().replace("cerebellum-whole", "pons"))

    found = scans(write)
    assert len(found.primary)
    assert not default_reference(found.primary).any()
    assert any("divided by pons" in note and "cut-offs do not apply" in note
               for note in found.notes)  # fmt: skip


def test_each_region_is_compared_once_and_both_sides_together(scans):
    (person,) = people(1)
    rows = compared(scans(lambda c: real(c, person)).primary)
    assert rows["voi"].tolist().count("hippocampus") == 1
    assert set(rows["hemi"]) == {"B"}
    assert set(rows["family"]) == {"tspo"}
    assert primary_voi("pbr28", rows["voi"]) == "neocortex"
    assert primary_voi("pbr28", pd.Series(["striatum", "lobe-frontal"])) == "striatum"
    assert primary_voi("unheard-of", rows["voi"]) is None


def test_first_sessions_keep_one_image_of_each(scans):
    who = people(2)

    def write(cohort):
        for session, run in (("b", None), ("a", "2"), ("a", "1")):
            real(cohort, who[0], session=session, run=run)
        real(cohort, who[1])

    rows = first_sessions(scans(write).primary)
    images = rows.drop_duplicates("scan")[["participant_id", "session_id", "run"]].astype(object)
    assert images.fillna("-").to_numpy().tolist() == [["sub-001", "ses-a", "1"],
                                                      ["sub-002", "-", "-"]]  # fmt: skip


def test_two_reconstructions_of_one_scan(scans):
    (person,) = people(1)

    def write(cohort):
        real(cohort, person)
        (path,) = cohort.root.rglob("*_kinpar.tsv")
        again = path.with_name(path.name.replace("_atlas", "_rec-b_atlas"))
        again.write_text(path.read_text())

    found = scans(write)
    assert not found.primary.duplicated(["scan", "family", "voi", "hemi"]).any()
    assert any("Several reconstructions of one scan of 1 participants" in n for n in found.notes)


def test_the_parcellation_of_most_people_counts(scans):
    who = people(3)

    def write(cohort):
        for person in who:
            real(cohort, person)
        path = next(iter(sorted(cohort.root.rglob("*_kinpar.tsv"))))
        other = path.with_name(path.name.replace("DesikanKilliany", "DKT"))
        other.write_text(path.read_text().replace("DesikanKilliany", "DKT"))
        path.unlink()

    found = scans(write)
    assert found.atlas == "DesikanKilliany"
    assert found.primary["participant_id"].nunique() == 2
    assert any("tables of DKT (1 participants) are joined" in note for note in found.notes)
