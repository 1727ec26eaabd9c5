"""Sections of the group page that need people who were scanned again, or two sources."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from relad_bids.core.change import change_table
from relad_bids.group.mixed import MIXED_COLUMNS
from relad_bids.reports.group_charts import change_figure, effects_figure
from relad_bids.reports.group_page import GroupPage, write_group_page


def changes(sources=("real", "synthetic"), n=12):
    rng = np.random.default_rng(1)
    rows = [
        {"participant_id": f"sub-{i}", "tracer": "pib", "source": source,
         "voi": "amyloid-composite", "years": 2.0 * visit,
         "suvr": 1.4 + 0.02 * i + 0.05 * visit + rng.normal(0, 0.02)}
        for source in sources for i in range(n) for visit in range(3)
    ]  # fmt: skip
    return change_table(pd.DataFrame(rows))


def effects(**columns):
    row = {"voi": "amyloid-composite", "term": "source[T.synthetic]", "estimate": 0.05,
           "se": 0.01, "low": 0.03, "high": 0.07, "p": 1e-6, "method": "MixedLM", "n": 12,
           "n_rows": 24, "note": "ok"}  # fmt: skip
    return pd.DataFrame([{**row, **columns}]).reindex(columns=list(MIXED_COLUMNS))


def html_of(tmp_path, **tables):
    page = GroupPage(
        software_version="1.0", statements=(), facts={}, notes=(),
        images=pd.DataFrame(
            {"participant_id": ["sub-1"], "session_id": ["ses-a"], "tracer": ["pib"],
             "source": ["real"], "qc_flags": ["ok"]}
        ),
        tables=tables, columns={}, files={}, pairs=pd.DataFrame(), qc=pd.DataFrame(),
    )  # fmt: skip
    write_group_page(tmp_path / "group.html", page)
    return (tmp_path / "group.html").read_text()


def section(html, title):
    return next(part for part in html.split("<section")[1:] if f"<h2>{title}</h2>" in part)


def test_change_has_a_table_and_a_picture(tmp_path):
    part = section(html_of(tmp_path, change=changes()), "Change over the years, pib")
    assert "SUVr / year [95 %]" in part
    assert part.count("<img") == 1
    assert "intercept+slope" in part
    assert re.search(r"estimated from MRI: its change is one of the anatomy", part)


def test_change_that_cannot_be_told_has_its_reason_and_no_picture(tmp_path):
    part = section(html_of(tmp_path, change=changes(n=7)), "Change over the years, pib")
    assert "7 participants with two scans, needs 8" in part
    assert "<img" not in part


def test_the_effect_of_the_source_has_a_table_and_a_picture(tmp_path):
    title = "Whether the source changes the values"
    part = section(html_of(tmp_path, mixed=effects()), title)
    assert "+0.0500" in part
    assert "&lt; 0.0001" in part
    assert part.count("<img") == 1
    few = effects(estimate=np.nan, term=None, note="7 participants, needs 8")
    part = section(html_of(tmp_path, mixed=few), title)
    assert "7 participants, needs 8" in part
    assert "<img" not in part


@pytest.mark.parametrize("n", [1, 9])
def test_a_line_for_each_interval(n):
    """The picture grows with its lines; a dot of each colour is in it."""
    rows = pd.concat([changes()] * n, ignore_index=True)
    with Image.open(io.BytesIO(change_figure(rows, tracer="pib"))) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        height = image.height
    for colour in ((0x3B, 0x7D, 0x4F), (0x1F, 0x5F, 0x8B)):  # measured, synthetic
        assert (pixels == colour).all(axis=1).sum() > 20 * n
    more = pd.concat([rows, rows], ignore_index=True)
    with Image.open(io.BytesIO(change_figure(more, tracer="pib"))) as image:
        assert image.height >= height
    with Image.open(io.BytesIO(effects_figure(effects()))) as image:
        assert image.format == "WEBP"
