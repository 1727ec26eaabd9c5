"""Sinks: which product of the graph becomes which derivative."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nipype.pipeline.engine import Node

from relad_bids.interfaces.outputs import SaveDerivatives

ANAT_PRODUCTS = (
    "t1w_preproc", "brain_mask", "t1w_mni", "mask_mni", "t1w_to_mni_xfm", "mni_to_t1w_xfm",
    "dseg", "dseg_table", "morph",
)  # fmt: skip
NETWORK_PRODUCTS = ("t1w_norm",)
FLAIR_PRODUCTS = ("flair_preproc", "flair_mni", "flair_norm", "flair_to_t1w_xfm")
PET_PRODUCTS = ("suvr_mni", "suvr_t1w", "kinpar", "reference_mask")
SPREAD_PRODUCTS = ("suvr_sd_mni",)
LESION_PRODUCTS = ("lesion_mask",)


def init_ds_node(
    *,
    products: tuple[str, ...],
    label: str,
    output_dir: Path,
    space: str,
    resolution: str,
    sidecars: Mapping[str, Mapping[str, Any]],
    extra: Mapping[str, Mapping[str, str]] = {},
    name: str,
) -> Node:
    """Return a sink for some products of one session.

    Parameters
    ----------
    label
        ``sub-01_ses-a``

    Inputs
    ------
    one field per product, and ``<product>_facts`` for what its sidecar learns from the graph
    """
    sink = SaveDerivatives(
        products=products,
        root=str(output_dir),
        label=label,
        space=space,
        resolution=resolution,
        sidecars={key: dict(value) for key, value in sidecars.items()},
        extra={key: dict(value) for key, value in extra.items()},
    )
    return Node(sink, name=name, run_without_submitting=True)


def reference_label(name: str) -> str:
    """A region's name as a BIDS label: letters and digits only."""
    head, *rest = name.split("-")
    return head + "".join(part.capitalize() for part in rest)
