"""The card of a checkpoint: everything a network needs from the world around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract, PETContractName
from relad_bids.errors import CheckpointError, UsageError
from relad_bids.untrusted import read_json

FORMAT = 1
"""Version of the card's layout; a card of another one is refused."""


@dataclass(frozen=True, kw_only=True)
class TracerOutput:
    """One tracer the network can synthesise."""

    name: str
    """Canonical name (``relad_bids/data/tracers.toml``)."""
    index: int
    """Its class number in the network."""
    suvr_max: float | None = None
    """SUVr that is +1 in the network (contract ``suvr-fixed``)."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """``model.json``: architecture, grid, space, contracts, tracers, training, figures."""

    name: str
    version: str
    kind: str
    architecture: Mapping[str, Any]
    space: str
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    """(4, 4) voxel index -> RAS+ mm."""
    tracers: tuple[TracerOutput, ...]
    sequences: tuple[str, ...] = ("T1w", "FLAIR")
    """MRI channels in order, by BIDS suffix."""
    missing_flair: bool = False
    """Whether training showed the network subjects without FLAIR."""
    mri_contract: MRIContract = field(default_factory=MRIContract)
    pet_contract: PETContractName = "suvr-fixed"
    sampler: Mapping[str, Any] = field(default_factory=lambda: {"name": "one-pass", "steps": 1})
    diffusion: Mapping[str, Any] | None = None
    """Noise schedule of a diffusion model; None where the network is asked once."""
    statement: str
    """One sentence that every table and page made with this checkpoint carries."""
    training: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    ood: Mapping[str, Any] | None = None
    """Statistics of the training inputs against which an input is called unusual."""
    calibration: Mapping[str, Any] | None = None
    """Factors that make intervals around regional SUVr, and whom they were measured in."""
    sha256: str = ""
    """Of ``model.safetensors``."""
    format: int = FORMAT

    @property
    def grid(self) -> Grid:
        return Grid(shape=self.shape, affine=np.array(self.affine, dtype=float))

    @property
    def label(self) -> str:
        """Name, version and the first digits of the weights' hash: one checkpoint, one label."""
        return f"{self.name}-{self.version}+{self.sha256[:8]}"

    def tracer(self, name: str) -> TracerOutput:
        """Return the output for a canonical tracer name.

        Raises
        ------
        UsageError
            This checkpoint does not know it.
        """
        for tracer in self.tracers:
            if tracer.name == name:
                return tracer
        raise UsageError(
            f"the checkpoint {self.name} was asked for the tracer {name!r}; it synthesises "
            f"{', '.join(t.name for t in self.tracers)}. Choose among these with "
            "--synth-tracers, or give a checkpoint for that tracer with --model-dir."
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def read_card(path: Path) -> Card:
    """Read ``model.json``.

    Raises
    ------
    CheckpointError
        It is not JSON, of another format, or lacks or has unknown fields.
    """
    try:
        content: Any = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}); a checkpoint card is.") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{path}: format {found}, this version reads format {FORMAT}.")
    try:
        content["tracers"] = tuple(TracerOutput(**t) for t in content["tracers"])
        content["mri_contract"] = MRIContract(**content["mri_contract"])
        content["shape"] = tuple(content["shape"])
        content["affine"] = tuple(tuple(row) for row in content["affine"])
        content["sequences"] = tuple(content["sequences"])
        card = Card(**content)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint card of format 1: {error}.") from error
    if card.pet_contract not in get_args(PETContractName):
        raise CheckpointError(
            f"{path}: pet_contract {card.pet_contract!r}, this version knows "
            f"{', '.join(get_args(PETContractName))}."
        )
    return card
