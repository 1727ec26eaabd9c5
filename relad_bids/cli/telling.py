"""What is said on stderr, where names and texts of the dataset are printed."""

from __future__ import annotations

import logging
import sys

from relad_bids.untrusted import printable


class Printable(logging.Formatter):
    """A record of which no character commands the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def tell(*lines: object) -> None:
    """Print lines on stderr, those after the first indented."""
    print(printable("\n  ".join(map(str, lines))), file=sys.stderr)
