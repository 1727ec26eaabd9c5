"""All real scans: every session ends with a table per tracer, with and without FLAIR."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd
from common import real_data, relad_bids


def main() -> None:
    data = real_data() / "bids-mri"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    work = folder / "work"
    for rule in ("t1w-only", "skip"):
        out = folder / rule
        done = relad_bids(
            data, out, "participant", "--missing-flair", rule, "-w", work, "--nprocs", 2
        )
        print(f"--missing-flair {rule}: exit {done.code}, {done.minutes:.1f} min", end=", ")
        print(f"{done.peak_mb:.0f} MB peak (PSS)")
        for line in done.stderr.splitlines():
            if line.startswith("relad-bids: sub-"):
                print(f"  stderr: {line[:110]}")
        qc = pd.concat(
            pd.read_csv(path, sep="\t") for path in sorted(out.rglob("*_desc-relad_qc.tsv"))
        )
        qc["tables"] = [
            len(list(out.rglob(f"{'_'.join(filter(None, key))}_*kinpar.tsv")))
            for key in qc[["participant_id", "session_id"]].fillna("").itertuples(index=False)
        ]
        columns = ["participant_id", "session_id", "status", "brain_volume_ml", "tables", "flags"]
        print(qc[columns].to_string(index=False))


if __name__ == "__main__":
    main()
