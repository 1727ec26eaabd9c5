"""Take the clock out of HDF5 files, so that equal transforms are equal bytes.

The HDF5 library writes four times into the header of every object, and ITK offers no switch
against it. Layout: HDF5 File Format Specification 3.0, IV.A.1.b (object header version 2);
its checksum is Jenkins' lookup3.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

_HEADER = re.compile(rb"OHDR\x02", re.DOTALL)
_HAS_TIMES, _HAS_PHASES, _SIZE_WIDTH = 0x20, 0x10, 0x03
_TIMES_BYTES = 16
_WORD = 0xFFFFFFFF

_MIX = ((4, 0), (6, 1), (8, 2), (16, 0), (19, 1), (4, 2))
"""Rotation, and which of a, b, c comes first, of each step of lookup3's ``mix``."""

_FINAL = ((14, 2, 1), (11, 0, 2), (25, 1, 0), (16, 2, 1), (4, 0, 2), (14, 1, 0), (24, 2, 1))
"""Rotation, changed and read register of each step of lookup3's ``final``."""


def clear_times(path: Path) -> None:
    """Set the times in all object headers of an HDF5 file to 0, in place.

    A header is touched only where its checksum holds, so voxel data that happen to spell a
    header's signature stay as they are.
    """
    content = bytearray(path.read_bytes())
    for match in _HEADER.finditer(bytes(content)):
        _clear_header(content, match.start())
    path.write_bytes(content)


def _clear_header(content: bytearray, start: int) -> None:
    flags = content[start + 5]
    if not flags & _HAS_TIMES:
        return
    times = start + 6
    at = times + _TIMES_BYTES + (4 if flags & _HAS_PHASES else 0)
    width = 1 << (flags & _SIZE_WIDTH)
    end = at + width + int.from_bytes(content[at : at + width], "little")
    if content[end : end + 4] != struct.pack("<I", lookup3(bytes(content[start:end]))):
        return
    content[times : times + _TIMES_BYTES] = bytes(_TIMES_BYTES)
    content[end : end + 4] = struct.pack("<I", lookup3(bytes(content[start:end])))


def lookup3(data: bytes) -> int:
    """Return Jenkins' 32-bit hash of ``data`` (``hashlittle`` with initial value 0)."""
    registers = [(0xDEADBEEF + len(data)) & _WORD] * 3
    if not data:
        return registers[2]
    blocks = -(-len(data) // 12)
    words = struct.unpack(f"<{3 * blocks}I", data.ljust(12 * blocks, b"\0"))
    for block in range(blocks):
        registers = [
            (register + word) & _WORD
            for register, word in zip(registers, words[3 * block : 3 * block + 3], strict=True)
        ]
        (_final if block == blocks - 1 else _mix)(registers)
    return registers[2]


def _mix(registers: list[int]) -> None:
    for bits, first in _MIX:
        before, after = (first - 1) % 3, (first + 1) % 3
        registers[first] = (registers[first] - registers[before]) & _WORD
        registers[first] ^= _rotated(registers[before], bits)
        registers[before] = (registers[before] + registers[after]) & _WORD


def _final(registers: list[int]) -> None:
    for bits, changed, read in _FINAL:
        registers[changed] ^= registers[read]
        registers[changed] = (registers[changed] - _rotated(registers[read], bits)) & _WORD


def _rotated(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _WORD
