"""The real command on simulated heads, from raw images to tables, page and group."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from relad_bids.bids.pairs import find_pairs
from relad_bids.cli.settings import BUNDLED
from relad_bids.core.columns import COLUMNS
from relad_bids.model.checkpoint import verify_checkpoint
from relad_bids.phantom.dataset import write_dataset

pytestmark = [pytest.mark.xdist_group("end_to_end"), pytest.mark.slow]

TABLE = "sub-*/pet/*_desc-synth_kinpar.tsv"
MEASURED = "sub-*/pet/*_desc-measured_kinpar.tsv"


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
    """Two simulated heads; the first has PET of amyloid, the second has lost its FLAIR.

    All folders have names that a shell, a template or an URL would take for something else.
    """
    out = tmp_path_factory.mktemp("it's $HOME & co; {0} %20 100%") / 'bids "raw"'
    write_dataset(
        out, n=2, preset="strong", seed=11, voxel_mm=3.0, pet_participants=1, tracers=("pib",)
    )
    for path in (out / "sub-002" / "anat").glob("*FLAIR*"):
        path.unlink()
    return out


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """The default run on one CPU, and its work folder for later runs.

    Without network where the system lets a test take it away.
    """
    folder = tmp_path_factory.mktemp("run (1) 'of' two")
    out, work = folder / "out put", folder / "work $x"
    done = relad_bids(
        dataset, out, "participant", "-w", work, "--nprocs", 1, "--sloppy", before=no_network()
    )
    assert done.returncode == 0, done.stderr
    return done, out, work


def digests(out: Path) -> dict[str, bytes]:
    paths = sorted(path for pattern in (TABLE, MEASURED) for path in out.glob(pattern))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def test_one_session_is_done_and_the_one_without_flair_is_named(run):
    done, out, _ = run
    assert done.stdout == ""
    assert "sub-002: has no FLAIR image and is left out" in done.stderr
    assert "1 done, 1 left out, 0 failed" in done.stderr
    qc = pd.read_csv(out / "sub-002" / "sub-002_desc-relad_qc.tsv", sep="\t")
    assert qc.loc[0, ["status", "flags"]].tolist() == ["skipped", "flair_missing"]
    assert not list((out / "sub-002").rglob("*kinpar*"))


def test_nobody_is_missing_once_a_session_is_done_or_left_out(run, dataset, tmp_path):
    """By the same words as the run; in an empty folder everybody is, and nothing is made there."""
    _, out, work = run
    words = ("participant", "-w", work, "--sloppy", "--list-missing")
    done = relad_bids(dataset, out, *words)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    empty = relad_bids(dataset, tmp_path / "out", *words)
    assert (empty.returncode, empty.stdout) == (0, "sub-001\nsub-002\n"), empty.stderr
    assert not (tmp_path / "out").exists()


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


def test_measured_pet_comes_out_as_it_was_painted(run, dataset):
    """Against what the noise-free scanner shows of the painted uptake."""
    _, out, _ = run
    (path,) = out.glob(MEASURED)
    table = pd.read_csv(path, sep="\t", na_values=["n/a"])
    assert list(table) == list(COLUMNS)
    assert set(table["source"]) == {"real"}
    assert set(table["window_status"]) == {"ok"}
    assert not table["statement"].str.contains("ynthetic").any()
    truth = pd.read_csv(next(dataset.glob("derivatives/truth/sub-001/*_suvr.tsv")), sep="\t")
    truth = truth[truth["tracer"] == "pib"]
    both = table[table["hemi"] == "B"].merge(truth, on=["family", "voi"])
    large = both[both["volume_mm3_x"] > 10_000]
    assert len(large) > 10
    # 3 mm heads, a coarse warp: labels lie off by a millimetre or two; measured 0.02 on average.
    error = (large["suvr_mean"] - large["suvr_psf"]).abs()
    assert error.mean() < 0.06
    assert large[["suvr_mean", "suvr_psf"]].corr().iloc[0, 1] > 0.9
    # SUV: the body's mean is 1 g/mL, and brains take up a few times that.
    assert table["suv_mean"].dropna().between(0.1, 10).all()
    assert table["suv_mean"].notna().sum() == table["mean"].notna().sum()


def test_measured_pet_says_that_it_was_measured(run):
    _, out, _ = run
    (sidecar,) = out.glob("sub-001/pet/*_space-T1w_meas-SUVR_desc-measured_mimap.json")
    facts = json.loads(sidecar.read_text())
    assert facts["Synthetic"] is False
    assert facts["ReferenceRegion"] == "cerebellum-whole"
    assert "SynthesisModel" not in facts
    page = (out / "sub-001.html").read_text()
    assert "Measured pib" in page
    assert "Synthetic pib" in page
    qc = pd.read_csv(out / "sub-001" / "sub-001_desc-relad_qc.tsv", sep="\t")
    assert qc.loc[0, "pet"] == "sub-001/pet/sub-001_trc-11CPIB_pet.nii.gz"


def test_training_takes_what_was_measured(run):
    """The derivatives are what `relad train` looks for: same grid, a reference, not synthetic."""
    _, out, _ = run
    card = verify_checkpoint(BUNDLED)
    found = find_pairs(
        out, grid=card.grid, space=card.space, resolution="2", tracers=["pib", "pbr28"]
    )
    (pair,) = found.pairs
    assert set(pair.pet) == {"pib"}
    assert found.references == {"pib": "cerebellum-whole"}


@pytest.mark.parametrize("what", ["T1w", "MNI152NLin2009cAsym_res-2"])
def test_the_reference_region_of_measured_pet_averages_to_one(run, what):
    """In T1w space exactly; in template space, interpolated once more, nearly."""
    _, out, _ = run
    suvr = nb.load(next(out.glob(f"sub-001/pet/*_space-{what}_meas-SUVR_desc-measured_*.nii.gz")))
    if what == "T1w":
        mask = nb.load(next(out.glob("sub-001/anat/*cerebellumWhole_desc-ref_mask.nii.gz")))
        inside = suvr.get_fdata()[mask.get_fdata() > 0]
        assert np.nanmean(inside) == pytest.approx(1.0, abs=1e-5)
    else:
        brain = nb.load(next(out.glob("sub-001/anat/*_res-2_desc-brain_mask.nii.gz")))
        values = suvr.get_fdata()[brain.get_fdata() > 0]
        assert 0.6 < values.mean() < 1.6


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


def issues(folder: Path) -> tuple[int, list[str]]:
    """Exit code of the BIDS validator and what it found."""
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    command = [validator, str(folder), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["issues"]["issues"]
    return done.returncode, [f"{i['severity']} {i['code']} {i['location']}" for i in found]


def test_the_validator_finds_nothing_and_would_find_something(run, tmp_path):
    _, out, _ = run
    assert issues(out) == (0, [])
    broken = shutil.copytree(out, tmp_path / "broken")
    ignore = broken / ".bidsignore"
    ignore.write_text("\n".join(x for x in ignore.read_text().split() if "mimap" not in x))
    code, found = issues(broken)
    assert code == 16
    assert found


def test_a_finished_session_is_not_done_again(run, dataset, tmp_path):
    """Known by its content alone: nothing of the work folder is there."""
    _, first, _ = run
    out = shutil.copytree(first, tmp_path / "out")
    args = ("-w", tmp_path / "work", "--nprocs", 1, "--sloppy")
    done = relad_bids(dataset, out, "participant", *args)
    assert done.returncode == 0, done.stderr
    assert "sub-001: finished before, nothing of it has changed; skipped" in done.stderr
    assert "1 done, 1 left out, 0 failed" in done.stderr
    assert not list((tmp_path / "work").rglob("relad_wf"))


def test_a_run_that_is_killed_and_started_again(run, dataset, tmp_path):
    """At the moment the first table stands: nothing half-written, then the same bytes."""
    _, first, work = run
    out = tmp_path / "out"
    args = (dataset, out, "participant", "-w", work, "--nprocs", 1, "--sloppy")
    command = [sys.executable, "-m", "relad_bids", *map(str, args)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as killed:
        while killed.poll() is None and not list(out.glob(TABLE)):
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
    whole = digests(out)
    assert all(digests(first)[name] == content for name, content in whole.items())
    again = relad_bids(*args)
    assert again.returncode == 0, again.stderr
    assert digests(out) == digests(first)
    assert not list(out.rglob("*.part"))


def test_two_processes_write_the_same_bytes(run, dataset, tmp_path):
    """A fresh work folder, so that every step runs again."""
    _, out, _ = run
    args = ("-w", tmp_path / "work", "--nprocs", 2, "--omp-nthreads", 2, "--sloppy")
    again = relad_bids(dataset, tmp_path / "out", "participant", *args)
    assert again.returncode == 0, again.stderr
    assert digests(tmp_path / "out") == digests(out)


DRAWS = ("--n-samples", 8, "--sampling-steps", 3, "--sloppy", "--participant-label", "001")
DRAWS += ("--real-pet", "ignore")
MAPS = "sub-*/pet/*_mimap.nii.gz"


@pytest.fixture(scope="module")
def drawn(run, dataset, drawing_checkpoint, tmp_path_factory):
    """Eight draws of three steps for each of two tracers; the prepared MRI is there already."""
    out = tmp_path_factory.mktemp("drawn") / "out"
    args = ("-w", run[2], "--nprocs", 1, "--model-dir", drawing_checkpoint, *DRAWS)
    done = relad_bids(dataset, out, "participant", *args, "--synth-tracers", "tau", "pib")
    assert done.returncode == 0, done.stderr
    return out


def test_samples_give_a_spread_and_say_how_they_were_drawn(drawn):
    for path in drawn.glob(TABLE):
        table = pd.read_csv(path, sep="\t", na_values=["n/a"])
        assert set(table["n_samples"]) == {8}
        assert not table["qc_flags"].str.contains("single_sample").any()
        measured = table["suvr_mean"].notna()
        assert (table.loc[measured, "suvr_sd_samples"] >= 0).all()
        # Voxels that differ alone: pooled over a brain they hardly do, in a voxel they do.
        brain = table.query("voi == 'global-brain' and hemi == 'B'")["suvr_sd_samples"].item()
        assert 0 < brain < table["suvr_sd_samples"].max()
        model = json.loads(path.with_suffix(".json").read_text())["SynthesisModel"]
        assert model["Sampler"] == {"name": "dpmpp2m", "steps": 3, "spacing": "log_snr"}
        assert model["NumberOfSamples"] == 8
        assert model["Seed"] == table["seed"].unique().item()
    assert len(list(drawn.glob(TABLE))) == 2


def test_the_map_of_the_spread_has_its_own_name(drawn):
    maps = sorted(drawn.glob("sub-001/pet/*_stat-std_*.nii.gz"))
    tail = "space-MNI152NLin2009cAsym_res-8p96_meas-SUVR_stat-std_desc-synth_mimap.nii.gz"
    assert [path.name for path in maps] == [
        f"sub-001_trc-11CPIB_{tail}", f"sub-001_trc-18FAV1451_{tail}",
    ]  # fmt: skip
    for path in maps:
        assert "not how wrong" in Path(str(path).replace(".nii.gz", ".json")).read_text()
        mean, sd = nb.load(str(path).replace("_stat-std", "")), nb.load(path)
        np.testing.assert_allclose(sd.affine, mean.affine)
        brain = mean.get_fdata() > 0
        assert np.all(sd.get_fdata()[~brain] == 0)
        # Measured 0.08 SUVr.
        assert 0.05 < np.median(sd.get_fdata()[brain]) < 0.5


def test_the_validator_takes_the_spread(drawn):
    assert issues(drawn) == (0, [])


def test_draws_are_the_same_in_any_order_and_by_any_number_of_processes(
    drawn, run, dataset, drawing_checkpoint, tmp_path
):
    """The network is asked again: what it said last time is gone."""
    for folder in run[2].glob("*/relad_wf/*/synthesise"):
        shutil.rmtree(folder)
    args = ("-w", run[2], "--nprocs", 2, "--model-dir", drawing_checkpoint, *DRAWS)
    out = tmp_path / "out"
    done = relad_bids(dataset, out, "participant", *args, "--synth-tracers", "pib", "tau")
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(drawn)
    for path in drawn.glob(MAPS):
        assert (out / path.relative_to(drawn)).read_bytes() == path.read_bytes()


def test_another_seed_gives_other_draws(drawn, run, dataset, drawing_checkpoint, tmp_path):
    args = ("-w", run[2], "--nprocs", 1, "--model-dir", drawing_checkpoint, *DRAWS)
    more = ("--synth-tracers", "pib", "--random-seed", 1)
    done = relad_bids(dataset, tmp_path / "out", "participant", *args, *more)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "out").glob(TABLE)
    other, first = (
        pd.read_csv(p, sep="\t", na_values=["n/a"])
        for p in (path, drawn / path.relative_to(tmp_path / "out"))
    )
    assert other["seed"].unique().item() != first["seed"].unique().item()
    assert (other["suvr_mean"] - first["suvr_mean"]).abs().max() > 1e-3


@pytest.fixture(scope="module")
def published(run, dataset, published_like_checkpoint, tmp_path_factory):
    """Two tracers, in the paper's words, of a network like the published one."""
    out = tmp_path_factory.mktemp("published") / "out"
    args = ("-w", run[2], "--nprocs", 1, "--sloppy", "--participant-label", "001")
    args += ("--real-pet", "ignore")
    network = ("--model-dir", published_like_checkpoint, "--sampling-steps", 2)
    done = relad_bids(
        dataset, out, "participant", *args, *network, "--synth-tracers", "PBR", "TAU"
    )
    assert done.returncode == 0, done.stderr
    return out


def test_names_carry_the_space_of_the_checkpoint(published):
    names = [path.name for path in (published / "sub-001").rglob("*")]
    assert not [name for name in names if "2009c" in name]
    assert "sub-001_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.h5" in names
    head = "sub-001_trc-TSPOundeclared_"
    assert f"{head}space-MNI152NLin6Asym_res-8p96_meas-SUVR_desc-synth_mimap.nii.gz" in names
    assert f"{head}atlas-DesikanKilliany_model-SUVR_desc-synth_kinpar.tsv" in names
    (path,) = published.glob("sub-001/anat/*_space-MNI*_desc-norm_T1w.json")
    assert json.loads(path.read_text())["SpatialReference"] == "MNI152NLin6Asym"


def test_a_minmax_network_is_read_by_ratios_alone(published):
    """Whatever its unit is: regional means over that of the reference, from the written files."""
    (path,) = published.glob("sub-001/pet/*_trc-18FAV1451_*_kinpar.tsv")
    table = pd.read_csv(path, sep="\t", na_values=["n/a"])
    assert table["unit"].str.startswith("arbitrary").all()
    np.testing.assert_allclose(
        table["suvr_mean"], table["mean"] / table["ref_mean"], rtol=1e-4
    )  # six digits of each are written
    suvr = nb.load(next(published.glob("sub-001/pet/*18FAV1451_space-T1w*.nii.gz"))).get_fdata()
    labels = nb.load(next(published.glob("sub-001/anat/*_dseg.nii.gz"))).get_fdata()
    row = table.query("voi == 'thalamus' and hemi == 'B'").iloc[0]
    assert np.nanmean(suvr[np.isin(labels, (10, 49))]) == pytest.approx(row["suvr_mean"], rel=1e-4)


def test_an_undeclared_ligand_has_a_table_and_a_flag(published):
    (path,) = published.glob("sub-001/pet/*_trc-TSPOundeclared_*_kinpar.tsv")
    table = pd.read_csv(path, sep="\t", na_values=["n/a"])
    assert set(table["tracer"]) == {"tspo-undeclared"}
    flags = table["qc_flags"].str.split(";")
    assert all({"pseudo_reference", "ligand_undeclared"} <= set(row) for row in flags)
    assert table["suvr_mean"].notna().mean() > 0.9
    (sidecar,) = published.glob("sub-001/pet/*_trc-TSPOundeclared_space-T1w_*.json")
    facts = json.loads(sidecar.read_text())
    assert (facts["TracerName"], facts["TracerRadionuclide"]) == ("tspo-undeclared", "n/a")


def test_the_validator_takes_the_other_space(published):
    assert issues(published) == (0, [])


def test_group_needs_no_raw_data_and_joins_all_rows(run, tmp_path):
    _, out, _ = run
    done = relad_bids(tmp_path / "gone", out, "group")
    assert done.returncode == 0, done.stderr
    for path, pattern in zip(done.stdout.splitlines()[:2], (TABLE, MEASURED), strict=True):
        table = pd.read_csv(path, sep="\t")
        parts = [pd.read_csv(p, sep="\t") for p in out.glob(pattern)]
        assert len(table) == sum(map(len, parts))
        dictionary = json.loads(Path(path).with_suffix(".json").read_text())
        assert set(table) <= set(dictionary)
        synthetic = "no scientific value" in dictionary["SyntheticDataStatement"]
        assert synthetic is (pattern == TABLE)
    assert issues(out) == (0, [])
    assert done.stdout.splitlines()[2] == str(out / "group.html")
    shutil.rmtree(out / "group")
    made = ("atlas-*_kinpar.*", "desc-relad_qc.*", "group.html")
    for path in [path for pattern in made for path in out.glob(pattern)]:
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


@pytest.fixture(scope="module")
def damaged(dataset, tmp_path_factory):
    """The participant with PET, whose FLAIR has a byte that was not packed so."""
    data = shutil.copytree(dataset, tmp_path_factory.mktemp("damaged") / "bids")
    shutil.rmtree(data / "sub-002")
    (flair,) = data.glob("sub-001/anat/*_FLAIR.nii.gz")
    content = bytearray(flair.read_bytes())
    content[len(content) // 2] ^= 0xFF  # header and length stay as they were
    flair.write_bytes(content)
    return data


DAMAGE = r"sub-001_FLAIR.nii.gz: the file is damaged"


def test_a_damaged_flair_costs_the_synthesis_and_not_the_measured_pet(damaged, tmp_path):
    args = ("-w", damaged.parent / "work", "--sloppy", "--nprocs", 1)
    done = relad_bids(damaged, tmp_path, "participant", *args)
    assert done.returncode == 65, done.stderr
    assert DAMAGE in done.stderr
    assert "0 done, 1 done in part, 0 left out, 0 failed" in done.stderr
    assert list(tmp_path.glob(TABLE)) == []
    (path,) = tmp_path.glob(MEASURED)
    measured = pd.read_csv(path, sep="\t", na_values="n/a")
    assert measured["suvr_mean"].notna().any()
    assert not measured["qc_flags"].str.contains("flair").any()  # no MRI but the T1w went in
    row = pd.read_csv(tmp_path / "sub-001" / "sub-001_desc-relad_qc.tsv", sep="\t").loc[0]
    assert row["status"] == "ok"
    assert {"flair_missing", "flair_unusable"} <= set(row["flags"].split(";"))
    assert "sub-001/anat/" + DAMAGE in row["reason"]
    assert str(damaged) not in row["reason"]
    again = relad_bids(damaged, tmp_path, "participant", *args)
    assert again.returncode == 65
    assert "finished before" in again.stderr
    listed = relad_bids(damaged, tmp_path, "participant", *args, "--list-missing", "participant")
    assert (listed.returncode, listed.stdout) == (0, "")


def test_a_damaged_flair_is_a_missing_one_where_the_user_goes_on_without(damaged, tmp_path):
    args = ("-w", damaged.parent / "work", "--sloppy", "--nprocs", 1, "--synth-tracers", "tau")
    done = relad_bids(damaged, tmp_path, "participant", *args, "--missing-flair", "t1w-only")
    assert done.returncode == 0, done.stderr
    assert "synthesised without its FLAIR" in done.stderr
    assert DAMAGE in done.stderr
    (path,) = tmp_path.glob(TABLE)
    flags = pd.read_csv(path, sep="\t")["qc_flags"].str.split(";")
    assert all({"flair_missing", "flair_unusable"} <= set(row) for row in flags)
    assert len(list(tmp_path.glob(MEASURED))) == 1
    row = pd.read_csv(tmp_path / "sub-001" / "sub-001_desc-relad_qc.tsv", sep="\t").loc[0]
    assert DAMAGE in row["reason"]
    assert "not used: " in (tmp_path / "sub-001.html").read_text()


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


@pytest.fixture(scope="module")
def own(run, dataset, tmp_path_factory):
    """Measured PET alone, with the phantom's true labels as FreeSurfer's and one more atlas."""
    folder = tmp_path_factory.mktemp("own")
    truth = nb.load(
        dataset / "derivatives/truth/sub-001/anat/sub-001_space-T1w_desc-truth_dseg.nii.gz"
    )
    turned = nb.orientations.axcodes2ornt(("L", "I", "A"))
    image = truth.as_reoriented(
        nb.orientations.ornt_transform(nb.orientations.io_orientation(truth.affine), turned)
    )
    mri = folder / "fs" / "sub-001" / "mri"
    mri.mkdir(parents=True)
    numbers = np.ascontiguousarray(image.dataobj).astype(np.int32)
    nb.MGHImage(numbers, image.affine).to_filename(mri / "aparc+aseg.mgz")
    name = "halves_space-MNI152NLin6Asym_dseg"
    shape, affine = (46, 55, 46), np.diag([-4.0, 4, 4, 1])
    affine[:3, 3] = 90, -126, -72
    halves = np.where(np.arange(46) < 22, 2, 1)[:, None, None] * np.ones(shape)
    nb.Nifti1Image(halves.astype(np.float32), affine).to_filename(folder / f"{name}.nii.gz")
    (folder / f"{name}.tsv").write_text("index\tname\n1\tLeft\n2\tRight\n")
    done = relad_bids(
        dataset, folder / "out", "participant", "-w", run[2], "--sloppy", "--nprocs", 1,
        "--synth-tracers", "none", "--fs-subjects-dir", folder / "fs",
        "--atlas-dataset", f"halves={folder / name}.nii.gz", before=no_network(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, folder / "out"


def test_measured_pet_alone_makes_no_synthetic_file(own):
    done, out = own
    assert "measured PET alone" in done.stderr
    assert "1 done, 1 left out, 0 failed" in done.stderr
    assert not [path for path in out.rglob("sub-*") if "synth" in path.name or "norm" in path.name]
    page = (out / "sub-001.html").read_text()
    assert "On the T1w" in page
    assert "Synthetic" not in page
    row = pd.read_csv(out / "sub-001" / "sub-001_desc-relad_qc.tsv", sep="\t").iloc[0]
    # Simulated at 3 mm.
    assert row["flags"].split(";") == ["t1w_thick_slices", "t1w_blurred"]
    assert row["pet_nmi_margin"] > 0


def test_the_users_labels_and_atlas_are_in_their_tables(own):
    _, out = own
    head = out / "sub-001" / "pet" / "sub-001_trc-11CPIB_atlas"
    tail = "model-SUVR_desc-measured_kinpar.tsv"
    main = pd.read_csv(f"{head}-DesikanKilliany_{tail}", sep="\t")
    assert set(main["voi_source"]) == {"freesurfer"}
    halves = pd.read_csv(f"{head}-halves_{tail}", sep="\t")
    assert halves["hemi"].tolist() == ["L", "R"]
    assert (halves["volume_mm3"] > 150_000).all()
    whole = main.set_index(["voi", "hemi"]).loc["neocortex"]["suvr_mean"]
    # Half a brain's grey matter is mostly neocortex.
    np.testing.assert_allclose(halves["suvr_mean"], whole[["L", "R"]], rtol=0.1)
    assert set(halves["ref_mean"]) == {main["ref_mean"].iloc[0]}


def test_the_validator_takes_measured_pet_alone_and_atlases(own):
    assert issues(own[1]) == (0, [])
