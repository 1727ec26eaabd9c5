"""Flags that only the group level reads."""

from __future__ import annotations

from argparse import _ArgumentGroup
from pathlib import Path


def add_group_flags(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--participants-tsv", type=Path, metavar="FILE",
        help="age, sex, education, diagnosis, site; default: participants.tsv of the output "
        "folder, else of the dataset",
    )  # fmt: skip
    group.add_argument(
        "--sessions-tsv", type=Path, metavar="FILE",
        help="participant_id, session_id and years, acq_time or age; default: the "
        "sub-*_sessions.tsv, and acq_time in the *_scans.tsv, of both folders",
    )  # fmt: skip
    group.add_argument(
        "--scores", nargs="+", default=[], metavar="COLUMN",
        help="cognitive scores that are told from MRI, and from synthetic and measured PET, out "
        "of fold; refused where a checkpoint has seen the participants",
    )  # fmt: skip
    group.add_argument(
        "--phenotype", nargs="+", type=Path, default=[], metavar="FILE",
        help="tables that hold the scores; default: participants.tsv",
    )  # fmt: skip
    group.add_argument(
        "--checkpoints", nargs="+", type=Path, default=[], metavar="DIR",
        help="folders of the checkpoints that made the synthetic PET, or of a cross-validation: "
        "whom they have seen is left out, or refused; the bundled one is known",
    )  # fmt: skip
    group.add_argument(
        "--unseen", action="store_true",
        help="you know that no participant here was in the training of a checkpoint whose list is "
        "not given",
    )  # fmt: skip
    group.add_argument(
        "--retest-sessions", nargs=2, metavar=("TEST", "RETEST"),
        help="two sessions between which nothing has changed: repeatability",
    )  # fmt: skip
    group.add_argument(
        "--retest-days", type=float, metavar="DAYS",
        help="or: the first two sessions of a participant within so many days",
    )  # fmt: skip
    group.add_argument(
        "--combat", metavar="COLUMN",
        help="harmonise SUVr over the sites of this column of participants.tsv, measured and "
        "synthetic PET each on its own; a table of its own, originals are kept",
    )  # fmt: skip
    group.add_argument(
        "--combat-train", nargs="+", default=[], metavar="LABEL",
        help="participants, or a .txt file of them, that the sites' effects are learnt from",
    )  # fmt: skip
    group.add_argument(
        "--parquet", action="store_true", help="write each table as parquet, too (needs pyarrow)"
    )
    group.add_argument(
        "--bootstrap-draws", type=int, default=2000, metavar="N", help="default 2000"
    )
    group.add_argument(
        "--permutations", type=int, default=1000, metavar="N",
        help="of synthetic PET among participants, for the scores; default 1000",
    )  # fmt: skip
