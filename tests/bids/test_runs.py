from pathlib import Path

import numpy as np
from toys import oblique

from relad_bids.bids.runs import measure_run


def test_figures_of_a_file(make_nifti):
    data = np.random.default_rng(1).integers(1, 900, (20, 24, 16, 1)).astype(np.int16)
    path = make_nifti("x.nii.gz", data, oblique((1.0, 1.5, 2.5)))
    found = measure_run(Path(path))
    assert found.edge_mm == 2.5
    assert 0 < found.entropy < 1


def test_an_image_that_cannot_be_used_has_none(tmp_path, make_nifti):
    (tmp_path / "page.nii.gz").write_text("<html>")
    assert measure_run(tmp_path / "page.nii.gz") is None
    constant = make_nifti("x.nii.gz", np.ones((20, 24, 16), np.float32), oblique())
    assert measure_run(Path(constant)) is None
