"""What a PET sidecar says, read as the type that is needed or refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relad_bids.errors import DataError

_ABSENT = frozenset({"", "n/a"})
"""BIDS allows ``n/a`` where a value is not known; converters also leave empty text."""


@dataclass(frozen=True)
class Fields:
    """The fields of one sidecar; what is absent, ``null`` or ``n/a`` is None."""

    values: Mapping[str, object]
    name: str = "the PET sidecar"
    """How messages call it; best its path."""

    def number(self, key: str, needed: str) -> float | None:
        """Return a finite number; ``needed`` says in the message what it stands for."""
        value = self._given(key)
        if value is None:
            return None
        if not _is_number(value):
            raise self.error(key, value, f"a number: {needed}")
        return float(value)  # type: ignore[arg-type]

    def numbers(self, key: str, needed: str) -> NDArray[np.float64] | None:
        """Return a list of finite numbers, shape (T,); a bare number is a list of one."""
        value = self._given(key)
        if value is None:
            return None
        values = value if isinstance(value, list | tuple) else [value]
        for position, one in enumerate(values):
            if not _is_number(one):
                raise self.error(f"{key}[{position}]", one, f"a number: {needed}")
        return np.array(values, dtype=np.float64)

    def truth(self, key: str) -> bool | None:
        value = self._given(key)
        if value is None or isinstance(value, bool):
            return value
        raise self.error(key, value, "true or false, without quotation marks")

    def text(self, key: str) -> str | None:
        value = self._given(key)
        if value is None or isinstance(value, str):
            return value
        raise self.error(key, value, "text")

    def error(self, key: str, found: object, needed: str) -> DataError:
        return DataError(
            f"{self.name}: {key} is {found!r}, needed is {needed}. Correct the field."
        )

    def _given(self, key: str) -> object:
        value = self.values.get(key)
        is_absent = isinstance(value, str) and value.strip().lower() in _ABSENT
        return None if is_absent else value


def _is_number(value: object) -> bool:
    """``True`` is an int to Python, and JSON as Python reads it has ``NaN``: neither counts."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False
