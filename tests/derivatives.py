"""Derivatives as the app writes them, by names spelt out here, with people to learn from."""

from __future__ import annotations

import json

import numpy as np
from toys import save_nifti

from relad_bids.core.grid import Grid

SPACE = "MNI152NLin2009cAsym"
MEASURED = {"ReferenceRegion": "cerebellum-whole"}
TRC = {"flortaucipir": "18FAV1451", "pib": "11CPIB", "pbr28": "11CPBR28"}

BRAIN = Grid(
    shape=(13, 14, 12),
    affine=np.array([[13.0, 0, 0, -78], [0, 14.0, 0, -108], [0, 0, 14.0, -70], [0, 0, 0, 1]]),
)
"""So coarse that a training step takes milliseconds, and around the brain of the template."""


class Derivatives:
    """Writes what the app writes of a session; images are empty unless they are given."""

    def __init__(self, root, grid, *, resolution):
        self.root, self.grid = root, grid
        self.resolution = resolution
        self.where = f"space-{SPACE}_res-{resolution}"

    def image(self, label, folder, rest, data=None, *, shape=None, affine=None):
        path = self.root.joinpath(*label.split("_"), folder, f"{label}_{rest}.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        data = np.zeros(shape or self.grid.shape, np.uint8) if data is None else data
        save_nifti(path, data, self.grid.affine if affine is None else affine)
        return path

    def mri(self, label, *, t1w=True, flair=True, mask=True):
        """Each is an array, or whether it is there."""
        wanted = {"desc-preproc_T1w": t1w, "desc-preproc_FLAIR": flair, "desc-brain_mask": mask}
        for rest, given in wanted.items():
            if given is not False:
                data = None if given is True else given
                self.image(label, "anat", f"{self.where}_{rest}", data)

    def pet(
        self, label, trc, data=None, *, desc="measured", sidecar=MEASURED, where=None, more="",
        **place,
    ):  # fmt: skip
        rest = f"trc-{trc}_{more}{where or self.where}_meas-SUVR_desc-{desc}_mimap"
        path = self.image(label, "pet", rest, data, **place)
        if sidecar is not None:
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
        return path


def brain_mask(index=0, grid=BRAIN):
    """An ellipsoid (I, J, K) bool, a little longer in every second person."""
    place = np.indices(grid.shape).astype(float)
    middle = (np.array(grid.shape) - 1) / 2
    half = middle - [0.5, 0.5 + index % 2, 0.5]
    away = (place - middle[:, None, None, None]) / half[:, None, None, None]
    return (away**2).sum(0) <= 1


def person(index, tracers, *, seed=1, grid=BRAIN):
    """T1w, FLAIR, mask and SUVr by tracer; uptake follows the T1w, region by region."""
    rng = np.random.default_rng([seed, index])
    mask = brain_mask(index, grid)
    region = np.repeat(np.repeat(rng.normal(0, 1, (4, 4, 3)), 4, 0), 4, 1).repeat(4, 2)
    level = region[tuple(slice(side) for side in grid.shape)]
    t1w, flair = (
        np.where(mask, 300 + 60 * level + rng.normal(0, 10, grid.shape), 900).astype(np.float32)
        for _ in range(2)
    )
    pet = {
        name: np.where(mask, 1.2 + 0.2 * level * (-1) ** place, 0).astype(np.float32)
        for place, name in enumerate(tracers)
    }
    return t1w, flair, mask.astype(np.uint8), pet


def write_people(root, labels, *, tracers=("flortaucipir", "pib"), lacks=None, seed=1):
    """Write sessions; ``lacks`` is label -> what it has not got (``FLAIR`` or a tracer)."""
    out = Derivatives(root, BRAIN, resolution="14")
    for index, label in enumerate(labels):
        missing = (lacks or {}).get(label, ())
        t1w, flair, mask, pet = person(index, tracers, seed=seed)
        out.mri(label, t1w=t1w, flair="FLAIR" not in missing and flair, mask=mask)
        for name in tracers:
            if name not in missing:
                out.pet(label, TRC[name], pet[name])
    return out
