"""What a network could know of the PET of a phantom at best.

For somebody who saw the anatomy without error (lost share of grey matter per label, ventricle,
volume and place of the lesions, size of the head; not the age):

- out-of-sample R2 of each tracer's main region in the painted uptake, by a ridge regression and by
  gradient boosting (five folds);
- skill over the training mean in simulated images (cells of 8 mm, scanner noise included) of the
  uptake that boosting expects, painted on the true anatomy and seen without noise; and of the true
  uptake painted so, beyond which nobody gets.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from relad_bids.core.grid import Grid
from relad_bids.model.learning.losses import squares_of
from relad_bids.phantom.latent import Preset, Subject, draw_subject
from relad_bids.phantom.pet import Scanner
from relad_bids.phantom.prepared import Prepared, simulate_prepared
from relad_bids.tables import tracers, voi_sets

NAMES = ("flortaucipir", "pbr28", "pib")
QUIET = Scanner(fwhm_mm=6.0, counts=1e9, carbon=1.0)
"""The usual resolution, and no noise."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=4000, help="persons of the regressions")
    parser.add_argument("--n-images", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--presets", nargs="+", default=["strong"])
    args = parser.parse_args()
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -79, -108, -72
    grid = Grid((80, 92, 80), affine)
    for preset in args.presets:
        people = [draw_subject(i, seed=args.seed, preset=preset) for i in range(args.n)]
        seen = np.array([_anatomy(person) for person in people])
        expect = {}
        for tracer in NAMES:
            uptake = np.array([list(person.uptake[tracer].values()) for person in people])
            columns = _columns(people[0], tracer)
            found = [
                _r2(uptake[:, columns].mean(1), _foretold(model, seen, uptake)[:, columns].mean(1))
                for model in (_ridge(), _boosting())
            ]
            print(
                f"{preset} {tracer}, painted uptake of the main region: R2 {found[0]:.2f} (ridge) "
                f"{found[1]:.2f} (boosting)",
                flush=True,
            )
            expect[tracer] = _boosting().fit(seen, uptake)
        _print_images(grid, preset, args.seed + 1, args.n_images, expect)


def _print_images(
    grid: Grid, preset: Preset, seed: int, n: int, expect: dict[str, BaseEstimator]
) -> None:
    """Compare noisy images with quiet ones of the expected and of the true uptake."""
    people = [draw_subject(i, seed=seed, preset=preset) for i in range(2 * n)]

    def image(i: int, uptake: dict, scanner: Scanner | None) -> Prepared:
        person, chance = replace(people[i], uptake=uptake), np.random.default_rng([seed, i])
        return simulate_prepared(person, grid, chance, scanner=scanner)

    measured = [image(i, people[i].uptake, None) for i in range(2 * n)]
    mean = _mean(measured[n:])
    errors = []
    for i in range(n):
        answers = {"expected": _expected(people[i], expect), "true": people[i].uptake}
        quiet = {name: image(i, uptake, QUIET).pet for name, uptake in answers.items()}
        errors.append(
            [_errors(pet, measured[i]) for pet in (mean, quiet["expected"], quiet["true"])]
        )
    floor, *rest = np.sum(errors, axis=0)
    for index, tracer in enumerate(NAMES):
        expected, true = (1 - part[index] / floor[index] for part in rest)
        print(
            f"{preset} {tracer}, {n} images: skill {expected:.2f} of the expected uptake, "
            f"{true:.2f} of the true one"
        )


def _mean(measured: list[Prepared]) -> dict[str, NDArray]:
    """Mean of the noisy images of others, over those whose mask holds a voxel."""
    count = np.maximum(sum(one.mask.astype(int) for one in measured), 1)
    return {tracer: sum(one.pet[tracer] for one in measured) / count for tracer in NAMES}


def _expected(person: Subject, expect: dict[str, BaseEstimator]) -> dict[str, dict[int, float]]:
    seen = [_anatomy(person)]
    return {
        tracer: dict(zip(person.uptake[tracer], expect[tracer].predict(seen)[0], strict=True))
        for tracer in NAMES
    }


def _errors(pet: dict[str, NDArray], measured: Prepared) -> list[float]:
    """Mean square in cells of the brain, per tracer."""
    return [
        float(squares_of(_image(pet[tracer] - measured.pet[tracer]), _image(measured.mask))[1])
        for tracer in NAMES
    ]


def _image(values: NDArray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))[None, None]


def _anatomy(person: Subject) -> list[float]:
    return [
        *person.atrophy.values(),
        person.ventricle_mm,
        float(np.log10(person.wmh_ml)),
        person.wmh_periventricular,
        person.icv_scale,
    ]


def _columns(person: Subject, tracer: str) -> list[int]:
    by_name = {voi.voi: voi for voi in voi_sets()}
    chosen = by_name[tracers()[tracer].primary_vois[0]]
    labels = {n for part in chosen.parts for n in by_name[part].labels} or set(chosen.labels)
    return [i for i, label in enumerate(person.uptake[tracer]) if label in labels]


def _ridge() -> BaseEstimator:
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))


def _boosting() -> BaseEstimator:
    """Boosting for the ten patterns that hold nearly all that can be foretold of the labels."""
    return TransformedTargetRegressor(
        MultiOutputRegressor(HistGradientBoostingRegressor(random_state=0)),
        transformer=PCA(10, random_state=0),
        check_inverse=False,
    )


def _foretold(model: BaseEstimator, seen: NDArray, target: NDArray) -> NDArray:
    folds = KFold(5, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, seen, target, cv=folds))


def _r2(truth: NDArray, said: NDArray) -> float:
    return float(1 - ((truth - said) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


if __name__ == "__main__":
    main()
