"""The regions of the packaged template on the grid of a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import nibabel as nb
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from relad_bids.core.grid import Grid
from relad_bids.core.regions import VOI, cut_by_tissue, inferior_cerebellum
from relad_bids.data.template import SPACES, template_file
from relad_bids.errors import UsageError
from relad_bids.model.card import Card
from relad_bids.tables import label_names, tracers
from relad_bids.vois import COMPARED, quantified_vois, reference_mask, reference_of_tracer

GREY, WHITE = "grey-matter", "white-matter"


@dataclass(frozen=True, eq=False)
class Regions:
    """Parcellation and tissue of the template; arrays (I, J, K)."""

    grid: Grid
    labels: NDArray[np.int32]
    """FreeSurfer numbers that have a name, cut by the template's tissue."""
    numbers: tuple[int, ...]
    """Labels of the parcellation before it was cut."""
    inferior: NDArray[np.bool_]
    """Geometric inferior cerebellum."""
    grey: NDArray[np.bool_]
    white: NDArray[np.bool_]

    def vois(self, tracer: str) -> tuple[VOI, ...]:
        """The bilateral VOIs that are compared for a tracer, in the order of the VOI tables."""
        families = COMPARED[tracers()[tracer].target]
        return tuple(
            voi
            for voi in self._bilateral
            if voi.family in families and set(voi.labels) & self._kept
        )

    def primary(self, tracer: str) -> str:
        """The VOI that was declared before looking: the tracer's first that labels give."""
        drawn = {voi.name for voi in self.vois(tracer)}
        return next(name for name in tracers()[tracer].primary_vois if name in drawn)

    def reference(self, tracer: str) -> NDArray[np.bool_]:
        """The tracer's default reference region (I, J, K) bool."""
        return reference_mask(
            reference_of_tracer(tracer, {}), self.labels, self.inferior, voxel_mm=self.voxel_mm
        )

    @property
    def voxel_mm(self) -> tuple[float, ...]:
        return self.grid.voxel_mm

    @cached_property
    def _bilateral(self) -> tuple[VOI, ...]:
        return tuple(voi for voi in quantified_vois(self.numbers) if voi.hemi == "B")

    @cached_property
    def _kept(self) -> set[int]:
        return {int(number) for number in np.unique(self.labels)}


def regions_of(card: Card) -> Regions:
    """Draw the regions on the grid of a checkpoint.

    The packaged parcellation is taken as it lies. That is right in :data:`ATLAS_SPACE`, and for
    phantoms, which are painted by it; in another space its regions are displaced by a millimetre
    or two, in the estimate and in what it is held to alike.

    Raises
    ------
    UsageError
        The checkpoint works in a space of which no template is packaged.
    """
    if card.space not in SPACES:
        raise UsageError(
            f"the checkpoint {card.name} works in {card.space}; the packaged parcellation, by "
            f"which regions are compared, is known to lie near {' and '.join(SPACES)}. Give "
            "checkpoints of these spaces."
        )
    return _regions(card.shape, np.asarray(card.affine, dtype=float).tobytes())


@lru_cache(maxsize=2)
def _regions(shape: tuple[int, int, int], affine: bytes) -> Regions:
    grid = Grid(shape, np.frombuffer(affine).reshape(4, 4).copy())
    labels = _on_grid("aparcaseg", grid, order=0).astype(np.int32)
    grey, white = (_on_grid(name, grid, order=1) / 255 for name in ("GM", "WM"))
    tissue_of = {number: label.tissue for number, label in label_names().items()}
    cut = cut_by_tissue(labels, tissue_of, csf=1 - grey - white, gm=grey, wm=white)
    named = np.isin(labels, list(tissue_of))
    numbers = tuple(int(number) for number in np.unique(labels[named]))
    inferior = inferior_cerebellum(labels, grid)
    return Regions(grid, np.where(named, cut, 0), numbers, inferior, grey > 0.5, white > 0.5)


def _on_grid(name: str, grid: Grid, *, order: int) -> NDArray[np.float32]:
    """Sample a packaged image at the voxel centres of a grid; 0 outside it."""
    image = nb.Nifti1Image.from_filename(template_file(name))
    to_voxel = np.linalg.inv(image.affine) @ grid.affine
    index = (
        np.tensordot(to_voxel[:3, :3], np.indices(grid.shape), 1)
        + to_voxel[:3, 3, None, None, None]
    )
    data = np.asarray(image.dataobj, dtype=np.float32)
    return np.asarray(map_coordinates(data, index, order=order, mode="constant"))
