"""Errors that a person running the program can mend, each with its exit code.

The codes are those of the BIDS execution specification (draft): 16 input is not valid BIDS,
17 unsupported level, 18 the filters select nothing, 19 conflicting arguments, and of sysexits:
64 usage, 65 data, 66 no input, 73 cannot create output, 74 input/output, 75 temporary.

A message has four parts: what was looked at, what was found, what is needed, what to do.
"""

from __future__ import annotations

import signal


class ReladError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class NotBIDSError(ReladError):
    """The input folder is not a BIDS dataset."""

    exit_code = 16


class NothingSelectedError(ReladError):
    """The labels or filters given match nothing in the dataset."""

    exit_code = 18


class ConflictError(ReladError):
    """Two arguments contradict each other."""

    exit_code = 19


class UsageError(ReladError):
    """An argument has a value that is not offered."""

    exit_code = 64


class ConfigError(UsageError):
    """A configuration file says something this version cannot honour."""


class DataError(ReladError):
    """A file was found but its content cannot be used."""

    exit_code = 65


class ImageError(DataError):
    """An image cannot be read, or holds something that no scanner makes."""


class GridMismatchError(DataError):
    """Two images that must share a voxel grid do not."""


class EmptyRegionError(DataError):
    """A region holds too few usable voxels to be averaged."""


class CheckpointError(DataError):
    """A checkpoint does not hold what its card says."""


class InputError(ReladError):
    """The dataset lacks what the analysis needs."""

    exit_code = 66


class MemoryShortError(ReladError):
    """An image is larger than the memory there is."""

    exit_code = 75


class OutputError(ReladError):
    """The output folder cannot be written."""

    exit_code = 73


class WorkerKilledError(ReladError):
    """The process of a step was ended from outside, mostly because memory ran out."""

    exit_code = 75


class DeviceMemoryError(ReladError):
    """The memory of a GPU is too small for the least that can be asked."""

    exit_code = 75


class Stopped(BaseException):
    """The program was asked to stop by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        """As shells count it: 143 for SIGTERM."""
