"""Held-out phantoms through the whole chain: VOI SUVr against the truth, beside the floor.

Ten phantoms of preset ``strong`` and a seed that training never used go from raw images to
tables. Beside the network stand, through the same registration and the same quantification,
the regression on regional MRI means that it starts from, and the floor: the training mean.

Two truths: ``psf`` is what a scanner without noise measures (the phantom's own PSF), which is
what the network was trained to predict; ``true`` is the uptake painted into the anatomy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
from common import relad_bids

from relad_bids.cli.settings import BUNDLED
from relad_bids.core.agreement import concordance
from relad_bids.core.rows import primary_rows
from relad_bids.evaluate.contender import closed_forms
from relad_bids.model.checkpoint import load_checkpoint, save_checkpoint
from relad_bids.tables import tracers

N, SEED = 10, 20260701
SETTINGS = {"mean": ("n_tracers",), "ridge": ("n_sequences", "n_tracers", "rank")}
"""What of the architecture the floors are built from."""
FAMILIES = ("tau", "amyloid", "tspo")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    model = Path(sys.argv[2]) if len(sys.argv) > 2 else BUNDLED
    data, work = folder / "bids", folder / "work"
    if not data.exists():
        command = [sys.executable, "-m", "relad_bids.cli.workshop", "phantom", str(data)]
        command += ["--n", str(N), "--preset", "strong", "--seed", str(SEED), "--with-pet", "0"]
        subprocess.run(command, check=True)
    checkpoints = {
        "network": model,
        "regression": floor(model, "ridge", folder / "regression"),
        "training mean": floor(model, "mean", folder / "floor"),
    }
    tables = {}
    for name, checkpoint in checkpoints.items():
        out = folder / f"tables-{name.replace(' ', '-')}"
        done = relad_bids(
            data, out, "participant", "-w", work, "--nprocs", 2, "--model-dir", checkpoint
        )
        print(f"{name}: exit {done.code}, {done.minutes:.1f} min, {done.peak_mb:.0f} MB")
        tables[name] = read(out, "*_kinpar.tsv")
    report(tables, read(data / "derivatives" / "truth", "*_suvr.tsv"))


def floor(model: Path, kind: str, out: Path) -> Path:
    """A floor that the checkpoint carries, as a checkpoint of its own."""
    network, card = load_checkpoint(model)
    closed = closed_forms(network, card)[kind]
    architecture = {name: card.architecture[name] for name in SETTINGS[kind]}
    closed_card = replace(
        card, name=out.name, kind=kind, architecture=architecture, diffusion=None, calibration=None
    )
    save_checkpoint(out, closed, closed_card)
    return out


def read(root: Path, pattern: str) -> pd.DataFrame:
    parts = []
    for path in sorted(root.rglob(pattern)):
        part = pd.read_csv(path, sep="\t", na_values=["n/a"])
        parts.append(part.assign(participant_id=path.name.split("_")[0]))
    return pd.concat(parts)


def report(tables: dict[str, pd.DataFrame], truth: pd.DataFrame) -> None:
    keys = ["participant_id", "tracer", "family", "voi"]
    rows = []
    for name, table in tables.items():
        chosen = primary_rows(table).query("hemi == 'B' and family in @FAMILIES")
        both = chosen.merge(truth, on=keys, suffixes=("", "_truth"))
        for tracer, group in both.groupby("tracer"):
            rows += [
                {"tracer": tracer, "truth": kind, "from": name, **scores(group, kind, tracer)}
                for kind in ("psf", "true")
            ]
    print(pd.DataFrame(rows).sort_values(["tracer", "truth"]).to_string(index=False))


def scores(group: pd.DataFrame, kind: str, tracer: str) -> dict[str, object]:
    """MAE over VOIs and participants; CCC across participants, its median over VOIs."""
    error = (group["suvr_mean"] - group[f"suvr_{kind}"]).abs()
    ccc = group.groupby("voi")[["suvr_mean", f"suvr_{kind}"]].apply(
        lambda voi: concordance(voi["suvr_mean"], voi[f"suvr_{kind}"])
    )
    main_voi = tracers()[tracer].primary_vois[0]
    return {
        "n": group["participant_id"].nunique(),
        "VOIs": len(ccc),
        "MAE": f"{error.mean():.3f}",
        "CCC median": f"{ccc.median():.2f}",
        "main VOI": main_voi,
        "CCC main": f"{ccc[main_voi]:.2f}",
    }


if __name__ == "__main__":
    main()
