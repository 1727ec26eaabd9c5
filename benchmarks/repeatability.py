"""The same job with other numbers of processes and threads: are the tables the same bytes?"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from common import real_data, relad_bids

VARIANTS = ((1, 1), (2, 1), (2, 2))
"""--nprocs, --omp-nthreads"""


def main() -> None:
    data = real_data() / "bids-mri"
    with tempfile.TemporaryDirectory() as folder:
        seen = set()
        for nprocs, threads in VARIANTS:
            out = Path(folder) / f"out-{nprocs}-{threads}"
            done = relad_bids(
                data, out, "participant", "--participant-label", "elder13", "neck",
                "--missing-flair", "t1w-only", "-w", Path(folder) / f"work-{nprocs}-{threads}",
                "--nprocs", nprocs, "--omp-nthreads", threads,
            )  # fmt: skip
            digest = hashlib.sha256()
            tables = sorted(out.rglob("*_kinpar.tsv")) + sorted(out.rglob("*_qc.tsv"))
            for path in tables:
                digest.update(path.read_bytes())
            seen.add(digest.hexdigest())
            print(f"nprocs {nprocs}, omp-nthreads {threads}: exit {done.code}", end=", ")
            print(f"{len(tables)} tables, SHA-256 {digest.hexdigest()[:16]}")
        print("byte-identical" if len(seen) == 1 else "THE TABLES DIFFER")


if __name__ == "__main__":
    main()
