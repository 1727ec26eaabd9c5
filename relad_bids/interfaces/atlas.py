"""The packaged parcellation on its way to a participant, as Nipype steps."""

from __future__ import annotations

import hashlib
from functools import cache
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
from numpy.typing import NDArray

from relad_bids.bids.label_images import read_label_image
from relad_bids.core.grid import Grid
from relad_bids.core.label_fill import fill_by_tissue
from relad_bids.core.label_fit import label_fit
from relad_bids.core.regions import cut_by_tissue, inferior_cerebellum
from relad_bids.core.suit import suit_inferior_cerebellum
from relad_bids.data.template import ATLAS_SPACE, template_file
from relad_bids.files import copy, write_table
from relad_bids.interfaces.base import (
    load_labels,
    load_on,
    naming_files,
    out_path,
    save,
)
from relad_bids.interfaces.describe import describe_labels
from relad_bids.interfaces.mri import import_ants, resample_file
from relad_bids.tables import label_names


class _AlignAtlasInputSpec(BaseInterfaceInputSpec):
    space = traits.Str(mandatory=True, desc="template space that is wanted")
    atlas_space = traits.Str(ATLAS_SPACE, usedefault=True, desc="template space of the labels")
    cache_dir = traits.Str(mandatory=True, nohash=True, desc="folder shared by all sessions")
    sloppy = traits.Bool(False, usedefault=True, desc="coarse and quick, for tests")


class _AlignAtlasOutputSpec(TraitedSpec):
    xfm = File(exists=True, desc="ITK composite: resamples the parcellation's space onto it")
    inverse = File(exists=True, desc="ITK composite: resamples it onto the parcellation's space")


class AlignAtlas(SimpleInterface):
    """Warp the template of labels onto another one, once for all sessions.

    Sessions that come to it together all do the work, and all write the same bytes.
    """

    input_spec = _AlignAtlasInputSpec
    output_spec = _AlignAtlasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import_ants()
        from relad_bids.mri.registration import register_atlas, warp_stages

        space, start, sloppy = self.inputs.space, self.inputs.atlas_space, self.inputs.sloppy
        brains = [template_file("T1w", space=one).read_bytes() for one in (start, space)]
        settings = repr(warp_stages(sloppy=sloppy)).encode()
        digest = hashlib.sha256(b"".join([*brains, settings])).hexdigest()[:12]
        kept = [
            Path(self.inputs.cache_dir) / f"from-{one}_to-{other}_{digest}_xfm.h5"
            for one, other in ((start, space), (space, start))
        ]
        if not all(path.is_file() for path in kept):
            found = register_atlas(
                space, atlas_space=start, out_dir=Path(runtime.cwd), sloppy=sloppy
            )
            for made, path in zip((found.forward, found.inverse), kept, strict=True):
                copy(made, path)
        names = {"xfm": "atlas_to_mni.h5", "inverse": "mni_to_atlas.h5"}
        for (key, name), path in zip(names.items(), kept, strict=True):
            copy(path, out_path(runtime, name))
            self._results[key] = str(out_path(runtime, name))
        return runtime


class _ParcellationInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    mni_to_t1w = File(exists=True, mandatory=True, desc="ITK transform, resamples MNI onto T1w")
    atlas_to_mni = File(
        exists=True, desc="resamples the parcellation's space onto MNI; left out if they are one"
    )
    mask = File(exists=True, desc="brain mask in T1w space; given labels are held against it")
    csf = File(exists=True, mandatory=True, desc="CSF probability in T1w space")
    suit = File(exists=True, desc="SUIT lobules in template space, to draw the inferior part by")
    suit_to_mni = File(exists=True, desc="resamples the lobules' space onto MNI")
    gm = File(exists=True, mandatory=True, desc="grey matter probability")
    wm = File(exists=True, mandatory=True, desc="white matter probability")


class _ParcellationOutputSpec(TraitedSpec):
    dseg = File(exists=True, desc="FreeSurfer numbers in T1w space")
    inferior = File(exists=True, desc="geometric inferior cerebellum in T1w space, 0 / 1")
    numbers = traits.List(traits.Int, desc="labels of the parcellation before cutting")
    flags = traits.List(traits.Str, desc="flags of the labels")


class WarpParcellation(SimpleInterface):
    """Bring the packaged aparc+aseg to the participant, cut and filled by their own tissue."""

    input_spec = _ParcellationInputSpec
    output_spec = _ParcellationOutputSpec

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
        cut = fill_by_tissue(
            numbers, cut, tissue_of, gm=tissue["gm"], wm=tissue["wm"], voxel_mm=grid.voxel_mm
        )
        self._results["dseg"] = save(out_path(runtime, "dseg.nii.gz"), cut, grid)
        self._results["inferior"] = inferior
        if isdefined(self.inputs.suit):
            self._results["inferior"] = inferior_by_suit(runtime, self.inputs, cut, grid)
        self._results["numbers"] = packaged_numbers()
        self._results["flags"] = []
        return runtime


@cache
def packaged_numbers() -> list[int]:
    """Labels of the packaged parcellation: the rows of every table, whatever its labels."""
    labels, _ = load_labels(str(template_file("aparcaseg")))
    return [int(n) for n in np.unique(labels) if n > 0]


def inferior_by_suit(runtime: Any, given: Any, labels: NDArray[np.int32], grid: Grid) -> str:
    """Draw the inferior cerebellum by SUIT's lobules, warped onto the labels' grid."""
    lobules, suit_grid = read_label_image(given.suit)
    plain = save(out_path(runtime, "suit.nii.gz"), lobules, suit_grid)
    first = [given.suit_to_mni] if isdefined(given.suit_to_mni) else []
    warped = resample_file(
        plain, given.t1w, [given.mni_to_t1w, *first], out_path(runtime, "suit_t1w.nii.gz"),
        interpolation="nearest",
    )  # fmt: skip
    with naming_files(suit=given.suit, t1w=given.t1w):
        below = suit_inferior_cerebellum(load_labels(warped)[0], labels, voxel_mm=grid.voxel_mm)
    return save(out_path(runtime, "inferior.nii.gz"), below.astype(np.uint8), grid)


class _AdoptLabelsInputSpec(_ParcellationInputSpec):
    mask = File(exists=True, mandatory=True, desc="brain mask in T1w space")
    labels = File(exists=True, mandatory=True, desc="FreeSurfer numbers in scanner space")


class AdoptLabels(SimpleInterface):
    """Bring the user's own labels to the T1w's grid by their place in the scanner."""

    input_spec = _AdoptLabelsInputSpec
    output_spec = _ParcellationOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        theirs, their_grid = read_label_image(given.labels)
        plain = save(out_path(runtime, "labels.nii.gz"), theirs, their_grid)
        path = out_path(runtime, "dseg.nii.gz")
        dseg = resample_file(plain, given.t1w, [], path, interpolation="nearest")
        labels, grid = load_labels(dseg)
        mask, white = (
            load_on(grid, file, ours="t1w", theirs=name) > 0.5
            for name, file in (("mask", given.mask), ("wm", given.wm))
        )
        with naming_files(labels=given.labels, t1w=given.t1w):
            fit = label_fit(labels, mask, white)
            fit.require_inside()
        self._results["dseg"] = save(path, labels, grid)
        if isdefined(given.suit):
            self._results["inferior"] = inferior_by_suit(runtime, given, labels, grid)
        else:
            below = self._inferior(labels, grid).astype(np.uint8)
            self._results["inferior"] = save(out_path(runtime, "inferior.nii.gz"), below, grid)
        self._results["numbers"] = packaged_numbers()
        self._results["flags"] = fit.flags()
        return runtime

    def _inferior(self, labels: NDArray[np.int32], grid: Grid) -> NDArray[np.bool_]:
        """The geometric rule in template space, asked at the voxels of the person's cerebellum."""
        import_ants()
        from relad_bids.mri.resample import carry_points

        given = self.inputs
        first = [given.atlas_to_mni] if isdefined(given.atlas_to_mni) else []
        transforms = [Path(xfm) for xfm in (given.mni_to_t1w, *first)]
        return inferior_cerebellum(
            labels, grid, to_mni=lambda points: carry_points(points, transforms)
        )


class _WarpAtlasInputSpec(BaseInterfaceInputSpec):
    atlas = File(exists=True, mandatory=True, desc="label numbers in template space")
    regions = traits.List(traits.Tuple, mandatory=True, desc="number and name of each region")
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    mni_to_t1w = File(exists=True, mandatory=True, desc="ITK transform, resamples MNI onto T1w")
    atlas_to_mni = File(exists=True, desc="resamples the atlas' space onto MNI, where they differ")
    gm = File(exists=True, desc="grey matter probability, to cut by; left out to keep all")


class _WarpAtlasOutputSpec(TraitedSpec):
    dseg = File(exists=True, desc="label numbers in T1w space")
    names = File(exists=True, desc="index and name of each label")
    morph = File(exists=True, desc="volume and voxel count of each label")


class WarpAtlas(SimpleInterface):
    """Bring an atlas of the user's to the T1w, whatever its own grid and axes."""

    input_spec = _WarpAtlasInputSpec
    output_spec = _WarpAtlasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        labels, atlas_grid = read_label_image(given.atlas)
        plain = save(out_path(runtime, "atlas.nii.gz"), labels, atlas_grid)
        first = [given.atlas_to_mni] if isdefined(given.atlas_to_mni) else []
        onto = (given.t1w, [given.mni_to_t1w, *first])
        path = out_path(runtime, "dseg.nii.gz")
        warped, grid = load_labels(resample_file(plain, *onto, path, interpolation="genericLabel"))
        if isdefined(given.gm):
            warped = np.where(load_on(grid, given.gm, ours="t1w", theirs="gm") > 0.5, warped, 0)
        self._results["dseg"] = save(path, warped.astype(np.int32), grid)
        numbers, names = zip(*given.regions, strict=True)
        tables = describe_labels(warped, numbers, names, grid.voxel_volume_mm3)
        for key, table in tables.items():
            self._results[key] = str(out_path(runtime, f"{key}.tsv"))
            write_table(out_path(runtime, f"{key}.tsv"), table)
        return runtime
