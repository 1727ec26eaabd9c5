"""The real command on simulated heads, from raw images to tables, page and group."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from relad_bids.core.columns import COLUMNS
from relad_bids.phantom.dataset import write_dataset

pytestmark = [pytest.mark.xdist_group("end_to_end"), pytest.mark.slow]

TABLE = "sub-*/pet/*_kinpar.tsv"


def relad_bids(*args: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "relad_bids", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def no_network() -> tuple[str, ...]:
    """The words before a command that take the network away from it; none where not allowed."""
    before = ("unshare", "--map-root-user", "--net")
    tool = shutil.which(before[0])
    allowed = tool and subprocess.run([*before, "true"], capture_output=True).returncode == 0
    return before if allowed else ()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two simulated heads; the second one has lost its FLAIR."""
    out = tmp_path_factory.mktemp("data") / "bids"
    write_dataset(out, n=2, preset="strong", seed=11, voxel_mm=3.0, pet_participants=1)
    for path in (out / "sub-002" / "anat").glob("*FLAIR*"):
        path.unlink()
    return out


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """The default run on one CPU, and its work folder for later runs.

    Without network where the system lets a test take it away.
    """
    folder = tmp_path_factory.mktemp("run")
    out, work = folder / "out", folder / "work"
    done = relad_bids(
        dataset, out, "participant", "-w", work, "--nprocs", 1, "--sloppy", before=no_network()
    )
    assert done.returncode == 0, done.stderr
    return done, out, work


def digests(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.glob(TABLE))}


def test_one_session_is_done_and_the_one_without_flair_is_named(run):
    done, out, _ = run
    assert done.stdout == ""
    assert "sub-002: has no FLAIR image and is left out" in done.stderr
    assert "1 done, 1 left out, 0 failed" in done.stderr
    qc = pd.read_csv(out / "sub-002" / "sub-002_desc-relad_qc.tsv", sep="\t")
    assert qc.loc[0, ["status", "flags"]].tolist() == ["skipped", "flair_missing"]
    assert not list((out / "sub-002").rglob("*kinpar*"))


def test_no_network_is_needed(run):
    """The run above had none; here only that this was so."""
    if not (before := no_network()):
        pytest.skip("this system lets no user take the network away from a command")
    ask = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    refused = subprocess.run([*before, sys.executable, "-c", ask], capture_output=True, text=True)
    assert "Network is unreachable" in refused.stderr
    assert run[0].returncode == 0


def test_every_file_expected_is_there_and_no_other(run):
    _, out, _ = run
    found = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    found = {name for name in found if "/log/" not in name and not name.startswith("sub-002")}
    assert found == set((Path(__file__).parent / "expected_outputs.txt").read_text().split())


def test_tables_hold_numbers_of_a_brain(run):
    _, out, _ = run
    tables = [pd.read_csv(p, sep="\t", na_values=["n/a"]) for p in out.glob(TABLE)]
    assert len(tables) == 3
    for table in tables:
        assert list(table) == list(COLUMNS)
        cortex = table.query("family == 'tspo' and voi == 'neocortex' and hemi == 'B'")
        assert 0.3 < float(cortex["suvr_mean"].iloc[0]) < 3
        assert table["statement"].str.contains("not a measurement").all()
        assert table["statement"].str.contains("no scientific value").all()


def test_the_reference_region_averages_to_one_in_the_written_image(run):
    """From the files a user has, not from the program's own numbers."""
    _, out, _ = run
    suvr = nb.load(next(out.glob("sub-001/pet/*18FAV1451_space-T1w*_mimap.nii.gz"))).get_fdata()
    region = nb.load(next(out.glob("sub-001/anat/*cerebellumInferiorGm_desc-ref_mask.nii.gz")))
    # float32 voxels: a mean of thousands of them is exact to about 1e-6.
    assert np.nanmean(suvr[region.get_fdata() > 0]) == pytest.approx(1.0, abs=1e-5)


def test_the_page_stands_alone_and_says_what_it_is(run):
    _, out, _ = run
    page = (out / "sub-001.html").read_text()
    assert "no scientific value" in page
    assert 'src="http' not in page


def test_sidecars_name_no_folder_of_the_machine(run, dataset):
    _, out, _ = run
    for path in out.rglob("*.json"):
        if "/log/" not in path.as_posix():
            assert str(dataset.parent.parent) not in path.read_text(), path


def test_the_validator_finds_nothing_and_would_find_something(run, tmp_path):
    _, out, _ = run
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")

    def issues(folder: Path) -> tuple[int, list[str]]:
        done = subprocess.run(
            [validator, str(folder), "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
        )
        found = json.loads(done.stdout)["issues"]["issues"]
        return done.returncode, [f"{i['severity']} {i['code']} {i['location']}" for i in found]

    assert issues(out) == (0, [])
    broken = shutil.copytree(out, tmp_path / "broken")
    ignore = broken / ".bidsignore"
    ignore.write_text("\n".join(x for x in ignore.read_text().split() if "mimap" not in x))
    code, found = issues(broken)
    assert code == 16
    assert found


def test_two_processes_write_the_same_bytes(run, dataset, tmp_path):
    """A fresh work folder, so that every step runs again."""
    _, out, _ = run
    args = ("-w", tmp_path / "work", "--nprocs", 2, "--omp-nthreads", 2, "--sloppy")
    again = relad_bids(dataset, tmp_path / "out", "participant", *args)
    assert again.returncode == 0, again.stderr
    assert digests(tmp_path / "out") == digests(out)


def test_group_needs_no_raw_data_and_joins_all_rows(run, tmp_path):
    _, out, _ = run
    done = relad_bids(tmp_path / "gone", out, "group")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(done.stdout.strip(), sep="\t")
    parts = [pd.read_csv(p, sep="\t") for p in out.glob(TABLE)]
    assert len(table) == sum(map(len, parts))
    dictionary = json.loads(Path(done.stdout.strip()).with_suffix(".json").read_text())
    assert set(table) <= set(dictionary)
    assert "no scientific value" in dictionary["SyntheticDataStatement"]
    for path in [*out.glob("atlas-*_kinpar.*"), *out.glob("desc-relad_qc.*")]:
        path.unlink()  # the other tests look at what participant alone wrote


def test_without_flair_the_network_gets_its_no_flair_input(run, dataset, tmp_path):
    _, _, work = run
    args = ("-w", work, "--sloppy", "--nprocs", 1, "--missing-flair", "t1w-only")
    done = relad_bids(
        dataset,
        tmp_path,
        "participant",
        "--participant-label",
        "002",
        *args,
        "--synth-tracers",
        "tau",
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob(TABLE)
    flags = pd.read_csv(path, sep="\t")["qc_flags"].str.split(";")
    assert all("flair_missing" in row for row in flags)
    assert "missing" in (tmp_path / "sub-002.html").read_text()


def spoil(path: Path) -> None:
    """Put one NaN into an image, in a type that can hold it."""
    image = nb.load(path)
    voxels = image.get_fdata().astype("float32")
    voxels[3, 4, 5] = np.nan
    spoiled = nb.Nifti1Image(voxels, image.affine)
    spoiled.set_qform(image.affine, 1)
    spoiled.to_filename(path)


def test_a_session_that_was_not_reached_is_not_called_done(dataset, tmp_path):
    data = shutil.copytree(dataset, tmp_path / "bids")
    spoil(data / "sub-001" / "anat" / "sub-001_T1w.nii.gz")
    out = tmp_path / "out"
    args = ("-w", tmp_path / "work", "--sloppy", "--nprocs", 1, "--missing-flair", "t1w-only")
    done = relad_bids(data, out, "participant", *args, "--stop-on-first-crash")
    assert done.returncode == 1
    assert "0 done, 0 left out, 2 failed" in done.stderr
    qc = pd.read_csv(out / "sub-002" / "sub-002_desc-relad_qc.tsv", sep="\t")
    assert qc.loc[0, "flags"] == "not_reached"


def test_a_bad_image_stops_its_own_participant_only(run, dataset, tmp_path):
    """NaN is found when the voxels are read, inside the graph."""
    _, first, work = run
    data = shutil.copytree(dataset, tmp_path / "bids")
    spoil(data / "sub-002" / "anat" / "sub-002_T1w.nii.gz")
    out = tmp_path / "out"
    args = ("-w", work, "--sloppy", "--nprocs", 2, "--missing-flair", "t1w-only")
    done = relad_bids(data, out, "participant", *args)
    assert done.returncode == 65
    assert "sub-002" in done.stderr
    assert "NaN" in done.stderr
    assert "Traceback" not in done.stderr
    assert "1 done, 0 left out, 1 failed" in done.stderr
    assert digests(out) == digests(first)
    qc = pd.read_csv(out / "sub-002" / "sub-002_desc-relad_qc.tsv", sep="\t")
    assert qc.loc[0, "status"] == "failed"
    assert not list((out / "sub-002").rglob("*.nii.gz"))
