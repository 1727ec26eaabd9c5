import json

from relad_bids import __version__
from relad_bids.bids.dataset import DESCRIPTIONS, write_atlas_description, write_root_files
from relad_bids.bids.outputs import BIDSIGNORE, PRODUCTS
from relad_bids.files import read_table


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_same_bytes_from_every_job(tmp_path):
    """Array jobs share the folder: nothing of the machine, the user or the time goes in."""
    write_root_files(tmp_path / "one")
    write_root_files(tmp_path / "elsewhere" / "two")
    first = contents(tmp_path / "one")
    assert first == contents(tmp_path / "elsewhere" / "two")
    assert not any(str(tmp_path).encode() in text for text in first.values())
    write_root_files(tmp_path / "one")
    assert contents(tmp_path / "one") == first


def test_what_stands_there_already_is_left_alone(tmp_path):
    """In a folder with a sticky bit the files of another user cannot be replaced."""
    write_root_files(tmp_path)
    write_atlas_description(tmp_path, "mine")
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
    (tmp_path / "CHANGES").write_text("of an older version")
    write_root_files(tmp_path)
    write_atlas_description(tmp_path, "mine")
    after = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
    assert {path.name for path in before if before[path] != after[path]} == {"CHANGES"}
    assert (tmp_path / "CHANGES").read_text().startswith(__version__)


def test_description_is_that_of_a_derivative(tmp_path):
    write_root_files(tmp_path)
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"] == [{"Name": "relad-bids", "Version": __version__}]
    assert "raw" in description["DatasetLinks"]


def test_bidsignore_has_one_pattern_a_line(tmp_path):
    write_root_files(tmp_path)
    assert (tmp_path / ".bidsignore").read_text().splitlines() == list(BIDSIGNORE)


def test_every_desc_label_in_use_is_explained(tmp_path):
    write_root_files(tmp_path)
    table = read_table(tmp_path / "descriptions.tsv")
    assert list(table) == ["desc_id", "description"]
    used = {product.entities.get("desc") for product in PRODUCTS.values()} - {None}
    assert {f"desc-{label}" for label in used} <= set(table["desc_id"])
    assert "not a measurement" in DESCRIPTIONS["synth"]


def test_atlas_of_the_names_is_described(tmp_path):
    write_root_files(tmp_path)
    (path,) = tmp_path.glob("atlas-*_description.json")
    atlas = json.loads(path.read_text())
    assert {"Name", "License", "Description"} <= set(atlas)
    assert any(
        f"{path.name.split('_')[0].split('-')[1]}" in str(p.entities) for p in PRODUCTS.values()
    )


def test_readme_says_what_the_images_are_not(tmp_path):
    write_root_files(tmp_path)
    assert "not a measurement" in (tmp_path / "README.md").read_text()
