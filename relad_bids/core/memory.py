"""How much memory the steps of a session take, from the number of voxels of its images.

The builders state what each step takes for a head of 1 mm; a larger image takes more in
proportion. Measured with ``benchmarks/step_memory.py``: the peak of the hungriest step that
holds the image (tissue segmentation) is 0.25 GB of imports and 72 bytes for each voxel.
"""

from __future__ import annotations

HEAD_VOXELS = 182 * 218 * 182
"""Voxels of a head of 1 mm (the field of view of MNI152), for which the builders' figures hold."""

IMPORTS_GB = 0.25
BYTES_PER_VOXEL = 72


def memory_factor(n_voxels: int) -> float:
    """Times that a step takes what it takes for a head of 1 mm; 1 at least.

    Parameters
    ----------
    n_voxels
        Of the largest image of the session that is held at once (one frame of a PET).
    """
    return max(1.0, _peak_gb(n_voxels) / _peak_gb(HEAD_VOXELS))


def _peak_gb(n_voxels: int) -> float:
    return IMPORTS_GB + BYTES_PER_VOXEL * n_voxels / 2**30
