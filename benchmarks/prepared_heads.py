"""Heads for the quality figures: real scans and phantoms, as they are and damaged on purpose.

What was prepared is kept in a folder, so that figures can be printed again without the minutes
that a registration takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # before ants is imported

import ants
import nibabel as nb
import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.data.template import SPACE, template_file
from relad_bids.mri.bias import correct_bias
from relad_bids.mri.brain import brain_mask
from relad_bids.mri.linear import apply_affine, read_affine
from relad_bids.mri.registration import register_rigid, register_to_template
from relad_bids.mri.resample import grid_of, like, resample
from relad_bids.mri.tissue import segment_tissue

CEREBELLUM = (7, 8, 46, 47)
PHANTOM_SEED = 20260221


@dataclass(frozen=True)
class Case:
    """A head, or a damaged one."""

    name: str
    t1w: Path
    flair: Path | None
    damage: str = ""
    """Empty for a head as it is."""

    @property
    def key(self) -> str:
        return f"{self.name}-{self.damage}" if self.damage else self.name


def real_heads(data: Path) -> list[Case]:
    """All sessions of the folder of real scans."""
    found = []
    for t1w in sorted((data / "bids-mri").rglob("*_T1w.nii.gz")):
        flair = t1w.with_name(t1w.name.replace("_T1w", "_FLAIR"))
        name = t1w.name.removeprefix("sub-").removesuffix("_T1w.nii.gz").replace("_ses-", "-")
        found.append(Case(name, t1w, flair if flair.exists() else None))
    return found


def unseen_heads(data: Path) -> list[Case]:
    """Averages of many heads, by which no usual range was set."""
    return [
        Case(file.name.split("_")[0], file, None)
        for file in sorted((data / "templates").glob("*_T1w_head*.nii.gz"))
    ]


def phantoms(folder: Path, *, n: int = 4) -> list[Case]:
    """Simulated heads at 2 mm, T1w and FLAIR; those of ``relad phantom`` without PET."""
    from relad_bids.phantom.dataset import write_dataset

    root = folder / "phantoms"
    if not root.exists():
        write_dataset(root, n=n, preset="strong", seed=PHANTOM_SEED, pet_participants=0)
    found = sorted(root.glob("sub-*/**/*_T1w.nii.gz"))
    return [
        Case(f"phantom{number}", t1w, t1w.with_name(t1w.name.replace("_T1w.", "_FLAIR.")))
        for number, t1w in enumerate(found, start=1)
    ]


Damage = Callable[[ANTsImage, Path], ANTsImage]
"""T1w as it is, and the folder in which it was prepared -> damaged T1w."""


def _cut(image: ANTsImage, along: NDArray, share: float, *, keep_above: bool, pad: bool):
    """Lose a share of some points, at one end of the axis that runs upwards."""
    grid = grid_of(image)
    axis = int(np.argmax(np.abs(grid.affine[2, :3])))
    upwards = grid.affine[2, axis] > 0
    index = apply_affine(np.linalg.inv(grid.affine), along)[:, axis]
    lost_low = keep_above == upwards
    at = round(float(np.quantile(index, share if lost_low else 1 - share)))
    window = [slice(None)] * 3
    window[axis] = slice(at, None) if lost_low else slice(0, at)
    if pad:
        values = np.zeros(image.shape, np.float32)
        values[tuple(window)] = image.numpy()[tuple(window)]
        return like(image, values)
    low = [0 if w.start is None else w.start for w in window]
    high = [n if w.stop is None else w.stop for w, n in zip(window, image.shape, strict=True)]
    return ants.crop_indices(image, low, high)


def template_points(labels: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """Voxel centres of the template's brain, or of packaged labels, RAS+ mm."""
    file = template_file("T1w") if labels is None else template_file("aparcaseg")
    image = nb.load(file)
    data = np.asanyarray(image.dataobj)
    inside = data > 0 if labels is None else np.isin(np.rint(data), labels)
    return apply_affine(image.affine, np.argwhere(inside)[::7])


def _lost(labels: tuple[int, ...] | None, share: float, *, above: bool, pad: bool) -> Damage:
    def cut(image: ANTsImage, folder: Path) -> ANTsImage:
        affine = read_affine(folder / "t1w_to_template_affine.mat")
        points = apply_affine(affine, template_points(labels))
        return _cut(image, points, share, keep_above=above, pad=pad)

    return cut


def _noise(image: ANTsImage, folder: Path) -> ANTsImage:
    wm = ants.image_read(str(folder / "wm.nii.gz")).numpy() > 0.9
    values = image.numpy()
    sigma = 0.2 * float(np.median(values[wm]))
    rng = np.random.default_rng(5)
    real, imaginary = rng.normal(0, sigma, (2, *image.shape))
    return like(image, np.hypot(values + real, imaginary))


def _blur(image: ANTsImage, _: Path) -> ANTsImage:
    sigma = 6.0 / 2.355 / np.asarray(image.spacing)
    return like(image, ndimage.gaussian_filter(image.numpy(), sigma))


def _motion(image: ANTsImage, _: Path) -> ANTsImage:
    """A head that nodded by 3 degrees and 3 mm in the middle of the scan: half of k-space."""
    turned = ndimage.rotate(image.numpy(), 3.0, axes=(1, 2), reshape=False, order=1)
    turned = ndimage.shift(turned, (0, 3.0 / image.spacing[1], 0), order=1)
    before, after = np.fft.fftn(image.numpy()), np.fft.fftn(turned)
    lines = np.fft.fftfreq(image.shape[1])
    late = np.abs(np.fft.fftshift(np.arange(image.shape[1]) / image.shape[1] - 0.5)) > 0.06
    late &= lines > 0
    mixed = np.where(late[None, :, None], after, before)
    return like(image, np.abs(np.fft.ifftn(mixed)).astype(np.float32))


def _mirrored(image: ANTsImage, _: Path) -> ANTsImage:
    """Voxels in the other order along left-right, header as before."""
    axis = int(np.argmax(np.abs(grid_of(image).affine[0, :3])))
    return like(image, np.flip(image.numpy(), axis))


DAMAGES: dict[str, Damage] = {
    "lower half of the cerebellum cut": _lost(CEREBELLUM, 0.5, above=True, pad=False),
    "lower half of the cerebellum zeroed": _lost(CEREBELLUM, 0.5, above=True, pad=True),
    "lower tenth of the cerebellum cut": _lost(CEREBELLUM, 0.1, above=True, pad=False),
    "vertex cut (15 % of the brain)": _lost(None, 0.15, above=False, pad=False),
    "noise (20 % of white matter)": _noise,
    "blur (6 mm)": _blur,
    "motion (half of k-space)": _motion,
    "left and right swapped": _mirrored,
}


def damaged(case: Case, folder: Path) -> Iterator[Case]:
    """The same head with each damage, written beside what was prepared of it."""
    for name, damage in DAMAGES.items():
        label = "".join(c for c in name if c.isalnum())
        path = folder / f"{case.key}-{label}_T1w.nii.gz"
        if not path.exists():
            made = damage(ants.image_read(str(case.t1w)), folder / case.key)
            ants.image_write(made, str(path))
        yield replace(case, t1w=path, damage=name)


def prepare(case: Case, folder: Path, *, flair_too: bool = True, space: str = SPACE) -> Path:
    """Prepare a head as the participant level does; return its folder."""
    out = folder / "".join(c for c in case.key if c.isalnum() or c == "-")
    if space != SPACE:
        out = out.with_name(f"{out.name}_{space}")
    if (out / "done").exists():
        return out
    out.mkdir(parents=True, exist_ok=True)
    t1w = correct_bias(ants.image_read(str(case.t1w)))
    found = brain_mask(t1w, out_dir=out)
    maps = segment_tissue(t1w, found.mask)
    register_to_template(t1w, found.mask, initial=found.affine_file, out_dir=out, space=space)
    images = {"t1w": t1w, "mask": found.mask, "csf": maps.csf, "gm": maps.gm, "wm": maps.wm}
    if case.flair is not None and flair_too:
        images |= lay_flair(case.flair, t1w, found.mask, out)
    for name, image in images.items():
        ants.image_write(image, str(out / f"{name}.nii.gz"))
    (out / "done").write_text(f"{found.volume_ml:.1f}\n{';'.join(found.flags)}\n")
    return out


def lay_flair(path: Path, t1w: ANTsImage, mask: ANTsImage, out: Path) -> dict[str, ANTsImage]:
    """Bring a FLAIR onto a T1w; its cost stands in ``flair_cost``."""
    flair = correct_bias(ants.image_read(str(path)))
    fit = register_rigid(flair, t1w, fixed_mask=mask, out_dir=out)
    (out / "flair_cost").write_text(f"{fit.cost:.6f}")
    return {"flair": flair, "flair_t1w": resample(flair, t1w, [fit.transform_file])}
