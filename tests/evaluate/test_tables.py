"""Tables of rows that were made by hand: twelve people, one of them scanned twice."""

import numpy as np
import pandas as pd
import pytest

from relad_bids.core.calibration import conformal_factor
from relad_bids.evaluate.tables import Terms, all_tables

TERMS = Terms(
    primary={"pib": "neocortex"}, n_samples={"draws": 5, "knows": 1}, seed=2, n_draws=200
)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(12)
    sessions = [(f"sub-{i:02}", None) for i in range(12)] + [("sub-03", "ses-2")]
    voi, image, texture, inputs = [], [], [], []
    for model in ("draws", "knows"):
        for person, session in sessions:
            keys = {
                "model": model, "participant_id": person, "session_id": session, "tracer": "pib",
            }  # fmt: skip
            for name in ("neocortex", "amyloid-composite"):
                truth = rng.normal(1.4, 0.3)
                spread = {"spread": rng.uniform(0.05, 0.2), "crps": 0.03, "rank": 2.0}
                voi += [
                    {**keys, "voi": name, "divided_by": way, "truth": truth,
                     "estimate": truth + rng.normal(0, 0.1), "mean": 1.4,
                     **(spread if model == "draws" else {})}
                    for way in ("own", "real")
                ]  # fmt: skip
            image += [
                {**keys, "voi": "brain", "metric": metric, "n_voxels": 9, "divided_by": way,
                 "value": rng.uniform(0.1, 0.2), "mean": 0.3}
                for way, metric in (("own", "voxel_mae"), ("real", "voxel_mae"), ("own", "psnr"))
            ]  # fmt: skip
            texture.append(
                {**keys, "voi": "brain", "metric": "local_sd_ratio", "n_voxels": 9,
                 "answer": "estimate", "value": 0.8, "ridge": 0.5}
            )  # fmt: skip
            inputs.append({**keys, "ood_score": 1.0, "ood_flag": False, "ood_reasons": None})
    frames = {"voi": voi, "image": image, "texture": texture, "input": inputs}
    return {name: pd.DataFrame(found) for name, found in frames.items()}


@pytest.fixture(scope="module")
def tables(rows):
    return all_tables(rows, TERMS)


def own(rows, model, voi):
    voi = rows["voi"].query("model == @model and voi == @voi and divided_by == 'own'")
    return voi.drop_duplicates("participant_id")


@pytest.mark.parametrize(("model", "times"), [("draws", "spread"), ("knows", "SUVr")])
def test_conformal_factors_by_hand(rows, tables, model, times):
    here = own(rows, model, "neocortex")
    spread = here["spread"] if model == "draws" else np.ones(12)
    expected = conformal_factor(here["estimate"] - here["truth"], spread, level=0.9)
    found = tables["desc-voi_conformal"].rows.query("model == @model and voi == 'neocortex'")
    assert found["factor"].tolist() == pytest.approx([expected])
    assert found["times"].tolist() == [times]
    assert found["n"].tolist() == [12], "the second scan of a person is not one person more"


def test_agreement_uses_all_scans_of_all_people(tables):
    found = tables["desc-voi_agreement"].rows
    assert (found["n"] == 12).all()
    assert (found["n_scans"] == 13).all()
    assert set(zip(found["model"], found["divided_by"], strict=True)) == {
        (model, way) for model in ("draws", "knows") for way in ("own", "real")
    }
    assert set(found.loc[found["primary"], "voi"]) == {"neocortex"}


def test_spread_is_judged_where_there_is_one(tables):
    for name in ("desc-voi_calibration", "desc-voi_ranks"):
        assert tables[name].rows["model"].unique().tolist() == ["draws"]
    ranks = tables["desc-voi_ranks"].rows.query("voi == 'neocortex'")
    assert ranks["count"].tolist() == [0, 0, 12, 0, 0, 0]
    spread = tables["desc-voi_calibration"].rows.set_index(["voi", "metric"])
    assert spread.loc[("neocortex", "crps"), "value"] == pytest.approx(0.03)


def test_models_are_compared_by_three_errors(rows, tables):
    found = tables["desc-model_comparison"].rows.set_index("of")
    assert found.index.tolist() == ["primary", "all-vois", "brain"]
    image = rows["image"].query("divided_by == 'own' and metric == 'voxel_mae'")
    each = image.groupby(["model", "participant_id"])["value"].mean().groupby("model").mean()
    assert found.loc["brain", "difference"] == pytest.approx(each["draws"] - each["knows"])
    errors = rows["voi"].query("divided_by == 'own'").assign(
        error=lambda t: (t["estimate"] - t["truth"]).abs()
    )  # fmt: skip
    for of, chosen in (("primary", errors[errors["voi"] == "neocortex"]), ("all-vois", errors)):
        each = chosen.groupby(["model", "participant_id"])["error"].mean().groupby("model").mean()
        assert found.loc[of, "difference"] == pytest.approx(each["draws"] - each["knows"])


def test_one_model_is_compared_with_nobody(rows):
    alone = {name: table[table["model"] == "knows"] for name, table in rows.items()}
    assert "desc-model_comparison" not in all_tables(alone, TERMS)


def test_skill_is_of_the_own_reference(rows, tables):
    here = rows["voi"].query("model == 'knows' and voi == 'neocortex' and divided_by == 'own'")
    mse = ((here["estimate"] - here["truth"]) ** 2).mean() / ((1.4 - here["truth"]) ** 2).mean()
    found = tables["desc-voi_skill"].rows.query("model == 'knows' and primary")
    assert found["skill"].tolist() == pytest.approx([1 - mse])


def test_cut_offs_are_those_of_the_tracer(rows, tables):
    found = tables["desc-voi_positivity"].rows
    assert found["voi"].unique().tolist() == ["amyloid-composite"]
    assert found["cutoff"].unique().tolist() == [1.42]
    undeclared = rows["voi"].assign(tracer="tspo-undeclared")
    terms = Terms(primary={"tspo-undeclared": "neocortex"}, n_samples=TERMS.n_samples, seed=1,
                  n_draws=200)  # fmt: skip
    assert "desc-voi_positivity" not in all_tables({**rows, "voi": undeclared}, terms)


def test_every_column_is_described(tables):
    for name, table in tables.items():
        assert list(table.columns) == list(table.rows), name
        assert all(column["Description"] for column in table.columns.values())
        if "metric" in table.rows:
            assert set(table.columns["metric"]["Levels"]) == set(table.rows["metric"]), name


def test_one_seed_one_table(rows, tables):
    again = all_tables(rows, TERMS)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table.rows, again[name].rows)
