"""A folder with stand-ins for a scheduler, Apptainer and relad-bids."""

from __future__ import annotations

import os
from pathlib import Path

APP = """#!/bin/sh
for word; do printf '%s\\n' "$word"; done > "$STATE/app"
case "$*" in *--list-missing*) cat "$STATE/todo"; echo "relad-bids: so many to do" >&2;; esac
"""
"""Writes down its words, and names whoever stands in `todo`."""


def submitter(name: str, told: str) -> str:
    """A program that writes down the words of its n-th call and tells ``told`` (of shell)."""
    return f"""#!/bin/sh
n=$(cat "$STATE/n" 2>/dev/null || echo 0)
n=$((n + 1)); echo $n > "$STATE/n"
for word; do printf '%s\\n' "$word"; done > "$STATE/{name}-$n"
echo "{told}"
"""


def set_up(folder: Path, *, submit: str, told: str, queue: str) -> tuple[Path, dict[str, str]]:
    """The folder, and the environment in which its programs are found."""
    programs = folder / "bin"
    programs.mkdir()
    scripts = {
        submit: submitter(submit, told),
        queue: '#!/bin/sh\ncat "$STATE/queue"\n',
        "app": APP,
        "apptainer": APP,
    }
    for name, text in scripts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in ("todo", "queue"):
        (folder / name).write_text("")
    (folder / "my data").mkdir()
    return folder, {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "STATE": str(folder),
        "RELAD_BIDS": str(programs / "app"),
    }
