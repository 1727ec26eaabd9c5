import dataclasses
import re

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from relad_bids.core.columns import COLUMNS, SYNTHETIC_STATEMENT
from relad_bids.files import write_table
from relad_bids.reports.page import PetEntry, SessionPage, write_session_page
from relad_bids.reports.quality_rows import QualityRow

STATEMENT = "Trained on phantoms, for trying the program; no scientific value."
SHAPE = (44, 38, 26)
ZOOMS = (1.5, 1.7, 2.6)


def write(folder, name, data):
    """Write on one grid of unequal sides whose voxels run to the left, front and top."""
    affine = np.diag([-ZOOMS[0], *ZOOMS[1:], 1.0])
    affine[:3, 3] = [33.0, -32.0, -34.0]
    path = folder / f"{name}.nii.gz"
    nb.Nifti1Image(data.astype(np.float32), affine).to_filename(path)
    return path


def voi_rows():
    row = dict.fromkeys(COLUMNS, np.nan)
    told = {"tracer": "pib", "hemi": "B", "fov_fraction": 1.0, "ref_volume_mm3": 61000.0}
    return pd.DataFrame(
        [
            {**row, **told, "voi": "amyloid-composite", "suvr_mean": 1.37, "qc_flags": "ok"},
            {**row, **told, "voi": "pons", "qc_flags": "voi_fov", "fov_fraction": 0.2},
        ]
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    rng = np.random.default_rng(11)
    index = np.indices(SHAPE).T * ZOOMS - np.array(SHAPE) * ZOOMS / 2
    distance = np.linalg.norm(index / (28, 28, 26), axis=-1).T
    mask = distance < 1
    t1w = mask * (50 + 50 * (distance < 0.7)) + rng.normal(0, 2, SHAPE)
    labels = np.where(mask, 1006, 0)
    labels[:, :14, :9] *= 0
    labels[:, 6:14, 4:9] = np.where(mask[:, 6:14, 4:9], 8, 0)
    suvr = np.where(mask, 1.3, 0.0)
    suvr[:, :, :3] = np.nan
    write_table(folder / "voi.tsv", voi_rows())
    images = {"t1w": t1w, "mask": mask, "dseg": labels, "suvr": suvr, "template": mask * 80}
    paths = {name: write(folder, name, data) for name, data in images.items()}
    pets = tuple(
        PetEntry(
            tracer=tracer, suvr_t1w=paths["suvr"], table=folder / "voi.tsv", suvr_max=3.0,
            ref_region=region, primary_vois=("amyloid-composite", "pons", "centiloid-ctx"),
        )
        for tracer, region in (("pib", "cerebellum-whole"), ("mk6240", "cerebellum-inferior-gm"))
    )  # fmt: skip
    return SessionPage(
        label="sub-01_ses-a", software_version="0.1.0", checkpoint="demo-1+abc",
        statement=STATEMENT, t1w=paths["t1w"], mask=paths["mask"], t1w_mni=paths["t1w"],
        template=paths["template"], flair_t1w=paths["t1w"], dseg=paths["dseg"], pets=pets,
        facts={"Brain volume": "1204 mL"}, flags=("flair_missing",), methods="One.\n\nTwo.",
    )  # fmt: skip


@pytest.fixture(scope="module")
def html(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "sub-01_ses-a.html"
    write_session_page(path, page)
    assert path.stat().st_size < 3e6
    return path.read_text(encoding="utf-8")


def changed(page, tmp_path, **fields):
    write_session_page(tmp_path / "page.html", dataclasses.replace(page, **fields))
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_anywhere(html):
    text = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "PICTURE", html)
    assert "http" not in text
    assert "//" not in text
    assert "<script" not in text
    assert "<link" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert set(re.findall(r'src="([^"]*)"', text)) == {"PICTURE"}
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', text))


def test_every_link_inside_the_page_arrives(html):
    for target in re.findall(r'href="#([^"]*)"', html):
        assert f'id="{target}"' in html


def test_the_statements_stand_at_the_top_and_under_each_picture(html):
    sections = html.split("<section")
    pets = [part for part in sections if 'id="pet-' in part.split(">")[0]]
    assert len(pets) == 2
    assert all(s in sections[0] for s in (SYNTHETIC_STATEMENT, STATEMENT))
    for part in pets:
        under = part.split("</figure>")[1]
        assert SYNTHETIC_STATEMENT in under
        assert STATEMENT in under
        assert "Synthetic" in re.findall(r"<h2>(.*?)</h2>", part)[0]


def test_values_and_their_absence_are_printed(html):
    assert "1.37" in html
    assert "n/a" in html
    assert "VOI partly outside the field of view" in html
    assert "not in the table" in html
    assert "1204 mL" in html
    assert "synthesised without FLAIR" in html
    assert "nan" not in re.sub(r"base64,[^\"]+", "", html)


def test_quality_is_told_in_words_and_colours(page, html, tmp_path):
    """A row a figure under its scan; the verdict is a word, its colour comes on top."""
    assert "Quality of the MRI" not in html
    rows = [
        QualityRow(
            about=about, title=title, value=value, usual="at least 8", verdict=verdict, note=note
        )
        for about, title, value, verdict, note in (
            ("T1w", "SNR", "6.4", "outside", "<noisy>"),
            ("T1w on the template", "Dice", "0.5", "not judged", ""),
            ("FLAIR", "NMI", "n/a", "not known", ""),
        )
    ]
    text = changed(page, tmp_path, quality=tuple(rows), flags=("cerebellum_cut",), pets=())
    section = text.split('<section id="quality">')[1].split("</section>")[0]
    assert '<a href="#quality">' in text
    assert re.findall(r'<span class="([a-z-]+)">([a-z ]+)</span>', section) == [
        ("outside", "outside"), ("outside", "outside"), ("not-judged", "not judged"),
        ("not-known", "not known"),
    ]  # fmt: skip
    heads = re.findall(r'scope="rowgroup" colspan="4">([^<]*)<', section)
    assert heads == ["T1w", "T1w on the template", "FLAIR"]
    assert "&lt;noisy&gt;" in section
    assert "a part of the cerebellum lies outside the T1w image" in text.split("<section")[1]


def test_paragraphs_stay_paragraphs(html):
    assert "<p>One.</p>" in html
    assert "<p>Two.</p>" in html


def test_a_missing_flair_is_said(page, html, tmp_path):
    assert "No FLAIR was used" not in html
    without = changed(page, tmp_path, flair_t1w=None, pets=())
    again = set(re.findall(r"base64,([^\"]+)", without))
    assert again <= set(re.findall(r"base64,([^\"]+)", html))  # same images, same bytes
    assert "No FLAIR was used in this session" in without
    assert without.count("data:image/webp") == 2


def test_what_a_dataset_says_cannot_become_html(page, tmp_path):
    bad = '<img src=x onerror="alert(1)">&'
    fields = dict.fromkeys(("label", "statement", "methods", "checkpoint"), bad)
    text = changed(page, tmp_path, **fields, facts={bad: bad}, flags=(bad,), pets=())
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


def test_a_reference_mask_is_used_where_given(page, html, tmp_path):
    entry = dataclasses.replace(page.pets[1], ref_mask=page.mask)
    text = changed(page, tmp_path, pets=(entry,))
    pictures = [set(re.findall(r"base64,([^\"]+)", content)) for content in (text, html)]
    assert len(pictures[0] - pictures[1]) == 1
