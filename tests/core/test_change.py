import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.regression.mixed_linear_model import MixedLM

from relad_bids.core.change import CHANGE_COLUMNS, change_table


def scans(rng, n=60, visits=4, *, slope=0.03, sd_slope=0.015, sd=0.1, noise=0.03):
    own = slope + rng.normal(0, sd_slope, n)
    level = rng.normal(1.4, sd, n)
    person, visit = np.divmod(np.arange(n * visits), visits)
    years = visit * 1.5
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03}" for i in person],
            "tracer": "flortaucipir", "source": "real", "voi": "metatemporal",
            "years": years,
            "suvr": level[person] + own[person] * years + rng.normal(0, noise, n * visits),
            "age": rng.normal(70, 5, n)[person],
        }
    )  # fmt: skip


def test_a_known_change_is_found():
    row = change_table(scans(np.random.default_rng(1)), covariates=["age"]).iloc[0]
    assert list(row.index) == list(CHANGE_COLUMNS)
    # Standard error: sqrt(0.015^2 + 0.03^2 / 11.25) / sqrt(60) = 0.0023.
    assert row["annual_change"] == pytest.approx(0.03, abs=3 * 0.0023)
    assert row["se"] == pytest.approx(0.0023, rel=0.3)
    assert row["low"] < 0.03 < row["high"]
    assert row["sd_slope"] == pytest.approx(0.015, rel=0.4)
    assert row["sd_residual"] == pytest.approx(0.03, rel=0.15)
    assert (row["model"], row["note"], bool(row["converged"])) == ("intercept+slope", "ok", True)
    assert (row["n"], row["n_scans"], row["years"]) == (60, 240, 4.5)


def test_against_the_formula_interface():
    frame = scans(np.random.default_rng(2))
    fit = smf.mixedlm("suvr ~ years", frame, groups="participant_id", re_formula="~years").fit()
    row = change_table(frame).iloc[0]
    assert row["annual_change"] == pytest.approx(fit.params["years"], rel=1e-4)
    assert row["se"] == pytest.approx(fit.bse["years"], rel=1e-2)  # where the optimiser stops


def test_the_interval_keeps_its_promise():
    """Of 60 cohorts about 57 intervals hold the truth; 51 is the 0.5 % point of the binomial."""
    rng = np.random.default_rng(3)
    rows = [change_table(scans(rng, n=25)).iloc[0] for _ in range(60)]
    held = sum(row["low"] < 0.03 < row["high"] for row in rows)
    assert held >= 51


@pytest.mark.parametrize(("n", "model"), [(9, "intercept"), (10, "intercept+slope")])
def test_random_slopes_need_people_with_three_scans(n, model):
    rng = np.random.default_rng(4)
    many, few = scans(rng, n=n, visits=3), scans(rng, n=30, visits=2)
    few["participant_id"] = "z" + few["participant_id"]
    row = change_table(pd.concat([many, few])).iloc[0]
    assert row["model"] == model
    assert ("no random slopes" in row["note"]) == (model == "intercept")


@pytest.mark.parametrize(("n", "told"), [(7, False), (8, True)])
def test_fewest_people_with_two_scans(n, told):
    rng = np.random.default_rng(5)
    once = scans(rng, n=30, visits=1)
    once["participant_id"] = "z" + once["participant_id"]
    row = change_table(pd.concat([scans(rng, n=n, visits=2), once])).iloc[0]
    assert np.isfinite(row["annual_change"]) == told
    assert row["n"] == n
    assert told or row["note"] == "7 participants with two scans, needs 8"


def test_scans_of_one_day_are_no_change():
    frame = scans(np.random.default_rng(6)).assign(years=0.0)
    assert change_table(frame).iloc[0]["n"] == 0


class Broken:
    """A fit with random slopes of which one thing is not sound; without them it is sound."""

    def __init__(self, fit, **broken):
        self.fit, self.broken = fit, broken

    def __getattr__(self, name):
        return self.broken[name] if name in self.broken else getattr(self.fit, name)


@pytest.mark.parametrize(
    ("broken", "model", "note"),
    [
        ({}, "intercept+slope", "ok"),
        ({"converged": False}, "intercept", "random slopes did not converge"),
        ({"cov_re": np.diag([0.01, 0.0])}, "intercept", "random slopes did not converge"),
        ({"cov_re": np.diag([0.01, 1e-6])}, "intercept+slope", "ok"),
        ({"bse_fe": np.full(2, np.nan)}, "intercept", "random slopes did not converge"),
    ],
)
def test_random_slopes_that_are_not_sound_are_left_out(monkeypatch, broken, model, note):
    fit = MixedLM.fit

    def fitted(self, **settings):
        found = fit(self, **settings)
        return Broken(found, **broken) if self.k_re == 2 else found

    monkeypatch.setattr(MixedLM, "fit", fitted)
    row = change_table(scans(np.random.default_rng(7), n=30)).iloc[0]
    assert (row["model"], row["note"]) == (model, note)
    assert row["annual_change"] == pytest.approx(0.03, abs=0.01)


@pytest.mark.parametrize(
    ("broken", "note", "told"),
    [
        ({"converged": False}, "the fit did not converge: not to be relied on", True),
        ({"bse_fe": np.full(2, np.nan)}, "the mixed model could not be fitted", False),
    ],
)
def test_a_fit_that_is_not_sound_says_so(monkeypatch, broken, note, told):
    fit = MixedLM.fit
    monkeypatch.setattr(MixedLM, "fit", lambda self, **kw: Broken(fit(self, **kw), **broken))
    row = change_table(scans(np.random.default_rng(8), n=30, visits=2)).iloc[0]
    assert row["note"] == note
    assert not row["converged"]
    assert np.isfinite(row["annual_change"]) == told


def test_people_with_one_scan_have_no_say():
    rng = np.random.default_rng(9)
    again = scans(rng, n=20)
    # Old and high: a slope between participants, if they counted.
    once = scans(rng, n=20, visits=1, slope=0).assign(years=6.0)
    once["participant_id"] = "z" + once["participant_id"]
    once["suvr"] += 1
    alone, both = (change_table(frame).iloc[0] for frame in (again, pd.concat([again, once])))
    assert both["annual_change"] == alone["annual_change"]
    assert both["n_scans"] == 80


def test_a_covariate_that_does_not_vary_tells_no_effect_apart():
    frame = scans(np.random.default_rng(10), n=20).assign(age=70.0)
    row = change_table(frame, covariates=["age"]).iloc[0]
    assert row["note"] == "the mixed model could not be fitted"
