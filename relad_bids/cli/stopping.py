"""A signal that asks the program to stop becomes one exception, once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from relad_bids.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What schedulers, keyboards and closed terminals send."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`Stopped` where a signal comes; later ones are let pass, so that the end that
    it causes is not cut short. A signal that is ignored (``nohup``) stays so."""
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def stop(number: int, frame: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
