"""Atlases of the user's: names, tables, spaces, and what is refused."""

import os
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from relad_bids.bids.atlases import find_atlases, find_suit
from relad_bids.errors import DataError, InputError, UsageError

NLIN6, NLIN2009 = "MNI152NLin6Asym", "MNI152NLin2009cAsym"
TABLE = "index\tname\n1\tLH_Vis\n2\tRH_Vis\n"


@pytest.fixture
def write(tmp_path):
    """Write label images (numbers 1 and 2) and texts; return the folder."""

    def make(*images, **texts):
        for name in images:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = (np.arange(24).reshape(2, 3, 4) % 3).astype(np.float32)
            nb.Nifti1Image(data, np.diag([-2.0, 2, 2, 1])).to_filename(path)
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/").replace("_TSV", ".tsv")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def find(datasets=None, names=(), space=NLIN2009):
    return find_atlases(datasets or {}, names, space=space)


def test_a_file_with_its_table(write):
    name = f"toy_space-{NLIN6}_res-2_dseg"
    root = write(f"{name}.nii.gz")
    (root / f"{name}.tsv").write_text("name\tindex\tcolor\nLH_Vis\t1\tx\nBackground\t0\tx\n")
    (atlas,) = find({"my atlas": root / f"{name}.nii.gz"})
    assert (atlas.label, atlas.space) == ("atlas-myatlas", NLIN6)
    assert atlas.regions == ((1, "LH_Vis"), (2, "2")), "a number without name has a row, too"
    assert atlas.uri == f"bids:my atlas:{name}.nii.gz"
    assert str(root) not in atlas.uri


def test_a_dataset_gives_each_parcellation_once_in_the_space_wanted(write):
    """Finest first; desc becomes seg, for in what is written desc says synthetic or measured."""
    images = [
        f"tpl-{space}/tpl-{space}_res-{res}_atlas-Toy_desc-{kind}_dseg.nii.gz"
        for space in (NLIN6, NLIN2009, "MNI305")
        for res in ("01", "02")
        for kind in ("a", "b")
    ]
    root = write(*images, **{"atlas-Toy_dseg_TSV": TABLE})
    for space in (NLIN6, NLIN2009):
        found = find({"toy": root}, space=space)
        assert [atlas.label for atlas in found] == ["atlas-toy_seg-a", "atlas-toy_seg-b"]
        assert {atlas.space for atlas in found} == {space}
        assert all("_res-01_" in atlas.path.name for atlas in found)
        assert found[0].regions == ((1, "LH_Vis"), (2, "RH_Vis"))


def test_the_table_nearest_in_name_wins(write):
    root = write(f"tpl-{NLIN6}_atlas-X_seg-b_dseg.nii.gz", atlas__X_dseg_TSV=TABLE)
    (root / "atlas-X_dseg.tsv").write_text(TABLE)
    (root / "atlas-X_seg-b_dseg.tsv").write_text(TABLE.replace("Vis", "Som"))
    (root / "atlas-X_seg-c_dseg.tsv").write_text(TABLE.replace("Vis", "Lim"))
    assert find({"x": root})[0].regions[0] == (1, "LH_Som")


@pytest.mark.parametrize(
    ("space", "message"),
    [("_space-MNI305", "says MNI305; known are"), ("", "has no space- and no tpl-; known are")],
)
def test_a_space_to_which_no_way_is_known_is_refused(write, space, message):
    root = write(f"toy{space}_dseg.nii.gz", toy_dseg_TSV=TABLE)
    with pytest.raises(UsageError, match=message):
        find({"toy": root})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number\tname\n1\tx\n", r"has the columns number, name, needed are index and name"),
        ("index\tname\n1.5\tx\n", r"an index that is no whole number"),
        ("index\tname\n1\tx\n1\ty\n", r"has a number of its index twice"),
        ("index\tname\n8\tx\n9\ty\n", r"holds the labels 1, 2, its table .* names 8, 9: none"),
    ],
)
def test_a_table_that_cannot_be_used(write, text, message):
    root = write(f"toy_space-{NLIN6}_dseg.nii.gz", toy_dseg_TSV=text)
    with pytest.raises(DataError, match=message):
        find({"toy": root})


def test_what_is_not_there(write, tmp_path):
    with pytest.raises(InputError, match=r"looked for at .*nowhere, and nothing is there"):
        find({"toy": tmp_path / "nowhere"})
    with pytest.raises(InputError, match=r"searched for \*_dseg\.nii\.gz, and none was found"):
        find({"toy": tmp_path})
    root = write(f"toy_space-{NLIN6}_dseg.nii.gz")
    with pytest.raises(InputError, match=rf"Needed is toy_space-{NLIN6}_dseg\.tsv with"):
        find({"toy": root})


@pytest.mark.parametrize("name", ["Desikan-Killiany", "toy"])
def test_two_atlases_of_one_name_are_refused(write, name):
    root = write(f"toy_space-{NLIN6}_dseg.nii.gz", toy_dseg_TSV=TABLE)
    with pytest.raises(UsageError, match=r"as another one is\. Give it another name"):
        find({name: root, "to-y": root})


@pytest.fixture
def flow(write, monkeypatch):
    """A home of TemplateFlow that holds all it knows, and one file by name alone."""
    names = [f"tpl-{NLIN2009}_res-0{n}_atlas-Toy_desc-{kind}" for n in (1, 2) for kind in "ab"]
    root = write(*(f"tpl-{NLIN2009}/{name}_dseg.nii.gz" for name in names))
    for kind in "ab":
        (root / f"tpl-{NLIN2009}/tpl-{NLIN2009}_atlas-Toy_desc-{kind}_dseg.tsv").write_text(TABLE)
    (root / f"tpl-{NLIN2009}/template_description.json").write_text("{}")
    (root / f"tpl-{NLIN6}").mkdir()
    (root / f"tpl-{NLIN6}/tpl-{NLIN6}_res-01_atlas-Far_dseg.nii.gz").touch()
    (root / f"tpl-{NLIN6}/tpl-{NLIN6}_atlas-Far_dseg.tsv").touch()
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(root))
    return root


def test_an_atlas_of_templateflow_that_is_there(flow):
    (atlas,) = find(names=["Toy:b"])
    assert atlas.label == "atlas-Toy_seg-b"
    assert atlas.path.name == f"tpl-{NLIN2009}_res-01_atlas-Toy_desc-b_dseg.nii.gz"
    assert atlas.uri == f"bids:templateflow:{atlas.path.name}"
    with pytest.raises(UsageError, match=r"TemplateFlow has Toy:a, Toy:b\. Give one of these"):
        find(names=["Toy"])
    with pytest.raises(UsageError, match=r"TemplateFlow has no dseg of an atlas Gold in"):
        find(names=["Gold"])


def test_without_a_network_what_is_missing_is_named(flow, monkeypatch):
    """The address leads nowhere, as on a cluster's node."""
    monkeypatch.setenv("TEMPLATEFLOW_S3_ROOT", "http://127.0.0.1:9")
    import requests

    def offline(*args, **kwargs):
        raise requests.exceptions.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", offline)
    with pytest.raises(
        InputError, match=r"atlas-Far_dseg\.nii\.gz is not on this machine .*ConnectionError"
    ):
        find(names=["Far"])


REAL = os.environ.get("RELAD_TEST_DATA")


@pytest.mark.skipif(not REAL, reason="RELAD_TEST_DATA is not set")
def test_real_atlases_with_their_own_tables():
    """Labels in a .csv with the words of its authors, and in a .tsv."""
    folder = Path(str(REAL)) / "atlases"
    schaefer, suit = find(
        {
            "Schaefer2018": folder / f"Schaefer2018_100_space-{NLIN6}_res-2_dseg.nii.gz",
            "suit": folder / f"SUIT-Anatom_space-{NLIN6}_res-1_dseg.nii.gz",
        }
    )
    assert len(schaefer.regions) == 100
    assert schaefer.regions[0] == (1, "7Networks_LH_Vis_1")
    assert len(suit.regions) == 34
    with pytest.raises(InputError, match=r"res-1_dseg\.tsv with the columns index and name"):
        find({"dk": folder / f"DK-aseg_space-{NLIN2009}_res-1_dseg.nii.gz"})


@pytest.mark.skipif(not REAL, reason="RELAD_TEST_DATA is not set")
def test_a_real_atlas_with_a_table_made_for_it(tmp_path):
    """FreeSurfer numbers as float32 on 256 cubed voxels that run left, front and down."""
    folder = Path(str(REAL)) / "atlases"
    name = f"DK-aseg_space-{NLIN2009}_res-1_dseg"
    (tmp_path / f"{name}.nii.gz").symlink_to(folder / f"{name}.nii.gz")
    lut = pd.read_csv(folder / "FreeSurferColorLUT_fs.txt", sep=r"\s+", comment="#", header=None)
    rows = lut.iloc[:, :2].set_axis(["index", "name"], axis=1)
    rows.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
    (atlas,) = find({"dk": tmp_path})
    names = dict(atlas.regions)
    assert (names[17], names[2035]) == ("Left-Hippocampus", "ctx-rh-insula")


@pytest.mark.parametrize("plain", [True, False])
def test_suit_by_its_flag_or_as_an_added_atlas(write, tmp_path, plain):
    name = f"lob_space-{NLIN6}_dseg.nii.gz"
    root = write(name, **{f"lob_space-{NLIN6}_dseg_TSV": TABLE})
    added = () if plain else find({"SUIT": root})
    suit = find_suit(root / name if plain else None, added, space=NLIN2009)
    assert (suit.path, suit.space) == (root / name, NLIN6)
    assert find_suit(None, find({"toy": root}), space=NLIN2009) is None


def test_what_is_not_suit_is_refused(write, tmp_path):
    data = np.full((2, 3, 4), 35, np.int16)
    nb.Nifti1Image(data, np.eye(4)).to_filename(tmp_path / f"x_space-{NLIN6}.nii.gz")
    with pytest.raises(DataError, match=r"holds the labels 35, needed are .* 1 to 34"):
        find_suit(tmp_path / f"x_space-{NLIN6}.nii.gz", (), space=NLIN6)
    with pytest.raises(InputError, match=r"the atlas suit was looked for at .*none"):
        find_suit(tmp_path / "none.nii.gz", (), space=NLIN6)
