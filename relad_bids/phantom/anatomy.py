"""One subject's brain in template space: what each voxel is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from relad_bids.core.grid import Grid
from relad_bids.phantom.fields import sample, smooth_noise
from relad_bids.phantom.latent import Subject
from relad_bids.phantom.regions import WMH
from relad_bids.phantom.template import TemplateHead, template_head

N_LABELS = 2036
"""One more than the largest FreeSurfer number of the parcellation."""
_EXPOSURE_FLOOR = 0.03
"""Deep nuclei have no CSF beside them and shrink all the same."""
_ROUNDS = 3
_WALL_MM = 2.0
"""Width of the ramp from ventricle to tissue."""
_WMH_DECAY_MM = 6.0
_WMH_CHANCE = 0.25
_WMH_PATCH_MM = 4.0
_WMH_RAMP = 0.15


@dataclass(frozen=True, eq=False)
class Tissue:
    """What each voxel is made of; all arrays (I, J, K) on ``grid``.

    ``gm + wm + csf`` is 1 inside ``mask`` and 0 outside; ``wmh`` is the part of ``wm`` that
    is lesion.
    """

    grid: Grid
    mask: NDArray[np.bool_]
    depth_mm: NDArray[np.float32]
    """Distance to the brain's surface, negative inside."""
    gm: NDArray[np.float32]
    wm: NDArray[np.float32]
    csf: NDArray[np.float32]
    wmh: NDArray[np.float32]
    gm_label: NDArray[np.uint16]
    wm_label: NDArray[np.uint16]
    csf_label: NDArray[np.uint16]
    """Which label each tissue of the voxel belongs to; also outside the brain."""

    def labels(self) -> NDArray[np.uint16]:
        """Return the label of each voxel's largest tissue; 77 where lesion prevails."""
        healthy = self.wm - self.wmh
        shares = np.stack([self.gm, healthy, self.csf, self.wmh])
        choice = np.stack(
            [self.gm_label, self.wm_label, self.csf_label, np.full_like(self.gm_label, WMH)]
        )
        best = shares.argmax(axis=0)[None]
        return np.where(self.mask, np.take_along_axis(choice, best, axis=0)[0], 0)


def subject_tissue(
    subject: Subject, grid: Grid, *, generator: np.random.Generator | None = None
) -> Tissue:
    """Return the subject's tissue on ``grid`` in template space.

    Atrophy turns outer grey matter into CSF, the ventricles grow by their distance map, and
    lesions grow from the ventricles outwards until they reach the subject's volume.

    Parameters
    ----------
    generator
        Decides where lesions lie; by default the subject's own. The same generator on
        another voxel size gives another pattern of the same volume.
    """
    head = template_head(grid)
    generator = generator or subject.generator("lesions")
    gm = shrink_cortex(head, subject)
    csf = head.csf + (head.gm - gm)
    gm, wm, csf = grow_ventricles(head, gm, csf, by_mm=subject.ventricle_mm)
    wmh = _draw_lesions(head, wm, subject, generator)
    return Tissue(
        grid=grid,
        mask=head.mask,
        depth_mm=head.depth_mm,
        gm=_volume(gm, head.mask),
        wm=_volume(wm, head.mask),
        csf=_volume(csf, head.mask),
        wmh=_volume(wmh, head.mask),
        gm_label=head.gm_label,
        wm_label=head.wm_label,
        csf_label=head.csf_label,
    )


def shrink_cortex(head: TemplateHead, subject: Subject) -> NDArray[np.float32]:
    """Return the grey matter share (N,) after each label lost its share of ``atrophy``.

    What is taken is proportional to the CSF nearby, so cortex thins from outside; voxels
    that are used up leave their part to the others of the label in the next round.
    """
    lost = label_table(subject.atrophy)
    label = head.gm_label[head.mask]
    before = np.bincount(label, head.gm, minlength=N_LABELS)
    gm = head.gm
    weight = head.exposure + np.float32(_EXPOSURE_FLOOR)
    for _ in range(_ROUNDS):
        still = np.bincount(label, gm, minlength=N_LABELS) - (1 - lost) * before
        room = np.bincount(label, gm * weight, minlength=N_LABELS)
        rate = np.divide(still, room, out=np.zeros(N_LABELS), where=room > 0)
        gm = gm * np.clip(1 - weight * rate.astype(np.float32)[label], 0, 1)
    return np.asarray(gm, dtype=np.float32)


def grow_ventricles(
    head: TemplateHead,
    gm: NDArray[np.float32],
    csf: NDArray[np.float32],
    *,
    by_mm: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return GM, WM and CSF shares (N,) after the ventricle wall moved outwards."""
    wall = np.clip((by_mm - head.ventricle_mm) / _WALL_MM, 0, 1).astype(np.float32)
    kept = 1 - wall
    return gm * kept, head.wm * kept, csf * kept + wall


def label_table(values: Mapping[int, float], *, default: float = 0.0) -> NDArray[np.float64]:
    """Return an array that answers ``values[label]`` by index, for all labels at once."""
    table = np.full(N_LABELS, default)
    for label, value in values.items():
        table[label] = value
    return table


def _draw_lesions(
    head: TemplateHead,
    wm: NDArray[np.float32],
    subject: Subject,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Return the lesion share (N,): the highest scores until the volume is reached."""
    noise = smooth_noise(head.grid, generator, sigma_mm=_WMH_PATCH_MM)[head.mask]
    distance = np.maximum(head.ventricle_mm - subject.ventricle_mm, 0)
    score = subject.wmh_periventricular * np.exp(-distance / _WMH_DECAY_MM)
    score = score + np.float32(_WMH_CHANCE) * noise
    cerebral = np.isin(head.wm_label[head.mask], (2, 41)) & (wm > 0.3)
    candidates = np.flatnonzero(cerebral)
    order = candidates[np.argsort(-score[candidates])]
    volume_ml = np.cumsum(wm[order], dtype=np.float64) * head.grid.voxel_volume_mm3 / 1000
    n = min(int(np.searchsorted(volume_ml, subject.wmh_ml)), order.size - 1)
    ramp = np.clip((score - score[order[n]]) / _WMH_RAMP + 0.5, 0, 1)
    return np.asarray(np.where(cerebral, wm * ramp, 0), dtype=np.float32)


def _volume(values: NDArray, mask: NDArray[np.bool_]) -> NDArray:
    volume = np.zeros(mask.shape, dtype=values.dtype)
    volume[mask] = values
    return volume


def warp_tissue(tissue: Tissue, index: NDArray[np.floating], grid: Grid) -> Tissue:
    """Pull a tissue onto another grid; shares are linear and sum to 1 again, labels nearest.

    Parameters
    ----------
    index : (3, I, J, K) float
        For each voxel of ``grid``, where it lies in ``tissue`` (voxel index).
    """
    # Every voxel outside must come out as outside, also beyond the tissue's own grid.
    depth = map_coordinates(tissue.depth_mm, index, order=1, mode="nearest", output=np.float32)
    shares = [sample(part, index) for part in (tissue.gm, tissue.wm, tissue.csf, tissue.wmh)]
    total = np.asarray(shares[0] + shares[1] + shares[2])
    mask = np.asarray(total > 0.5)
    divisor = np.where(mask, total, np.float32(1))
    gm, wm, csf, wmh = (np.where(mask, share / divisor, np.float32(0)) for share in shares)
    nearest = np.rint(index).astype(np.int32)
    nearest = [np.clip(i, 0, n - 1) for i, n in zip(nearest, tissue.grid.shape, strict=True)]
    return Tissue(
        grid=grid,
        mask=mask,
        depth_mm=depth,
        gm=gm,
        wm=wm,
        csf=csf,
        wmh=wmh,
        gm_label=tissue.gm_label[tuple(nearest)],
        wm_label=tissue.wm_label[tuple(nearest)],
        csf_label=tissue.csf_label[tuple(nearest)],
    )
