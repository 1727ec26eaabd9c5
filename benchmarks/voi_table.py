"""The table of VOIs of a 1 mm image, beside nilearn's NiftiLabelsMasker: CPU seconds.

One image, one parcellation of more than a hundred labels, in one process and one thread. Both
begin with arrays in memory. nilearn gives one statistic a call and no percentiles, no coverage,
no sets of labels; the package gives all of them for each label and each set of labels.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings
from collections.abc import Callable
from typing import Any

import nibabel as nb
import numpy as np
from nilearn.maskers import NiftiLabelsMasker

from relad_bids.core.suvr import reference_of, voi_table
from relad_bids.data.template import template_file
from relad_bids.vois import quantified_vois

ROUNDS = 3
STRATEGIES = ("mean", "median", "standard_deviation")


def seconds(task: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the quickest of some rounds, and what it gave."""
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        made = task()
        taken.append(time.process_time() - start)
    return min(taken), made


def head() -> tuple[nb.Nifti1Image, nb.Nifti1Image]:
    """The packaged parcellation at 1 mm, and an image of known means with noise."""
    labels = nb.as_closest_canonical(nb.load(template_file("aparcaseg")))
    numbers = np.rint(np.asarray(labels.dataobj)).astype(np.int32)
    chance = np.random.default_rng(1)
    activity = chance.uniform(0.5, 2.5, 2100)[numbers % 2100] + chance.normal(
        0, 0.2, numbers.shape
    )
    as_image = nb.Nifti1Image(activity.astype(np.float32), labels.affine)
    return as_image, nb.Nifti1Image(numbers, labels.affine)


def ours(activity: np.ndarray, labels: np.ndarray) -> Any:
    numbers = np.unique(labels)
    region = reference_of(activity, np.isin(labels, (8, 47)), voxel_volume_mm3=1.0)
    return voi_table(activity, labels, quantified_vois(numbers), region, voxel_volume_mm3=1.0)


def nilearns(activity: nb.Nifti1Image, labels: nb.Nifti1Image, strategy: str) -> np.ndarray:
    masker = NiftiLabelsMasker(labels, strategy=strategy, resampling_target=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(masker.fit_transform(activity)).ravel()


def main() -> None:
    activity, labels = head()
    image, numbers = activity.get_fdata(dtype=np.float32), np.asarray(labels.dataobj)
    present = np.unique(numbers[numbers > 0])
    print(f"{' x '.join(map(str, numbers.shape))} voxels of 1 mm, {present.size} labels")
    mine, table = seconds(lambda: ours(image, numbers))
    print(f"package: {mine:.2f} CPU-s for {len(table)} rows: mean, median, SD, 5th and 95th "
          "percentile, coverage, volume, ratios")  # fmt: skip
    theirs = {}
    single = table[table["family"] == "label"].set_index("labels")["mean"]
    for strategy in STRATEGIES:
        theirs[strategy], found = seconds(lambda s=strategy: nilearns(activity, labels, s))
        print(f"nilearn, {strategy}: {theirs[strategy]:.2f} CPU-s for {found.size} labels")
        if strategy == "mean":
            known = [single[str(n)] for n in present if str(n) in single.index]
            both = [value for n, value in zip(present, found, strict=True)
                    if str(n) in single.index]  # fmt: skip
            print(
                f"  largest difference of the means: {np.abs(np.subtract(known, both)).max():.1e}"
            )
    total = sum(theirs.values())
    print(f"ratio for the full set of statistics that nilearn has: {total / mine:.1f} "
          f"(goal: 5); for the mean alone: {theirs['mean'] / mine:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
