"""``relad-bids BIDS OUT group``: tables of all participants, from the derivatives alone."""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from pathlib import Path

import pandas as pd

from relad_bids import __version__
from relad_bids.bids.outputs import GROUP_QC, GROUP_TABLES, PRODUCTS, group_table, sidecar_path
from relad_bids.bids.selection import read_labels
from relad_bids.core.columns import SYNTHETIC_STATEMENT, dictionary
from relad_bids.core.qc import QC_COLUMNS
from relad_bids.errors import InputError, NothingSelectedError
from relad_bids.files import read_table, require_writable, write_table, write_text

LOGGER = logging.getLogger("relad_bids")


def run_group(args: Namespace) -> int:
    """Join the participants' tables; the raw dataset is not read and need not be there."""
    root: Path = args.output_dir
    participants = read_labels(args.participants, prefix="sub-")
    found = {key: _find(root, key, participants) for key in GROUP_TABLES}
    if not any(found.values()):
        raise InputError(
            f"VOI tables were looked for in {root}/sub-*/ and none was found. Run "
            "'relad-bids BIDS_DIR OUTPUT_DIR participant' first, with the same output folder."
        )
    require_writable(root)
    for key, tables in found.items():
        for name in dict.fromkeys(group_table(key, table) for table in tables):
            own = [table for table in tables if group_table(key, table) == name]
            _write_joined(root, root / name, own)
    _write_qc(root, _find(root, "qc", participants))
    return 0


def _write_joined(root: Path, path: Path, tables: list[Path]) -> None:
    joined = pd.concat([read_table(table) for table in tables], ignore_index=True)
    statements = sorted(joined["statement"].dropna().unique())
    write_table(path, joined)
    write_text(
        sidecar_path(path),
        _json(
            dictionary(
                statement=" ".join(statements) or SYNTHETIC_STATEMENT,
                GeneratedBy={"Name": "relad-bids", "Version": __version__},
                Sources=[f"bids::{table.relative_to(root).as_posix()}" for table in tables],
            )
        ),
    )
    LOGGER.info(
        "%d tables of %d participants joined", len(tables), joined["participant_id"].nunique()
    )
    print(path)


def _write_qc(root: Path, tables: list[Path]) -> None:
    if not tables:
        return
    joined = pd.concat([read_table(path) for path in tables], ignore_index=True)
    write_table(root / GROUP_QC, joined)
    write_text(sidecar_path(root / GROUP_QC), _json(dict(QC_COLUMNS)))


def _find(root: Path, key: str, participants: tuple[str, ...]) -> list[Path]:
    """Tables of one kind, in the order of participant, session, tracer."""
    product = PRODUCTS[key]
    pattern = f"_desc-{product.entities['desc']}_{product.suffix}{product.extension}"
    folders = sorted(path for path in root.glob("sub-*") if path.is_dir())
    if participants:
        wanted = {f"sub-{label}" for label in participants}
        if missing := sorted(wanted - {path.name for path in folders}):
            raise NothingSelectedError(
                f"{root} was searched for {', '.join(missing)}, which it does not hold; it holds "
                f"{', '.join(path.name for path in folders[:10]) or 'no participant'}."
            )
        folders = [path for path in folders if path.name in wanted]
    return [path for folder in folders for path in sorted(folder.rglob(f"*{pattern}"))]


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"
