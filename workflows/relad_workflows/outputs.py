"""Sinks: which product of the graph becomes which derivative."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nipype.pipeline.engine import Node

from relad_bids.interfaces.outputs import SaveDerivatives
from relad_bids.plan import Unit

ANAT_PRODUCTS = (
    "t1w_preproc", "brain_mask", "t1w_mni", "t1w_norm", "mask_mni", "t1w_to_mni_xfm",
    "mni_to_t1w_xfm", "dseg", "dseg_table", "morph",
)  # fmt: skip
FLAIR_PRODUCTS = ("flair_preproc", "flair_mni", "flair_norm", "flair_to_t1w_xfm")
PET_PRODUCTS = ("suvr_mni", "suvr_t1w", "kinpar", "reference_mask")
SPREAD_PRODUCTS = ("suvr_sd_mni",)


def init_ds_node(
    *,
    products: tuple[str, ...],
    unit: Unit,
    output_dir: Path,
    space: str,
    resolution: str,
    sidecars: Mapping[str, Mapping[str, Any]],
    extra: Mapping[str, Mapping[str, str]] = {},
    name: str,
) -> Node:
    """Return a sink for some products of one session.

    Inputs
    ------
    one field per product, and ``<product>_facts`` for what its sidecar learns from the graph
    """
    sink = SaveDerivatives(
        products=products,
        root=str(output_dir),
        label=unit.label,
        space=space,
        resolution=resolution,
        sidecars={key: dict(value) for key, value in sidecars.items()},
        extra={key: dict(value) for key, value in extra.items()},
    )
    return Node(sink, name=name, run_without_submitting=True)
