"""``group`` on a large cohort: seconds and memory, without and with measured PET.

2,000 participants, three tracers, one table of 120 rows each: synthetic PET alone, as a lab
without a scanner has it, and then measured PET beside it, which is compared.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

from common import relad_bids

from relad_bids.files import read_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cohort import Cohort, people

N, ROWS = 2000, 120
TRACERS = ("pib", "flortaucipir", "pbr28")


def _processor_seconds() -> float:
    """Of all child processes that have ended; other work on the machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
            before = _processor_seconds()
            run = relad_bids(root / "gone", root, "group")
            spent = _processor_seconds() - before
            rows = sum(len(read_table(path)) for path in root.glob("atlas-*_kinpar.tsv"))
        what = " and ".join(sources)
        print(
            f"{n} participants x {len(TRACERS)} tracers, {what}: {rows} rows, exit {run.code}, "
            f"{60 * run.minutes:.1f} s ({spent:.1f} s of processor), {run.peak_mb:.0f} MB"
        )
        if run.code:
            sys.exit(run.stderr)


if __name__ == "__main__":
    main()
