"""What a ceiling of a cognitive score does to the models of section 5.7, where the truth is known.

The score without its ceiling is linear in the MRI. Synthetic PET is a function of the same MRI
that bends where the score must, and holds nothing else: no true model gains by it.
"""

from __future__ import annotations

import numpy as np

from relad_bids.core.cognition import Sample, cognition_table

N, COHORTS, CEILING, SLOPE, SD = 400, 12, 30.0, 2.0, 1.0
MEANS = (30.0, 29.0, 27.7, 25.0)
GAINS = ("M2 - M1", "M2 - M1+nonlinear", "M2 - M1 (Tobit)")


def cohort(mean: float, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    mri = rng.normal(size=(N, 3))
    score = np.minimum(mean + SLOPE * mri[:, 0] + rng.normal(0, SD, N), CEILING)
    bend = np.minimum(mri[:, :1] - (CEILING - mean) / SLOPE, 0)
    return Sample(
        people=np.arange(N).astype(str), score=score, person=rng.normal(size=(N, 1)), mri=mri,
        synthetic=bend + rng.normal(0, 0.1, (N, 1)),
    )  # fmt: skip


def main() -> None:
    print("at ceiling | R2 of M1, M1 (Tobit) | gain, and cohorts of 12 whose interval is above 0")
    for mean in MEANS:
        share, r2, gains = [], [], []
        for seed in range(COHORTS):
            sample = cohort(mean, seed)
            table = cognition_table(
                sample, rng=np.random.default_rng(1), n_permutations=0, n_draws=500
            ).set_index(["model", "metric"])
            share.append((sample.score >= CEILING).mean())
            known = [name for name in GAINS if (name, "delta_r2") in table.index]
            value, low = table["value"].unstack(), table["low"].unstack()
            r2.append(value["r2"].reindex(["M1", "M1 (Tobit)"]).dropna())
            gains.append([(value.loc[name, "delta_r2"], low.loc[name, "delta_r2"] > 0)
                          for name in known])  # fmt: skip
        mean_gain = np.mean(np.array(gains, dtype=float), axis=0)
        told = ", ".join(
            f"{name}: {value:+.3f} ({COHORTS * above:.0f})"
            for name, (value, above) in zip(known, mean_gain, strict=True)
        )
        areas = ", ".join(f"{value:.2f}" for value in np.mean(r2, axis=0))
        print(f"{100 * np.mean(share):3.0f} % | {areas} | {told}")


if __name__ == "__main__":
    main()
