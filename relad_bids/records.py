"""What is written about a session: columns, flags and sidecars that are known before the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relad_bids import __version__
from relad_bids.bids.outputs import ATLAS, bids_uri, product_path
from relad_bids.bids.sidecars import raw_uri, sidecar, synthetic_facts
from relad_bids.config import Config
from relad_bids.core.columns import SYNTHETIC_STATEMENT, dictionary
from relad_bids.core.intensity import PETContractName
from relad_bids.core.intervals import LEVEL
from relad_bids.core.samples import has_spread
from relad_bids.model.card import Card
from relad_bids.records_methods import methods
from relad_bids.records_prepared import (
    prepared_facts,
    prepared_qc,
    prepared_text,
    run_text,
)
from relad_bids.records_secondary import synthetic_pvc, table_facts, training_fwhm
from relad_bids.sessions import Unit
from relad_bids.tables import tracers
from relad_bids.vois import PSEUDO_REFERENCE, reference_of_tracer


def resolution_label(card: Card) -> str:
    """``res-`` of the network's grid: its voxel size in mm."""
    return f"{round(card.grid.voxel_volume_mm3 ** (1 / 3), 2):g}".replace(".", "p")


def resolution_text(card: Card) -> str:
    size = "x".join(map(str, card.shape))
    return f"{resolution_label(card)} mm isotropic, {size} voxels, the grid of {card.name}"


def grid_spec(card: Card) -> dict[str, Any]:
    """The network's grid as plain lists, which Nipype can hash."""
    return {"shape": list(card.shape), "affine": [list(row) for row in card.affine]}


def inside(config: Config, path: Path) -> str:
    """Name an input file relative to its dataset: no path of the machine is written."""
    return path.absolute().relative_to(config.bids_dir.absolute()).as_posix()


def steps_of(card: Card, config: Config) -> int:
    """Calls of the network for each sample: those asked for, else the card's."""
    return int(config.sampling_steps or card.sampler["steps"])


def sampling_text(card: Card, config: Config) -> str:
    """``1 sample, one-pass``, ``8 samples of 15 steps, dpmpp2m``."""
    steps, many = steps_of(card, config), "s" if config.n_samples > 1 else ""
    walk = f" of {steps} steps" if steps > 1 else ""
    name = card.sampler["name"] if steps > 1 else "one pass"
    return f"{config.n_samples} sample{many}{walk}, {name}"


def session_flags(unit: Unit) -> list[str]:
    unusable = ["flair_unusable"] if unit.flair_problem else []
    return ["flair_missing", *unusable] if unit.flair_missing else []


def flair_problem(unit: Unit, config: Config) -> str:
    """Why a FLAIR is not used, on one line and without this machine's folders."""
    return " ".join(unit.flair_problem.replace(f"{config.bids_dir}/", "").split())


def only_measured(unit: Unit, config: Config) -> str:
    """Why nothing is synthesised in a session that has measured PET."""
    if unit.flair_problem:
        return (
            "the FLAIR cannot be used and nothing is synthesised, measured PET is quantified: "
            f"{flair_problem(unit, config)}"
        )
    if not unit.flair_missing:
        return "nothing was asked to be synthesised; measured PET alone is quantified"
    return (
        "has no FLAIR image: nothing is synthesised (see --missing-flair), its measured PET is "
        "quantified"
    )


def atlas_of(unit: Unit) -> dict[str, str]:
    """The entity that names the parcellation of a session."""
    return {"atlas": unit.labels.atlas if unit.labels else ATLAS}


def voi_columns(unit: Unit) -> dict[str, str]:
    """Where the labels of a session's tables come from."""
    source = unit.labels.source if unit.labels else "atlas-warped"
    return {**atlas_of(unit), "voi_source": source, "voi_space": "T1w"}


def known_qc(unit: Unit, card: Card, config: Config) -> dict[str, Any]:
    """Columns of the QC row that the plan already knows."""
    return {
        "participant_id": f"sub-{unit.subject}",
        "session_id": f"ses-{unit.session}" if unit.session else None,
        "t1w": inside(config, unit.t1w),
        "flair": inside(config, unit.flair) if unit.flair else None,
        **prepared_qc(unit, lambda path: inside(config, path)),
        "pet": ";".join(inside(config, pet.path) for pet in unit.measured) or None,
        "pet_left": ";".join(inside(config, pet.path) for pet in unit.unread) or None,
        "reason": _qc_reason(unit, config),
        "checkpoint_id": card.label if unit.tracers else None,
        "device": config.device if unit.tracers else None,
        "software_version": __version__,
    }


def _qc_reason(unit: Unit, config: Config) -> str | None:
    if not unit.tracers:
        return only_measured(unit, config)
    if unit.flair_problem:
        return f"synthesised without the FLAIR: {flair_problem(unit, config)}"
    return None


def table_paths(unit: Unit, card: Card) -> list[Path]:
    """VOI tables of a session, relative to the output folder."""
    where = {"space": card.space, "resolution": resolution_label(card)}
    return [
        product_path(
            "kinpar", unit.label, extra={"trc": tracers()[tracer].trc, **entities}, **where
        )
        for tracer in unit.tracers
        for entities in (atlas_of(unit), *(atlas.entities for atlas in unit.atlases))
    ]


def statement(card: Card) -> str:
    return f"{SYNTHETIC_STATEMENT} {card.statement}"


def pet_flags(unit: Unit, tracer: str, config: Config) -> list[str]:
    """Flags that hold for a whole synthetic image."""
    pseudo = ["pseudo_reference"] if tracers()[tracer].target in PSEUDO_REFERENCE else []
    undeclared = [] if tracers()[tracer].declared else ["ligand_undeclared"]
    single = ["single_sample"] if config.n_samples == 1 else []
    return [*session_flags(unit), *pseudo, *undeclared, *single]


def pet_context(unit: Unit, tracer: str, card: Card, config: Config) -> dict[str, Any]:
    """Columns of a VOI table with one value for all its rows."""
    return {
        "participant_id": f"sub-{unit.subject}",
        "session_id": f"ses-{unit.session}" if unit.session else None,
        "tracer": tracer,
        "trc_label": tracers()[tracer].trc,
        "source": "synthetic",
        "checkpoint_id": card.label,
        "n_samples": config.n_samples,
        "seed": unit.seed(config.seed, tracer),
        **voi_columns(unit),
        "unit": UNITS[card.pet_contract],
        "pvc": "none",
        "fwhm_mm": training_fwhm(card),
        "software_version": __version__,
        "statement": statement(card),
    }


def intervals(tracer: str, card: Card, config: Config) -> dict[str, Any]:
    """Settings of :func:`relad_bids.core.intervals.with_intervals`; empty where nothing is known.

    Factors hold for the answers that they were measured in: as many samples of as many steps,
    divided by the tracer's default reference region.
    """
    told = card.calibration or {}
    measured_in = (told.get("n_samples"), told.get("steps") or card.sampler["steps"])
    default = reference_of_tracer(tracer, {}) == reference_of_tracer(tracer, config.reference)
    factors = {
        voi: measured["factor"]
        for voi, measured in told.get("factors", {}).get(tracer, {}).items()
    }
    fits = measured_in == (config.n_samples, steps_of(card, config)) and default
    enough = told.get("times") != "spread" or has_spread(config.n_samples)
    if not (factors and fits and enough and told.get("level") == LEVEL):
        return {}
    return {"factors": factors, "times": told["times"]}


UNITS: Mapping[PETContractName, str] = {
    "suvr-fixed": "SUVR of the training set",
    "minmax": "arbitrary, another one in each image",
}
"""What the network's intensities are once their contract is undone."""

SHOWN_SUVR = {"tau": 2.5, "amyloid": 2.5, "tspo": 2.0, "metabolism": 2.0}
"""End of the colour scale on the page, by target: the usual range of cortical SUVr, the same for
every participant so that pages can be compared."""


class Sidecars:
    """The JSON of every product of one session."""

    def __init__(self, unit: Unit, card: Card, config: Config) -> None:
        self.unit, self.card, self.config = unit, card, config
        self.raw = {
            "t1w": raw_uri(inside(config, unit.t1w)),
            "flair": raw_uri(inside(config, unit.flair)) if unit.flair else "",
        }

    def anat(self, products: tuple[str, ...], *, source: str) -> dict[str, dict[str, Any]]:
        """Sidecars of images made from one MRI (``t1w`` or ``flair``)."""
        made = {key: self._one(key, [self.raw[source]]) for key in products if _is_image(key)}
        if "dseg" in made and self.unit.labels:
            made["dseg"] |= {"Sources": [self.unit.labels.uri], "Description": _OWN_LABELS}
        return {key: told | prepared_facts(key, told, self.unit) for key, told in made.items()}

    def lesion(self) -> dict[str, dict[str, Any]]:
        """Sidecar of the lesion mask as it was heeded."""
        sources = [self.unit.lesion.uri] if self.unit.lesion else []
        return {"lesion_mask": self._one("lesion_mask", sources, **_T1W_SPACE)}

    def pet(self, tracer: str) -> dict[str, dict[str, Any]]:
        """Sidecars of one tracer's maps, table and reference region."""
        unit, known = self.unit, tracers()[tracer]
        sequences = ["t1w_norm", *(["flair_norm"] if unit.flair else [])]
        sources = [bids_uri(self.path(key)) for key in sequences]
        facts = synthetic_facts(
            self.card,
            tracer=known.name,
            radionuclide=known.radionuclide or "n/a",
            reference=reference_of_tracer(tracer, self.config.reference),
            n_samples=self.config.n_samples,
            steps=steps_of(self.card, self.config),
            seed=unit.seed(self.config.seed, tracer),
            device=self.config.device,
        )
        beside = table_facts(tracer, synthetic_pvc(self.card, self.config), self.config)
        told = {**_table_facts(facts), **beside}
        table = dictionary(statement=statement(self.card), Sources=sources, **told)
        return {
            "suvr_mni": self._one("suvr_mni", sources, **facts),
            "suvr_t1w": self._one("suvr_t1w", sources, **facts, **_T1W_SPACE),
            "suvr_sd_mni": self._one("suvr_sd_mni", sources, **{**facts, **_SPREAD}),
            "kinpar": table,
            **self.reference_mask(),
        }

    def reference_mask(self) -> dict[str, dict[str, Any]]:
        """Sidecar of a reference region as applied, synthetic or measured PET alike."""
        sources = [bids_uri(self.path("dseg"))]
        return {"reference_mask": self._one("reference_mask", sources, **_T1W_SPACE)}

    def path(self, key: str) -> Path:
        return product_path(
            key,
            self.unit.label,
            space=self.card.space,
            resolution=resolution_label(self.card),
            extra=atlas_of(self.unit) if key == "dseg" else {},
        )

    def _one(self, key: str, sources: list[str], **facts: Any) -> dict[str, Any]:
        space = _T1W_SPACE if key in ("brain_mask", "flair_preproc", "dseg") else {}
        return sidecar(
            key,
            sources=sources,
            space=self.card.space,
            resolution=resolution_text(self.card),
            facts={**space, **facts},
        )


_OWN_LABELS = (
    "FreeSurfer numbers of the parcellation made from this T1w, on its grid (nearest neighbour) "
    "and not cut further; the labels every table of this session was made with"
)
_T1W_SPACE = {"SpatialReference": "orig"}
_SPREAD = {
    "Description": f"{SYNTHETIC_STATEMENT} Standard deviation of each voxel's SUVr over the "
    "network's samples, each divided by its own reference region. It says how far the samples "
    "differ, not how wrong they are; that of a region stands in its table and does not follow "
    "from this map.",
}


def _is_image(key: str) -> bool:
    return not key.endswith(("_xfm", "_table", "morph"))


def _table_facts(facts: dict[str, Any]) -> dict[str, Any]:
    keys = ("Synthetic", "TracerName", "TracerRadionuclide", "ReferenceRegion", "SynthesisModel")
    return {key: facts[key] for key in keys}


def report_facts(unit: Unit, card: Card, config: Config) -> dict[str, Any]:
    """What the session's page says that is known before the run."""
    shown = [(tracer, "synthetic") for tracer in unit.tracers]
    shown += [(pet.tracer, "real") for pet in unit.measured]
    pets = [
        {
            "tracer": tracer,
            "source": source,
            "ref_region": reference_of_tracer(tracer, config.reference),
            "primary_vois": tuple(tracers()[tracer].primary_vois),
            "suvr_max": SHOWN_SUVR[tracers()[tracer].target],
        }
        for tracer, source in shown
    ]
    network = {
        "Network": card.label,
        "Device": config.device,
        "Samples": sampling_text(card, config),
        "Seed": str(config.seed),
    }
    return {
        "label": unit.label,
        "software_version": __version__,
        "checkpoint": card.label if unit.tracers else "",
        "statement": card.statement if unit.tracers else "",
        "pets": pets,
        "used": {
            "T1w": run_text(inside(config, unit.t1w), unit.t1w_choice),
            "FLAIR": run_text(_flair_text(unit, config), unit.flair_choice),
            **prepared_text(unit),
            "Labels": _labels_text(unit),
            **_atlases_text(unit, config),
            "Measured PET": ", ".join(inside(config, pet.path) for pet in unit.measured) or "none",
            **(network if unit.tracers else {"Network": f"none: {only_measured(unit, config)}"}),
        },
        "methods": methods(unit, card, config),
    }


def _labels_text(unit: Unit) -> str:
    if unit.labels:
        return f"{unit.labels.source}: {unit.labels.uri.rpartition(':')[2]}"
    return f"packaged {ATLAS}, warped and cut by the participant's tissue"


def _atlases_text(unit: Unit, config: Config) -> dict[str, str]:
    cut = ", where the T1w has grey matter" if config.atlas_cut == "gm" else ""
    told = [f"{atlas.label} ({len(atlas.regions)} regions{cut})" for atlas in unit.atlases]
    return {"More atlases": "; ".join(told)} if told else {}


def _flair_text(unit: Unit, config: Config) -> str:
    if unit.flair:
        return inside(config, unit.flair)
    if unit.flair_problem:
        return f"not used: {flair_problem(unit, config)}"
    return "missing" if unit.flair_missing else "not needed"
