import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from relad_bids.core.columns import SYNTHETIC_STATEMENT
from relad_bids.core.evaluation import evaluate, mean_scores
from relad_bids.reports import charts
from relad_bids.reports.evaluation_page import EvaluationPage, write_evaluation_page
from relad_bids.reports.evaluation_rows import (
    REGIONAL,
    Measure,
    in_short,
    lines,
    more_blocks,
    n_of,
    number,
    with_interval,
)

NAN = np.nan


def agreement_rows(model, mae, mean, permuted):
    return {
        "model": model, "metric": "mae", "value": mae, "low": mae - 0.01, "high": mae + 0.02,
        "n": 12, "mean": mean, "permuted": permuted, "ridge": NAN,
    }  # fmt: skip


MAE = (Measure("mae", "MAE", 3),)


def test_a_floor_that_all_models_share_is_printed_once():
    table = pd.DataFrame(
        [agreement_rows("a", 0.1, 0.2, 0.31), agreement_rows("b", 0.15, 0.2, 0.32)]
    )
    assert [(line.name, line.cells, line.is_floor) for line in lines(table, MAE)] == [
        ("a", ("0.100 [0.090, 0.120]",), False),
        ("floor: somebody else's", ("0.310",), True),
        ("b", ("0.150 [0.140, 0.170]",), False),
        ("floor: somebody else's", ("0.320",), True),
        ("floor: training mean", ("0.200",), True),
    ]


def test_floors_of_different_trainings_stay_with_their_models():
    table = pd.DataFrame([agreement_rows("a", 0.1, 0.2, 0.3), agreement_rows("b", 0.1, 0.25, 0.3)])
    assert [line.name for line in lines(table, MAE)] == [
        "a", "floor: training mean", "b", "floor: training mean", "floor: somebody else's",
    ]  # fmt: skip


def test_a_measure_that_is_not_there_is_missing():
    table = pd.DataFrame([agreement_rows("a", 0.1, 0.2, 0.3)])
    assert lines(table, REGIONAL)[0].cells == ("0.100 [0.090, 0.120]", *["n/a"] * 5)


@pytest.mark.parametrize(
    ("values", "signed", "text"),
    [
        ((0.1234, 0.1, 0.2), False, "0.12 [0.10, 0.20]"),
        ((0.1234, -0.1, 0.2), True, "+0.12 [-0.10, +0.20]"),
        ((0.1234, NAN, NAN), False, "0.12"),
        ((0.1234, 0.1, NAN), False, "0.12"),
        ((NAN, NAN, NAN), False, "n/a"),
    ],
)
def test_numbers_with_their_interval(values, signed, text):
    assert with_interval(*values, 2, signed=signed) == text


def test_numbers_that_are_none():
    assert [number(value, 1) for value in (NAN, np.inf, -0.04)] == ["n/a", "infinite", "-0.0"]
    assert n_of(pd.DataFrame({"n": [11, 12]})) == "n = 11 to 12"
    assert n_of(pd.DataFrame({"n": []})) == "n = 0"


def test_in_short_only_the_declared_voi_counts():
    skill = pd.DataFrame(
        {
            "tracer": "pib", "model": "a", "n": 12, "primary": [True, True, True, False],
            "verdict": ["better than the ridge", "no better than the mean", "worse than age",
                        "better than everything"],
        }
    )  # fmt: skip
    (found,) = in_short(skill)
    assert found.better == ("the ridge",)
    assert found.others == ("the mean", "worse than age")


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(6)
    rows = []
    for model, keeps in (("one-1+abc", 0.8), ("two-1+def", 0.2)):
        for i in range(12):
            for voi in ("amyloid-composite", "putamen"):
                truth = 1.4 + 0.2 * np.sin(i)
                estimate = 1.4 + keeps * (truth - 1.4) + rng.normal(0, 0.02)
                rows.append(
                    {"model": model, "participant_id": f"sub-{i:02}", "tracer": "pib",
                     "voi": voi, "divided_by": "own", "estimate": estimate, "truth": truth,
                     "mean": 1.4}
                )  # fmt: skip
    pairs = pd.DataFrame(rows)
    settings = {"rng": rng, "floors": ["mean"], "n_draws": 200}
    agreed = pd.concat(
        evaluate(own, **settings).assign(model=model, divided_by="own")
        for model, own in pairs.groupby("model")
    )
    skill = agreed[agreed["metric"] == "skill_mean"].assign(
        floor="mean", primary=lambda t: t["voi"] == "amyloid-composite",
        verdict="better than the training mean",
    ).rename(columns={"value": "skill"})  # fmt: skip
    scores = pairs.assign(voi="brain", metric="psnr", value=30.0, mean=28.0)
    image = mean_scores(scores, **settings).assign(model="one-1+abc", divided_by="own")
    texture = image.assign(metric="local_sd_ratio", answer="estimate").drop(columns="mean")
    comparison = pd.DataFrame(
        {"of": "primary", "tracer": "pib", "model": "one-1+abc", "other": "two-1+def",
         "difference": -0.02, "low": -0.03, "high": -0.01, "effect": -1.2, "p": 0.002,
         "p_wilcoxon": 0.003, "p_adjusted": 0.004, "n": 12}, index=[0]
    )  # fmt: skip
    unusual = pd.DataFrame(
        {"model": "one-1+abc", "participant_id": ["sub-00", "sub-01"], "ood_flag": [True, False],
         "ood_reasons": ["<dark> FLAIR", None]}
    )  # fmt: skip
    ranks = pd.DataFrame(
        {"model": "one-1+abc", "tracer": "pib", "voi": "amyloid-composite", "rank": [0, 1, 2],
         "count": [4, 5, 3], "expected": 4.0, "n": 12}
    )  # fmt: skip
    positive = pd.DataFrame(
        {"model": "one-1+abc", "tracer": "pib", "voi": "amyloid-composite", "cutoff": 1.42,
         "metric": ["roc_auc", "sensitivity"], "value": NAN, "low": NAN, "high": NAN, "n": 12,
         "n_positive": 5, "n_negative": 7, "note": "fewer than 8"}
    )  # fmt: skip
    return {
        "desc-voi_pairs": pairs, "desc-voi_agreement": agreed, "desc-voi_skill": skill,
        "desc-image_agreement": image, "desc-image_texture": texture,
        "desc-model_comparison": comparison, "desc-mri_ood": unusual, "desc-voi_ranks": ranks,
        "desc-voi_positivity": positive,
    }  # fmt: skip


@pytest.fixture(scope="module")
def html(tables, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "evaluation.html"
    page = EvaluationPage(
        software_version="0.1.0", cohort="12 phantoms", held_to="simulated",
        statements={"one-1+abc": "Trained on <phantoms>.", "two-1+def": "A rival."},
        primary={"pib": "amyloid-composite"}, references={"pib": "cerebellum-whole"},
        facts={"Seed": "4"}, notes=("a note & more",), tables=tables,
        definitions={"mae": "mean of |estimate - truth|"},
    )  # fmt: skip
    write_evaluation_page(path, page)
    return path.read_text(encoding="utf-8")


def test_the_page_says_what_it_is(html):
    assert SYNTHETIC_STATEMENT in html
    assert "Trained on &lt;phantoms&gt;." in html
    assert "pib, amyloid-composite (primary VOI), n = 12" in html
    assert "Synthetic SUVr against simulated SUVr" in html
    assert "Reference region: cerebellum-whole" in html
    assert "a note &amp; more" in html
    assert "mean of |estimate - truth|" in html


def test_verdicts_comparisons_and_flags_are_in_words(html):
    assert html.count("better than the training mean</span>") == 2
    assert "-0.0200 [-0.0300, -0.0100]" in html
    assert "sub-00: &lt;dark&gt; FLAIR" in html
    assert "sub-01" not in html
    assert "fewer than 8" in html
    assert html.count("roc auc") == 1
    assert "sensitivity" not in html, "where there is no value, one line says why"


def test_the_page_needs_nothing_else(html):
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert html.count("data:image/webp;base64,") == 3
    for target in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{target}"' in html


def test_blocks_that_have_no_rows_are_left_out(tables):
    titles = [block.title for block in more_blocks(tables, "pib", "amyloid-composite")]
    assert titles == [
        "Voxels of the brain, own reference, n = 12",
        "Texture of the estimate, n = 12",
    ]


def texts_of(monkeypatch, draw):
    """Everything that a chart has written on it."""
    kept = []
    encode = charts.encoded

    def keep(figure):
        kept.append(figure)
        monkeypatch.setattr(figure, "clear", lambda: None)  # it is read afterwards
        return encode(figure)

    monkeypatch.setattr(charts, "encoded", keep)
    picture = draw()
    assert Image.open(io.BytesIO(picture)).format == "WEBP"
    (figure,) = kept
    texts = [(a.get_title(loc="left"), a.get_xlabel(), a.get_ylabel()) for a in figure.axes]
    return figure, texts


def test_every_chart_says_n_and_synthetic(monkeypatch, tables):
    chosen = {"tracer": "pib", "voi": "amyloid-composite"}
    pairs = tables["desc-voi_pairs"].query("voi == 'amyloid-composite'")
    draws = {
        2 * 2: lambda: charts.agreement_figure(pairs, **chosen, held_to="measured"),
        1: lambda: charts.skill_figure(
            tables["desc-voi_skill"], tracer="pib", floor="mean", words="the training mean"
        ),
    }
    for n_axes, draw in draws.items():
        with monkeypatch.context() as patch:
            _, texts = texts_of(patch, draw)
        assert len(texts) == n_axes
        for title, across, up in texts:
            assert "n = 12" in title
            assert "synthetic" in title
            assert across
            assert up or n_axes == 1
    with monkeypatch.context() as patch:
        _, texts = texts_of(patch, lambda: charts.rank_figure(tables["desc-voi_ranks"], **chosen))
    assert "n = 12, synthetic" in texts[0][0]


def test_the_plots_show_the_numbers(monkeypatch, tables):
    """Dots of the scatter, and the line of the bias."""
    pairs = tables["desc-voi_pairs"].query("model == 'one-1+abc' and voi == 'putamen'")
    figure, texts = texts_of(
        monkeypatch,
        lambda: charts.agreement_figure(pairs, tracer="pib", voi="putamen", held_to="measured"),
    )
    left, right = figure.axes
    np.testing.assert_allclose(
        left.collections[0].get_offsets(), pairs[["truth", "estimate"]].to_numpy()
    )
    difference = pairs["estimate"] - pairs["truth"]
    np.testing.assert_allclose(right.collections[0].get_offsets()[:, 1], difference)
    heights = [line.get_ydata()[0] for line in right.get_lines()]
    assert any(np.isclose(difference.mean(), height) for height in heights)
    assert any(np.isclose(difference.mean() + 1.96 * difference.std(), h) for h in heights)
    assert texts[0][1:] == ("measured SUVr", "synthetic SUVr")


def test_one_participant_can_be_drawn(tables):
    one = tables["desc-voi_pairs"].query("participant_id == 'sub-00'")
    assert charts.agreement_figure(one, tracer="pib", voi="putamen", held_to="measured")
