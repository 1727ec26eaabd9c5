"""Who the subject is: age, pathology, atrophy and uptake, before any voxel.

All presets share the same people (age, amyloid, tau, noise); they differ in how strongly the
MRI-visible signs (atrophy, ventricles, white matter hyperintensities) follow the pathology.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy.special import expit, ndtr

from relad_bids.errors import UsageError
from relad_bids.phantom.regions import (
    DEEP_GM,
    TRACERS,
    braak_groups,
    label_areas,
    label_uptake,
)

Preset = Literal["strong", "literature", "null"]


class Coupling(NamedTuple):
    """How much of the pathology the MRI shows."""

    k_tau: float
    """Atrophy per SD of regional tau load."""
    k_wmh: float
    """log10(mL) of white matter hyperintensities per unit of amyloid load."""
    scatter: float
    """Factor on the uptake scatter that no MRI can show."""


COUPLING: dict[str, Coupling] = {
    # Scatter is cut in `strong` because a network can learn in minutes only what is there.
    "strong": Coupling(k_tau=1.6, k_wmh=0.8, scatter=0.4),
    "literature": Coupling(k_tau=0.15, k_wmh=0.25, scatter=1.0),
    "null": Coupling(k_tau=0.0, k_wmh=0.0, scatter=1.0),
}

AGE_MEAN, AGE_SD, AGE_RANGE = 71.0, 8.0, (50.0, 92.0)
MAX_ATROPHY = 0.25
"""Largest share of a region's grey matter that is lost."""
_AGE, _REGIONAL, _COMMON = 0.45, 0.7, 0.6
"""Weights of age, regional and common noise in the atrophy score."""

BRAAK_OFFSET = {
    "braak1": -0.35,
    "braak2": -0.35,
    "braak3": 0.25,
    "braak4": 0.25,
    "braak5": 0.6,
    "braak6": 1.2,
}
"""Where on the latent tau axis half of a group's load is reached; the four published offsets
are taken as Braak I-II, III-IV, V and VI."""
_STAGE_WIDTH = 0.25
_STAGE_POSITIVE = (0.5, 0.5)
_STAGE_NEGATIVE = (-1.0, 0.2)
"""Mean and SD of the latent tau stage."""
_MEAN_OF_POSITIVES = {"braak1": 0.91, "braak2": 0.91, "braak3": 0.64, "braak4": 0.64}
_MEAN_OF_POSITIVES |= {"braak5": 0.44, "braak6": 0.155}
"""Mean of the logistic over the positives: dividing by it makes their mean load 1."""
_LOAD_SPREAD, _LARGEST_LOAD = 0.35, 1.9
_ASYMMETRY, _PATCHINESS = 0.12, 0.15
"""SD of left-right and of regional factors on the tau load."""
_AMYLOID_MEAN = 0.35
_WMH_LOG10 = (-0.5, 1.65)
"""Smallest and largest volume, log10 mL."""
LOAD_MOMENTS = {
    "braak1": (0.34, 0.45),
    "braak2": (0.34, 0.45),
    "braak3": (0.29, 0.55),
    "braak4": (0.29, 0.55),
    "braak5": (0.28, 0.63),
    "braak6": (0.28, 0.91),
}
"""Mean and SD of the load over the population (measured over 5000 subjects)."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One simulated person; mappings are keyed by FreeSurfer label."""

    index: int
    seed: int
    preset: str
    age: float
    """Years."""
    sex: str
    """``M`` or ``F``."""
    apoe4: bool
    amyloid: float
    """Amyloid load; the mean of the positives is 1."""
    amyloid_positive: bool
    tau_stage: float
    """Place on the latent tau axis (see :data:`BRAAK_OFFSET`)."""
    tau_positive: bool
    tau: Mapping[str, float]
    """Braak group -> load; the mean of the positives is 1."""
    atrophy: Mapping[int, float]
    """Label -> share of its grey matter that is lost, 0 to 0.25."""
    ventricle_mm: float
    """How far the ventricle wall moved outwards, mm, 0 to 4."""
    wmh_ml: float
    wmh_periventricular: float
    """Weight of the distance to the ventricle against chance, about 1."""
    icv_scale: float
    """Intracranial volume relative to the template."""
    uptake: Mapping[str, Mapping[int, float]]
    """Tracer -> label -> uptake relative to cerebellar grey matter."""

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a random source of its own for ``purpose``; the same at every call."""
        return subject_generator(self.index, seed=self.seed, purpose=purpose)


def subject_generator(index: int, *, seed: int, purpose: str) -> np.random.Generator:
    """Return the random source of one subject and purpose, independent of all others."""
    digest = hashlib.sha256(f"{seed}/{index}/{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def draw_subject(index: int, *, seed: int, preset: Preset) -> Subject:
    """Draw subject ``index``; the result does not depend on how many others are drawn.

    Raises
    ------
    UsageError
        ``preset`` is not one of ``strong``, ``literature``, ``null``.
    """
    if preset not in get_args(Preset):
        raise UsageError(
            f"the phantom preset {preset!r} was asked for; choose one of "
            f"{', '.join(get_args(Preset))}."
        )
    coupling = COUPLING[preset]
    rng = subject_generator(index, seed=seed, purpose="latent")
    person = _draw_person(rng)
    loads = _label_loads(person, rng)
    age_z = (person.age - AGE_MEAN) / AGE_SD
    common = rng.standard_normal()
    atrophy = _draw_atrophy(loads, coupling, age_z, common, rng)
    amyloid = person.amyloid - _AMYLOID_MEAN
    wmh_log10 = 0.65 + 0.28 * (person.age - AGE_MEAN) / 10 + coupling.k_wmh * amyloid
    ventricle_z = _atrophy_score(_tau_z("braak4", person.tau["braak4"]), coupling, age_z, common)
    return Subject(
        index=index,
        seed=seed,
        preset=preset,
        age=person.age,
        sex=person.sex,
        apoe4=person.apoe4,
        amyloid=person.amyloid,
        amyloid_positive=person.amyloid_positive,
        tau_stage=person.stage,
        tau_positive=person.tau_positive,
        tau=person.tau,
        atrophy=atrophy,
        ventricle_mm=float(np.clip(1.2 + ventricle_z + 0.3 * rng.standard_normal(), 0, 4)),
        wmh_ml=float(10 ** np.clip(wmh_log10 + 0.38 * rng.standard_normal(), *_WMH_LOG10)),
        wmh_periventricular=float(
            np.exp(0.5 * (coupling.k_wmh * amyloid + rng.standard_normal()))
        ),
        icv_scale=float(np.clip(person.icv_mean + 0.085 * rng.standard_normal(), 0.75, 1.3)),
        uptake={tracer: _draw_uptake(tracer, person, loads, coupling, rng) for tracer in TRACERS},
    )


class _Person(NamedTuple):
    age: float
    sex: str
    apoe4: bool
    amyloid_positive: bool
    amyloid: float
    tau_positive: bool
    stage: float
    tau: dict[str, float]
    icv_mean: float


def _draw_person(rng: np.random.Generator) -> _Person:
    """Draw age and pathology; prevalences give 36 % amyloid and 28 % tau positives."""
    age = float(np.clip(rng.normal(AGE_MEAN, AGE_SD), *AGE_RANGE))
    age_z = (age - AGE_MEAN) / AGE_SD
    male = bool(rng.random() < 0.48)
    apoe4 = bool(rng.random() < 0.30)
    amyloid_positive = bool(rng.random() < expit(-1.13 + 0.55 * age_z + 1.4 * apoe4))
    amyloid = _positive_load(rng) if amyloid_positive else float(rng.normal(0.0, 0.06))
    tau_logit = 0.85 + 0.3 * age_z if amyloid_positive else -3.0 + 0.4 * age_z
    tau_positive = bool(rng.random() < expit(tau_logit))
    stage = float(rng.normal(*(_STAGE_POSITIVE if tau_positive else _STAGE_NEGATIVE)))
    amplitude = _positive_load(rng)
    tau = {
        group: float(amplitude * expit((stage - offset) / _STAGE_WIDTH) / mean)
        for (group, offset), mean in zip(
            BRAAK_OFFSET.items(), _MEAN_OF_POSITIVES.values(), strict=True
        )
    }
    icv_mean = 1.05 if male else 0.95
    sex = "M" if male else "F"
    return _Person(age, sex, apoe4, amyloid_positive, amyloid, tau_positive, stage, tau, icv_mean)


def _positive_load(rng: np.random.Generator) -> float:
    """Draw a log-normal of mean 1, cut off where no published case lies."""
    return float(min(np.exp(rng.normal(-(_LOAD_SPREAD**2) / 2, _LOAD_SPREAD)), _LARGEST_LOAD))


def _label_loads(person: _Person, rng: np.random.Generator) -> dict[int, float]:
    """Spread the Braak loads over labels, with asymmetry and patches (all factors > 0)."""
    asymmetry = _ASYMMETRY * rng.standard_normal()
    loads = {}
    for label, group in braak_groups().items():
        side = 1 if label in (17, 18) or 1000 <= label < 2000 else -1
        patch = _PATCHINESS * rng.standard_normal()
        loads[label] = float(person.tau[group] * np.exp(side * asymmetry + patch))
    return loads


def _tau_z(group: str, load: float) -> float:
    mean, sd = LOAD_MOMENTS[group]
    return (load - mean) / sd


def _atrophy_score(tau_z: float, coupling: Coupling, age_z: float, common: float) -> float:
    """Return the shared part of the atrophy score in units of its own SD."""
    spread = np.sqrt(coupling.k_tau**2 + _AGE**2 + _REGIONAL**2 + _COMMON**2)
    return float((coupling.k_tau * tau_z + _AGE * age_z + _COMMON * common) / spread)


def _draw_atrophy(
    loads: dict[int, float],
    coupling: Coupling,
    age_z: float,
    common: float,
    rng: np.random.Generator,
) -> dict[int, float]:
    """Turn score = k_t tau_z + .45 age_z + .7 regional + .6 common into a lost share."""
    groups = braak_groups()
    spread = np.sqrt(coupling.k_tau**2 + _AGE**2 + _REGIONAL**2 + _COMMON**2)
    tau_z = {label: _tau_z(group, loads[label]) for label, group in groups.items()}
    # Nuclei outside the Braak scheme shrink with the rest: were they spared, the contrast to
    # cortex would cancel the common noise and give tau away.
    mean_z = float(np.mean(list(tau_z.values())))
    atrophy = {}
    for label in sorted(set(groups) | set(DEEP_GM)):
        shared = _atrophy_score(tau_z.get(label, mean_z), coupling, age_z, common)
        score = shared + _REGIONAL * rng.standard_normal() / spread
        # Widened so that the severest cases do not pile up at the largest share.
        atrophy[label] = float(MAX_ATROPHY * ndtr((score - 0.4) / 1.3))
    return atrophy


def _draw_uptake(
    tracer: str,
    person: _Person,
    loads: dict[int, float],
    coupling: Coupling,
    rng: np.random.Generator,
) -> Mapping[int, float]:
    """Add load and scatter (half shared by all labels, half of the area) to the group means.

    Left and right share their area's scatter; TSPO rises by 3 % in ten years of age.
    """
    common = rng.standard_normal()
    areas = label_areas()
    own = {area: rng.standard_normal() for area in sorted(set(areas.values()))}
    age_gain = 1 + 0.03 * (person.age - AGE_MEAN) / 10 if tracer == "pbr28" else 1.0
    uptake = {}
    for label, parts in label_uptake(tracer).items():
        load = person.amyloid if tracer == "pib" else loads.get(label, 0.0)
        chance = np.sqrt(0.5) * (common + own[areas[label]])
        value = parts.negative + parts.gain * load + coupling.scatter * parts.scatter * chance
        gain = age_gain if parts.scatter > 0 else 1.0  # cerebellar grey matter stays the unit
        uptake[label] = float(max(value * gain, 0.05))
    return uptake
