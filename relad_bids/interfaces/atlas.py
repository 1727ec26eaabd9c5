"""The packaged parcellation on its way to a participant, as Nipype steps."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from relad_bids.core.regions import cut_by_tissue, inferior_cerebellum
from relad_bids.data.template import ATLAS_SPACE, template_file
from relad_bids.files import copy
from relad_bids.interfaces.base import load_labels, load_on, out_path, save
from relad_bids.interfaces.mri import import_ants, resample_file
from relad_bids.tables import label_names


class _AlignAtlasInputSpec(BaseInterfaceInputSpec):
    space = traits.Str(mandatory=True, desc="template space that is wanted")
    cache_dir = traits.Str(mandatory=True, nohash=True, desc="folder shared by all sessions")
    sloppy = traits.Bool(False, usedefault=True, desc="coarse and quick, for tests")


class _AlignAtlasOutputSpec(TraitedSpec):
    xfm = File(exists=True, desc="ITK composite: resamples the parcellation's space onto it")
    inverse = File(exists=True, desc="ITK composite: resamples it onto the parcellation's space")


class AlignAtlas(SimpleInterface):
    """Warp the parcellation's template onto another one, once for all sessions.

    Sessions that come to it together all do the work, and all write the same bytes.
    """

    input_spec = _AlignAtlasInputSpec
    output_spec = _AlignAtlasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import_ants()
        from relad_bids.mri.registration import register_atlas, warp_stages

        space, sloppy = self.inputs.space, self.inputs.sloppy
        brains = [template_file("T1w", space=one).read_bytes() for one in (ATLAS_SPACE, space)]
        settings = repr(warp_stages(sloppy=sloppy)).encode()
        digest = hashlib.sha256(b"".join([*brains, settings])).hexdigest()[:12]
        kept = [
            Path(self.inputs.cache_dir) / f"from-{one}_to-{other}_{digest}_xfm.h5"
            for one, other in ((ATLAS_SPACE, space), (space, ATLAS_SPACE))
        ]
        if not all(path.is_file() for path in kept):
            found = register_atlas(space, out_dir=Path(runtime.cwd), sloppy=sloppy)
            for made, path in zip((found.forward, found.inverse), kept, strict=True):
                copy(made, path)
        names = {"xfm": "atlas_to_mni.h5", "inverse": "mni_to_atlas.h5"}
        for (key, name), path in zip(names.items(), kept, strict=True):
            copy(path, out_path(runtime, name))
            self._results[key] = str(out_path(runtime, name))
        return runtime


class _WarpParcellationInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    mni_to_t1w = File(exists=True, mandatory=True, desc="ITK transform, resamples MNI onto T1w")
    atlas_to_mni = File(
        exists=True, desc="resamples the parcellation's space onto MNI; left out if they are one"
    )
    csf = File(exists=True, mandatory=True, desc="CSF probability in T1w space")
    gm = File(exists=True, mandatory=True, desc="grey matter probability")
    wm = File(exists=True, mandatory=True, desc="white matter probability")


class _WarpParcellationOutputSpec(TraitedSpec):
    dseg = File(exists=True, desc="FreeSurfer numbers in T1w space, cut by tissue")
    inferior = File(exists=True, desc="geometric inferior cerebellum in T1w space, 0 / 1")
    numbers = traits.List(traits.Int, desc="labels of the parcellation before cutting")


class WarpParcellation(SimpleInterface):
    """Bring the packaged aparc+aseg to the participant and cut it by their own tissue."""

    input_spec = _WarpParcellationInputSpec
    output_spec = _WarpParcellationOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        atlas = template_file("aparcaseg")
        labels, atlas_grid = load_labels(str(atlas))
        below = inferior_cerebellum(labels, atlas_grid).astype(np.uint8)
        inferior_atlas = save(out_path(runtime, "inferior_atlas.nii.gz"), below, atlas_grid)
        first = [self.inputs.atlas_to_mni] if isdefined(self.inputs.atlas_to_mni) else []
        onto = (self.inputs.t1w, [self.inputs.mni_to_t1w, *first])
        inferior = resample_file(
            inferior_atlas, *onto, out_path(runtime, "inferior.nii.gz"), interpolation="nearest"
        )
        warped = resample_file(
            str(atlas), *onto, out_path(runtime, "warped.nii.gz"), interpolation="genericLabel"
        )
        numbers, grid = load_labels(warped)
        tissue = {
            name: load_on(grid, getattr(self.inputs, name), ours="t1w", theirs=name)
            for name in ("csf", "gm", "wm")
        }
        tissue_of = {number: label.tissue for number, label in label_names().items()}
        cut = cut_by_tissue(numbers, tissue_of, **tissue)
        self._results["dseg"] = save(out_path(runtime, "dseg.nii.gz"), cut, grid)
        self._results["inferior"] = inferior
        self._results["numbers"] = [int(n) for n in np.unique(labels) if n > 0]
        return runtime
