"""Inferior cerebellar grey matter without SUIT: how near the plane comes to the recipe with it."""

from __future__ import annotations

import nibabel as nb
import numpy as np
from common import real_data
from nibabel.processing import resample_from_to

from relad_bids.bids.label_images import read_label_image
from relad_bids.core.grid import Grid
from relad_bids.core.regions import CEREBELLAR_GM, inferior_cerebellum
from relad_bids.core.suit import suit_inferior_cerebellum
from relad_bids.data.template import template_file

SUIT = "atlases/SUIT-Anatom_space-MNI152NLin6Asym_res-1_dseg.nii.gz"


def main() -> None:
    labels, grid = read_label_image(template_file("aparcaseg"))
    lobules = _on(grid, *read_label_image(real_data() / SUIT))
    recipe = suit_inferior_cerebellum(lobules, labels, voxel_mm=grid.voxel_mm)
    plane = inferior_cerebellum(labels, grid)
    grey = np.isin(labels, CEREBELLAR_GM)
    ml = grid.voxel_volume_mm3 / 1000
    both = (recipe & plane).sum()
    print("packaged labels in MNI152NLin6Asym, 1 mm; SUIT recipe against the tilted plane")
    print(f"cerebellar grey matter {grey.sum() * ml:.1f} mL")
    print(f"recipe {recipe.sum() * ml:.1f} mL, plane {plane.sum() * ml:.1f} mL")
    print(f"Dice {2 * both / (recipe.sum() + plane.sum()):.3f}")
    print(f"share of the plane's voxels inside the recipe {both / plane.sum():.3f}")


def _on(grid: Grid, data: np.ndarray, own: Grid) -> np.ndarray:
    image = nb.Nifti1Image(data.astype(np.int16), own.affine)
    moved = resample_from_to(image, (grid.shape, grid.affine), order=0)
    return np.asarray(moved.dataobj).astype(int)


if __name__ == "__main__":
    main()
