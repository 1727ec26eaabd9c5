"""Datasets of one participant in which one file is broken in a way that must be told.

Each recipe takes a file and a source of chance; what it leaves is never usable.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nb
import numpy as np

Recipe = Callable[[Path, random.Random], None]

ANAT = "sub-01/anat/sub-01_T1w.nii.gz"
FLAIR = "sub-01/anat/sub-01_FLAIR.nii.gz"
PET = "sub-01/pet/sub-01_pet.nii.gz"
SIDECAR = "sub-01/pet/sub-01_pet.json"
DESCRIPTION = "dataset_description.json"

_NEEDED = ("TracerName", "TracerRadionuclide", "Units", "FrameTimesStart", "FrameDuration")


def write_good(root: Path) -> None:
    """Write the dataset that everything starts from; nothing is wrong with it."""
    chance = np.random.default_rng(5)
    for name, shape in ((ANAT, (20, 24, 22)), (FLAIR, (20, 24, 22)), (PET, (20, 24, 22, 4))):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nb.Nifti1Image(chance.uniform(1, 100, shape).astype("f4"), np.diag([8.0, 8, 8, 1]))
        image.set_sform(image.affine, 1)
        image.set_qform(image.affine, 1)
        image.to_filename(path)
    (root / DESCRIPTION).write_text(json.dumps({"Name": "toy", "BIDSVersion": "1.10.0"}))
    (root / SIDECAR).write_text(
        json.dumps(
            {
                "TracerName": "PiB", "TracerRadionuclide": "C11", "Units": "Bq/mL",
                "TimeZero": "10:00:00", "ScanStart": 3000, "InjectionStart": 0,
                "FrameTimesStart": [3000, 3300, 3600, 3900],
                "FrameDuration": [300, 300, 300, 300], "ImageDecayCorrected": True,
                "ImageDecayCorrectionTime": 0, "InjectedRadioactivity": 300,
                "InjectedRadioactivityUnits": "MBq", "ReconMethodName": "OSEM",
                "AttenuationCorrection": "CT",
            }
        )
    )  # fmt: skip


# Any file ------------------------------------------------------------------------------------


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path, chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def dangling(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(f"../../.git/annex/objects/{chance.randbytes(8).hex()}")


def circle(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def noise(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(chance.randrange(1, 5000)))


def large(path: Path, chance: random.Random) -> None:
    """1 GB of nothing; a file with a hole takes no room."""
    path.write_bytes(b"")
    os.truncate(path, 10**9)


# Images --------------------------------------------------------------------------------------


def cut(path: Path, chance: random.Random) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: chance.randrange(1, len(whole) * 9 // 10)])


def packed_noise(path: Path, chance: random.Random) -> None:
    path.write_bytes(gzip.compress(chance.randbytes(chance.randrange(1, 50_000))))


def bomb(path: Path, chance: random.Random) -> None:
    """200 MB behind 200 kB, without a header."""
    packer = zlib.compressobj(9, wbits=31)
    blocks = [packer.compress(bytes(10**6)) for _ in range(200)]
    path.write_bytes(b"".join([*blocks, packer.flush()]))


def huge(path: Path, chance: random.Random) -> None:
    """A header of 10^9 to 10^13 voxels, and a trailer that agrees with it."""
    shape = [chance.randrange(2000, 32_000) for _ in range(3)]
    _with_header(path, 40, struct.pack("<4h", 3, *shape), fits=np.prod(shape, dtype=object) * 4)


def flat(path: Path, chance: random.Random) -> None:
    _with_header(path, 40, struct.pack("<4h", 3, chance.randrange(-5, 10), 24, 22))


def no_dimension(path: Path, chance: random.Random) -> None:
    _with_header(path, 40, struct.pack("<h", chance.choice([0, 1, 2, 8, 99, -1])))


def unknown_type(path: Path, chance: random.Random) -> None:
    _with_header(path, 70, struct.pack("<h", chance.choice([0, 1, 3, 32, 128, 1792, 9999, -7])))


def no_affine(path: Path, chance: random.Random) -> None:
    _with_header(path, 252, struct.pack("<2h", 0, 0))


def bad_affine(path: Path, chance: random.Random) -> None:
    value = chance.choice([float("nan"), float("inf"), -float("inf"), 1e30, 0.0])
    _with_header(path, 280, struct.pack("<4f", *[value] * 4))


def bad_zooms(path: Path, chance: random.Random) -> None:
    value = chance.choice([float("nan"), float("inf"), 0.0, -3.0, 1e-6, 1e6])
    _with_header(path, 76, struct.pack("<4f", 1.0, *[value] * 3))


def bad_offset(path: Path, chance: random.Random) -> None:
    value = chance.choice([float("inf"), 1e9, 1e20, -352.0, 1e37])
    _with_header(path, 108, struct.pack("<f", value))


def mirrored(path: Path, chance: random.Random) -> None:
    """The sform says left where the qform says right."""
    _with_header(path, 280, struct.pack("<4f", -8.0, 0, 0, 0))


def no_magic(path: Path, chance: random.Random) -> None:
    _with_header(path, 344, chance.choice([b"ni1\0", b"abcd", b"\0\0\0\0"]))


def _with_header(path: Path, at: int, what: bytes, *, fits: int | None = None) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[at : at + len(what)] = what
    packed = bytearray(gzip.compress(bytes(content), 1))
    if fits is not None:
        packed[-4:] = struct.pack("<I", (fits + 352) % 2**32)
    path.write_bytes(packed)


# JSON ----------------------------------------------------------------------------------------


def cut_text(path: Path, chance: random.Random) -> None:
    text = path.read_bytes()
    path.write_bytes(text[: chance.randrange(1, len(text) - 1)])


def deep(path: Path, chance: random.Random) -> None:
    levels = chance.randrange(10_000, 1_000_000)
    path.write_text("[" * levels + "]" * levels if chance.random() < 0.5 else '{"a":' * levels)


def other_kind(path: Path, chance: random.Random) -> None:
    path.write_text(chance.choice(["[]", "3", "null", '"text"', "NaN", "[{}]"]))


def other_encoding(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_text().encode(chance.choice(["utf-16", "utf-32"])))


def lacking(path: Path, chance: random.Random) -> None:
    content = json.loads(path.read_text())
    names = [name for name in (*_NEEDED, "Name", "BIDSVersion") if name in content]
    # A tracer can be told from either of its two fields.
    for name in ("TracerName", "TracerRadionuclide") if "TracerName" in content else ():
        content.pop(name)
    content.pop(chance.choice(names), None)
    path.write_text(json.dumps(content))


def wrong_value(path: Path, chance: random.Random) -> None:
    """A field of frames or units that holds something of another kind."""
    content = json.loads(path.read_text())
    name = chance.choice(["FrameTimesStart", "FrameDuration"])
    content[name] = chance.choice(
        [None, {}, {"a": [1]}, [[1, 2], [3]], [None] * 4, ["a"] * 4, [float("nan")] * 4,
         [-1e300] * 4, [1], [10**400] * 4, "n/a", "<script>alert(1)</script>", "../../etc/passwd",
         True, float("inf")]
    )  # fmt: skip
    path.write_text(json.dumps(content))


_ANY = (empty, pipe, device, dangling, circle, noise)
_IMAGES = (
    large, cut, packed_noise, bomb, huge, flat, no_dimension, unknown_type, no_affine, bad_affine,
    bad_zooms, bad_offset, mirrored, no_magic,
)  # fmt: skip
_JSON = (folder, large, cut_text, deep, other_kind, other_encoding, lacking)

RECIPES: tuple[tuple[str, Recipe], ...] = (
    (ANAT, folder),  # of other images a folder counts as none, as if it were not there
    *((name, recipe) for name in (ANAT, FLAIR, PET) for recipe in (*_ANY, *_IMAGES)),
    *((DESCRIPTION, recipe) for recipe in (*_ANY, *_JSON)),
    *((SIDECAR, recipe) for recipe in (*_ANY, *_JSON, wrong_value, wrong_value, wrong_value)),
)
"""Which file, and how it is broken."""
