"""How much memory the steps of a session take, from the number of voxels of its images.

The builders state what each step takes for a head of 1 mm; a larger image takes more in
proportion. Measured with ``benchmarks/step_memory.py``: the peak of the hungriest step that
holds the image (tissue segmentation) is 0.26 GB of imports and 77 bytes for each voxel.
"""

from __future__ import annotations

HEAD_VOXELS = 182 * 218 * 182
"""Voxels of a head of 1 mm (the field of view of MNI152), for which the builders' figures hold."""

STEP_GB = 0.26
"""A process with what that step imports."""

RUN_GB = 1.3
"""The process of the whole program: ``benchmarks/one_subject.py`` saw 1.36 GB at its peak with a
head of 2 mm, of whose voxels 0.07 GB are due to this step."""

BYTES_PER_VOXEL = 77


def memory_factor(n_voxels: int) -> float:
    """Times that a step takes what it takes for a head of 1 mm; 1 at least.

    Parameters
    ----------
    n_voxels
        Of the largest image of the session that is held at once (one frame of a PET).
    """
    return max(1.0, _peak_gb(n_voxels) / _peak_gb(HEAD_VOXELS))


def least_gb(n_voxels: int) -> float:
    """Memory below which a run with such an image cannot end."""
    return RUN_GB + _image_gb(n_voxels)


def _image_gb(n_voxels: int) -> float:
    return BYTES_PER_VOXEL * n_voxels / 2**30


def _peak_gb(n_voxels: int) -> float:
    return STEP_GB + _image_gb(n_voxels)
