"""One scan, stored in other ways: what a preparation should not notice, and what it may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nb
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from nibabel.processing import resample_from_to
from scipy.spatial.transform import Rotation

Image = nb.Nifti1Image
Change = Callable[[Image], Image]


@dataclass(frozen=True)
class Variant:
    name: str
    kind: str
    """``place`` and ``storage`` hold the same voxels; ``field`` other air and neck; ``voxels``
    were interpolated, so that edges are no longer what they were."""
    change: Change

    @property
    def key(self) -> str:
        """Its name as a folder."""
        return "".join(c if c.isalnum() else "_" for c in self.name)


def placed(image: Image, affine: np.ndarray, data: np.ndarray | None = None) -> Image:
    values = np.asanyarray(image.dataobj) if data is None else data
    made = Image(values, affine)
    made.set_qform(affine, code=1)
    made.set_sform(affine, code=1)
    return made


def shifted(image: Image, *, mm: tuple[float, float, float]) -> Image:
    affine = image.affine.copy()
    affine[:3, 3] += mm
    return placed(image, affine)


def turned(image: Image, *, degrees: tuple[float, float, float]) -> Image:
    """The head turned in the scanner about its middle; the same voxels."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    middle = nb.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    return placed(image, turn @ image.affine)


def stored(image: Image, *, axes: str) -> Image:
    """Voxel axes in another order or direction; every voxel stays where it is."""
    change = ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(axes)))
    return placed(image, (made := image.as_reoriented(change)).affine, np.asanyarray(made.dataobj))


def scaled(image: Image, *, factor: float, dtype: str) -> Image:
    return placed(image, image.affine, (image.get_fdata() * factor).astype(dtype))


def sloped(image: Image) -> Image:
    """Whole numbers with a slope in the header, as Philips' converters write."""
    made = placed(image, image.affine, np.round(image.get_fdata() * 7).astype(np.int16))
    made.header.set_slope_inter(0.00231, 0)
    return made


def cropped(image: Image, *, below_mm: float) -> Image:
    """Without the lowest part (RAS storage)."""
    n = round(below_mm / image.header.get_zooms()[2])
    affine = image.affine.copy()
    affine[:3, 3] = nb.affines.apply_affine(image.affine, (0, 0, n))
    return placed(image, affine, np.asanyarray(image.dataobj)[:, :, n:])


def padded(image: Image, *, mm: float) -> Image:
    n = [round(mm / zoom) for zoom in image.header.get_zooms()]
    affine = image.affine.copy()
    affine[:3, 3] = nb.affines.apply_affine(image.affine, -np.array(n))
    return placed(image, affine, np.pad(np.asanyarray(image.dataobj), [(k, k) for k in n]))


def resampled(image: Image, *, voxel_mm: tuple[float, float, float]) -> Image:
    """On other voxels, averaged over each where they are larger."""
    zooms = np.array(image.header.get_zooms()[:3])
    extent = zooms * image.shape
    shape = np.ceil(extent / voxel_mm).astype(int)
    parts = np.maximum(1, np.round(np.array(voxel_mm) / zooms * 2)).astype(int)
    axes = image.affine[:3, :3] / zooms
    fine = np.eye(4)
    fine[:3, :3] = axes * (np.array(voxel_mm) / parts)
    corner = nb.affines.apply_affine(image.affine, [-0.5] * 3)
    fine[:3, 3] = corner + fine[:3, :3] @ np.full(3, 0.5)
    values = resample_from_to(image, (tuple(shape * parts), fine), order=1).get_fdata()
    blocks = values.reshape(shape[0], parts[0], shape[1], parts[1], shape[2], parts[2])
    affine = np.eye(4)
    affine[:3, :3] = axes * voxel_mm
    affine[:3, 3] = corner + affine[:3, :3] @ np.full(3, 0.5)
    return placed(image, affine, blocks.mean(axis=(1, 3, 5)).astype(np.float32))


VARIANTS = (
    Variant("shifted by 31 mm", "place", partial(shifted, mm=(31.0, 0.0, 0.0))),
    Variant("shifted by 31, -31, 31 mm", "place", partial(shifted, mm=(31.0, -31.0, 31.0))),
    Variant("shifted by 0, 40, -120 mm", "place", partial(shifted, mm=(0.0, 40.0, -120.0))),
    Variant("turned by 10 deg about z", "place", partial(turned, degrees=(0, 0, 10))),
    Variant("turned by 15 deg about x", "place", partial(turned, degrees=(15, 0, 0))),
    Variant("turned by 8, -7, 12 deg", "place", partial(turned, degrees=(8, -7, 12))),
    Variant("stored LPS", "storage", partial(stored, axes="LPS")),
    Variant("stored PSR", "storage", partial(stored, axes="PSR")),
    Variant("stored LIA", "storage", partial(stored, axes="LIA")),
    Variant("stored ASL", "storage", partial(stored, axes="ASL")),
    Variant("stored RPI", "storage", partial(stored, axes="RPI")),
    Variant("LIA and shifted by 31 mm", "storage",
            lambda image: shifted(stored(image, axes="LIA"), mm=(0.0, -31.0, 0.0))),
    Variant("float32, times 1000", "storage", partial(scaled, factor=1000.0, dtype="float32")),
    Variant("float32, times 0.001", "storage", partial(scaled, factor=0.001, dtype="float32")),
    Variant("int16 with a slope", "storage", sloped),
    Variant("lowest 30 mm cut off", "field", partial(cropped, below_mm=30.0)),
    Variant("30 mm of air around", "field", partial(padded, mm=30.0)),
    Variant("voxels of 1 mm", "voxels", partial(resampled, voxel_mm=(1.0, 1.0, 1.0))),
    Variant("voxels of 2 mm", "voxels", partial(resampled, voxel_mm=(2.0, 2.0, 2.0))),
    Variant("slices of 3 mm", "voxels", partial(resampled, voxel_mm=(1.6, 1.6, 3.0))),
)  # fmt: skip


def write_variants(t1w: Path, folder: Path) -> Iterator[tuple[Variant, Path]]:
    """Write each variant of a scan stored RAS and name its file."""
    image = Image.from_filename(t1w)
    folder.mkdir(parents=True, exist_ok=True)
    for variant in VARIANTS:
        path = folder / f"{variant.key}_T1w.nii.gz"
        if not path.exists():
            variant.change(image).to_filename(path)
        yield variant, path
