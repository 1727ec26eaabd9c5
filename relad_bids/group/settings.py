"""What the user asks of the group level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relad_bids.core.bootstrap import N_DRAWS
from relad_bids.core.cognition import N_PERMUTATIONS
from relad_bids.errors import ConflictError, UsageError


@dataclass(frozen=True, kw_only=True)
class GroupSettings:
    """One run; the fields are the flags."""

    output_dir: Path
    bids_dir: Path | None = None
    """Looked into for participants.tsv and sessions.tsv alone; need not be there."""
    participants: tuple[str, ...] = ()
    participants_tsv: Path | None = None
    sessions_tsv: Path | None = None
    phenotype: tuple[Path, ...] = ()
    scores: tuple[str, ...] = ()
    checkpoints: tuple[Path, ...] = ()
    unseen: bool = False
    retest_sessions: tuple[str, str] | None = None
    """``ses-a``, ``ses-b``."""
    retest_days: float | None = None
    combat: str | None = None
    """Column of participants.tsv."""
    combat_train: tuple[str, ...] = ()
    parquet: bool = False
    n_draws: int = N_DRAWS
    n_permutations: int = N_PERMUTATIONS
    seed: int = 0

    @property
    def asks_retest(self) -> bool:
        return bool(self.retest_sessions) or self.retest_days is not None

    def checked(self) -> GroupSettings:
        """Refuse settings that do not fit together.

        Raises
        ------
        UsageError, ConflictError
            Says which.
        """
        if self.phenotype and not self.scores:
            raise UsageError(
                "--phenotype was given without --scores; name the columns that are to be told "
                "from MRI and PET, for example --scores mmse."
            )
        if self.retest_sessions and self.retest_days is not None:
            raise ConflictError(
                "--retest-sessions and --retest-days both say which scans are test and retest. "
                "Give one of them."
            )
        if self.combat_train and not self.combat:
            raise UsageError(
                "--combat-train was given without --combat; name the column of the sites."
            )
        for flag, value, least in (
            ("--bootstrap-draws", self.n_draws, 100), ("--permutations", self.n_permutations, 0),
        ):  # fmt: skip
            if value < least:
                raise UsageError(f"{flag} is {value}; it needs {least} or more.")
        return self
