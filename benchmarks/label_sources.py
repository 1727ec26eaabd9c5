"""Packaged labels that are warped onto a head, or the user's own: what it does to SUVr.

Phantoms with measured PET go through the whole chain twice: with the packaged labels, and with
their true labels as somebody's parcellation (``--derivatives``), which is what FreeSurfer gives
where it does not err. Truth is known twice: what a noise-free scanner shows in the true labels
(``seen``), and the uptake that was painted (``painted``), which the rows corrected for partial
volume are held against. The width of each phantom's scanner is given in ``--pet-psf-tsv``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from common import relad_bids

from relad_bids.core.rows import UNSTABLE, second_rows
from relad_bids.phantom.latent import draw_subject
from relad_bids.phantom.participant import subject_name
from relad_bids.phantom.pet import subject_scanner
from relad_bids.tables import tracers

N, SEED, PRESET = 3, 20260701, "strong"
SETS = ("tau", "amyloid", "tspo")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    data = phantoms(folder)
    labels = true_labels(data, folder / "labels")
    psf = widths(data, folder / "psf.tsv")
    found = {}
    for name, more in (("packaged", ()), ("own", ("--derivatives", f"labels={labels}"))):
        out = folder / f"tables-{name}"
        done = relad_bids(
            data, out, "participant", "-w", folder / "work", "--nprocs", 1, "--synth-tracers",
            "none", "--pvc", "gtm", "--pet-psf-tsv", psf, *more,
        )  # fmt: skip
        print(f"{name} labels: exit {done.code}, {done.minutes:.1f} min")
        found[name] = tables(out)
    report(found, truths(data))


def phantoms(folder: Path) -> Path:
    """A dataset with PET of every participant; kept where it is there."""
    data = folder / "bids"
    if not data.exists():
        command = [sys.executable, "-m", "relad_bids.cli.workshop", "phantom", str(data)]
        command += ["--n", str(N), "--preset", PRESET, "--seed", str(SEED)]
        subprocess.run(command, check=True)
    return data


def true_labels(data: Path, out: Path) -> Path:
    """The true labels as a dataset of derivatives, and nothing else of the truth."""
    for path in sorted((data / "derivatives" / "truth").rglob("*_desc-truth_dseg.nii.gz")):
        name = path.name.split("_")[0]
        target = out / name / "anat" / f"{name}_desc-aparcaseg_dseg.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    told = {"Name": "true labels", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
    (out / "dataset_description.json").write_text(json.dumps(told))
    return out


def widths(data: Path, out: Path) -> Path:
    """Each participant's scanner, as the user's table has it."""
    rows = []
    for number in range(len(list(data.glob("sub-*")))):
        subject = draw_subject(number, seed=SEED, preset=PRESET)
        width = subject_scanner(subject).fwhm_mm
        rows.append({"participant_id": subject_name(subject)}
                    | dict.fromkeys(("psf_x", "psf_y", "psf_z"), round(width, 2)))  # fmt: skip
    pd.DataFrame(rows).to_csv(out, sep="\t", index=False)
    return out


def tables(out: Path) -> pd.DataFrame:
    """Rows over the tracers' own reference regions, both sides together or of one label."""
    every = pd.concat(
        pd.read_csv(path, sep="\t", na_values=["n/a"])
        for path in sorted(out.rglob("*_desc-measured_kinpar.tsv"))
    ).reset_index(drop=True)
    kept = every.drop(index=second_rows(every).index)
    return kept[(kept["hemi"] == "B") | (kept["family"] == "label")]


def truths(data: Path) -> pd.DataFrame:
    parts = [
        pd.read_csv(path, sep="\t").assign(participant_id=path.name.split("_")[0])
        for path in sorted((data / "derivatives" / "truth").rglob("*_suvr.tsv"))
    ]
    named = {"suvr_psf": "seen", "suvr_true": "painted", "volume_mm3": "true_mm3"}
    return pd.concat(parts).rename(columns=named)


KEYS = ["participant_id", "tracer", "family", "voi"]


def report(found: dict[str, pd.DataFrame], truth: pd.DataFrame) -> None:
    truth = truth[[*KEYS, "seen", "painted", "true_mm3"]]
    both = {name: table.merge(truth, on=KEYS) for name, table in found.items()}
    kinds = {"label": "single labels above 1 mL", **dict.fromkeys(SETS, "sets of labels")}
    rows = []
    for name, table in both.items():
        large = table[(table["true_mm3"] > 1000) & table["family"].isin(kinds)]
        for pvc, known in (("none", "seen"), ("none", "painted"), ("GTM", "painted")):
            one = large[large["pvc"] == pvc]
            error = 100 * (one["suvr_mean"] / one[known] - 1)
            for (kind, tracer), group in error.groupby([one["family"].map(kinds), one["tracer"]]):
                rows.append({
                    "labels": name, "pvc": pvc, "against": known, "vois": kind, "tracer": tracer,
                    "n": len(group), "bias %": group.mean(), "median %": group.abs().median(),
                    "90th %": group.abs().quantile(0.9), "largest %": group.abs().max(),
                })  # fmt: skip
    print(pd.DataFrame(rows).round(1).to_string(index=False))
    differences(both)
    unstable(both)


def differences(both: dict[str, pd.DataFrame]) -> None:
    """The main regions of each tracer, not corrected: packaged over own labels."""
    plain = {name: table[table["pvc"] == "none"].set_index(KEYS) for name, table in both.items()}
    ratio = 100 * (plain["packaged"]["suvr_mean"] / plain["own"]["suvr_mean"] - 1)
    volume = 100 * (plain["packaged"]["volume_mm3"] / plain["own"]["volume_mm3"] - 1)
    print("packaged over own labels, uncorrected, mean over participants:")
    for name, tracer in tracers().items():
        for voi in tracer.primary_vois:
            here = (ratio.index.get_level_values("tracer") == name) & (
                ratio.index.get_level_values("voi") == voi
            )
            if here.any():
                one, size = ratio[here], volume[here]
                print(f"  {name:13} {voi:22} SUVr {one.mean():+5.1f} % (from {one.min():+.1f} to "
                      f"{one.max():+.1f}), volume {size.mean():+6.1f} %")  # fmt: skip


def unstable(both: dict[str, pd.DataFrame]) -> None:
    """Corrected rows by the flag: how many, how wrong."""
    print(f"rows corrected by GTM, flagged {UNSTABLE} and not; error against the painted uptake:")
    for name, table in both.items():
        one = table[(table["pvc"] == "GTM") & table["suvr_mean"].notna()]
        error = 100 * (one["suvr_mean"] / one["painted"] - 1).abs()
        flag = one["qc_flags"].str.contains(UNSTABLE)
        for told, group in error.groupby(flag):
            low = int((one.loc[group.index, "suvr_mean"] <= 0).sum())
            print(f"  {name} labels, {'flagged' if told else 'others'}: {len(group)} rows, {low} "
                  f"not above 0, median {group.median():.1f} %, 90th {group.quantile(0.9):.0f} %, "
                  f"largest {group.max():.0f} %")  # fmt: skip


if __name__ == "__main__":
    main()
