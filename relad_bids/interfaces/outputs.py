"""The sink: files of the working folder become derivatives with names and sidecars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    DynamicTraitedSpec,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from nipype.interfaces.io import add_traits

from relad_bids.bids.outputs import product_path, sidecar_path
from relad_bids.files import copy, json_text, write_text


class _SaveDerivativesInputSpec(DynamicTraitedSpec, BaseInterfaceInputSpec):
    root = traits.Str(mandatory=True, desc="output folder")
    label = traits.Str(mandatory=True, desc="sub-01 or sub-01_ses-a")
    space = traits.Str(mandatory=True, desc="template space of the checkpoint")
    resolution = traits.Str(mandatory=True, desc="res- label")
    extra = traits.Dict(desc="product -> entities of this file alone")
    sidecars = traits.Dict(desc="product -> content of its JSON")


class _SaveDerivativesOutputSpec(TraitedSpec):
    out_files = traits.Dict(desc="product -> final path")


class SaveDerivatives(SimpleInterface):
    """Write products under their final names, each whole or not at all.

    The products are dynamic inputs named as in :data:`relad_bids.bids.outputs.PRODUCTS`; for a
    product ``x``, a dynamic input ``x_facts`` adds what is known only after computing.
    """

    input_spec = _SaveDerivativesInputSpec
    output_spec = _SaveDerivativesOutputSpec

    _always_run = True

    def __init__(self, products: tuple[str, ...] = (), **inputs: Any) -> None:
        super().__init__(**inputs)
        self._products = products
        add_traits(self.inputs, [*products, *(f"{p}_facts" for p in products)])

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        extra = given.extra if isdefined(given.extra) else {}
        sidecars = given.sidecars if isdefined(given.sidecars) else {}
        written = {}
        for product in self._products:
            source = getattr(given, product)
            if not isdefined(source):
                continue
            relative = product_path(
                product, given.label, space=given.space, resolution=given.resolution,
                extra=extra.get(product, {}),
            )  # fmt: skip
            target = Path(given.root) / relative
            if product in sidecars:
                facts = getattr(given, f"{product}_facts")
                content = {**sidecars[product], **(facts if isdefined(facts) else {})}
                write_text(sidecar_path(target), json_text(content))
            copy(Path(source), target)
            written[product] = str(target)
        self._results["out_files"] = written
        return runtime
