"""``group`` on a large cohort: seconds and memory, without and with measured PET.

2,000 participants, three tracers, one table of 120 rows each: synthetic PET alone, as a lab
without a scanner has it, and then measured PET beside it, which is compared.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import relad_bids

from relad_bids.files import read_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cohort import Cohort, people

N, ROWS = 2000, 120
TRACERS = ("pib", "flortaucipir", "pbr28")


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N
    for sources in (("synthetic",), ("synthetic", "real")):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            cohort, who = Cohort(root, small=False), people(n)
            whole = [voi for voi in cohort.vois if voi.family == "label"][: ROWS - 60]
            sets = [voi for voi in cohort.vois if voi.family != "label" and voi.hemi == "B"]
            cohort.vois = (*sets, *whole, *cohort.vois[1 : ROWS - len(sets) - len(whole) + 1])
            for person in who:
                for tracer in TRACERS:
                    cohort.session(person, tracer, sources=sources)
                cohort.qc(person)
            cohort.participants(who)
            run = relad_bids(root / "gone", root, "group")
            rows = sum(len(read_table(path)) for path in root.glob("atlas-*_kinpar.tsv"))
        what = " and ".join(sources)
        print(f"{n} participants x {len(TRACERS)} tracers, {what}: {rows} rows, exit {run.code}, "
              f"{60 * run.minutes:.1f} s, {run.peak_mb:.0f} MB")  # fmt: skip
        if run.code:
            sys.exit(run.stderr)


if __name__ == "__main__":
    main()
