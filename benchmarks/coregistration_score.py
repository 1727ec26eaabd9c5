"""The score of PET on T1w: for real templates as they lie, and moved by known millimetres."""

from __future__ import annotations

import nibabel as nb
import numpy as np
from common import real_data
from nibabel.processing import resample_from_to
from scipy import ndimage

from relad_bids.core.coregistration import coregistration

SHIFTS_MM = (0, 4, 8, 12, 20)


def main() -> None:
    root = real_data()
    head = nb.load(root / "templates/MNI152NLin6Asym_2mm_T1w_head.nii.gz")
    mask = np.asarray(nb.load(root / "templates/MNI152NLin6Asym_2mm_brain_mask.nii.gz").dataobj)
    voxel_mm = head.header.get_zooms()[:3]
    print(
        "image  shift_mm  nmi  margin  dice  middle_mm  flags   (T1w: MNI152NLin6Asym head, 2 mm)"
    )
    for name in (
        "rPOP_FBP_pos_space-MNI_suvr",
        "rPOP_FBP_neg_space-MNI_suvr",
        "SPM_PET_space-MNI_pet",
    ):
        pet = nb.load(root / f"pet/{name}.nii.gz")
        lying = resample_from_to(pet, head, order=1, cval=np.nan).get_fdata()
        for shift in SHIFTS_MM:
            moved = ndimage.shift(lying, (0, shift / voxel_mm[1], 0), order=1, cval=np.nan)
            score = coregistration(moved, head.get_fdata(), mask > 0, voxel_mm=voxel_mm)
            flags = ";".join(score.flags()) or "ok"
            numbers = f"{score.nmi:.3f}  {score.margin:+.3f}  {score.dice:.3f}"
            print(f"{name[:12]}  {shift:4d}  {numbers}  {score.shift_mm:4.1f}  {flags}")


if __name__ == "__main__":
    main()
