import numpy as np
import pytest

from relad_bids.core.combat import COMBAT_COLUMNS, learn
from relad_bids.errors import DataError

N, V = 60, 25
SITES = ("a", "b", "c")


def cohort(rng, *, shift=(0.0, 0.15, -0.1), scale=(1.0, 1.6, 0.7), slope=0.01, n=N):
    """``n`` participants of each of three sites; age is older at the third."""
    site = np.repeat(SITES, n)
    at = np.repeat(range(3), n)
    age = rng.normal(70, 8, 3 * n) + 4 * (at == 2)
    level = rng.uniform(1.0, 1.6, V)
    tilt = slope * rng.uniform(0.5, 1.5, V)
    noise = rng.normal(0, 0.1, (3 * n, V)) * np.array(scale)[at, None]
    of_site = np.array(shift)[:, None] + rng.normal(0, 0.02, (3, V))
    values = level + np.outer(age - 70, tilt) + of_site[at] + noise
    return values, site, age[:, None], tilt


def slopes(values, age):
    return np.polyfit(age[:, 0], values, 1)[0]


def test_a_known_shift_goes_and_a_known_effect_of_age_stays():
    values, site, age, tilt = cohort(np.random.default_rng(1))
    clean = learn(values, site, age).apply(values, site, age)
    expected = clean - np.outer(age[:, 0] - 70, tilt)
    means = np.stack([expected[site == one].mean(0) for one in SITES])
    # 0.15 and 0.1 between sites before; what is left is noise, 0.1 * sqrt(2 / 60) = 0.018,
    # and the part of the regional scatter of 0.02 that empirical Bayes draws in.
    assert np.ptp(means, axis=0).mean() < 0.03
    assert np.ptp([values[site == one].mean() for one in SITES]) > 0.15
    spread = np.stack([expected[site == one].std(0) for one in SITES]).mean(1)
    assert spread.max() / spread.min() < 1.15  # 1.6 / 0.7 = 2.3 before
    # Within sites: across them age and site are confounded until the shift is gone.
    within = np.mean([slopes(clean[site == one], age[site == one]) for one in SITES], axis=0)
    assert within.mean() == pytest.approx(tilt.mean(), rel=0.1)
    # Standard error of a slope over 180 people: 0.1 / (8 sqrt(180)) = 0.001, a tenth of it.
    assert slopes(clean, age).mean() == pytest.approx(tilt.mean(), rel=0.1)


def test_sites_that_do_not_differ_are_left_nearly_as_they_are():
    rng = np.random.default_rng(2)
    site, none = np.repeat(SITES, N), np.empty((3 * N, 0))
    values = 1.3 + rng.normal(0, 0.1, (3 * N, V))
    clean = learn(values, site, none).apply(values, site, none)
    # Drawn in over 25 regions, a chance shift is about 0.1 / sqrt(60 * 25) = 0.003.
    assert np.abs(clean - values).mean() < 0.01


def test_applied_to_others_it_uses_what_was_learnt():
    """Half of the people teach; in others the shift goes too, and nothing of theirs is used."""
    values, site, age, _ = cohort(np.random.default_rng(3), n=80)
    first = np.tile(np.arange(80) < 40, 3)
    model = learn(values[first], site[first], age[first])
    clean = model.apply(values[~first], site[~first], age[~first])
    means = [clean[site[~first] == one].mean() for one in ("a", "b")]
    assert abs(means[0] - means[1]) < 0.03
    alone = model.apply(values[~first][:1], site[~first][:1], age[~first][:1])
    np.testing.assert_allclose(alone[0], clean[0])


def reference(y, site, x):
    """Written after the steps of Johnson 2007, one site and region at a time."""
    names = sorted(set(site))
    design = np.column_stack([*[(site == one).astype(float) for one in names], x])
    b = np.linalg.solve(design.T @ design, design.T @ y)
    share = np.array([(site == one).mean() for one in names])
    stand = share @ b[: len(names)] + x @ b[len(names) :]
    pooled = ((y - design @ b) ** 2).mean(0)
    z = (y - stand) / np.sqrt(pooled)
    out = np.empty_like(y)
    for one in names:
        zi = z[site == one]
        g_hat, d_hat, n = zi.mean(0), zi.var(0, ddof=1), len(zi)
        g_bar, t2 = g_hat.mean(), g_hat.var(ddof=1)
        m, s2 = d_hat.mean(), d_hat.var(ddof=1)
        a, c = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
        for v in range(y.shape[1]):
            g, d = g_hat[v], d_hat[v]
            for _ in range(500):
                g = (t2 * n * g_hat[v] + d * g_bar) / (t2 * n + d)
                d = (0.5 * ((zi[:, v] - g) ** 2).sum() + c) / (n / 2 + a - 1)
            scaled = (zi[:, v] - g) / np.sqrt(d)
            out[site == one, v] = scaled * np.sqrt(pooled[v]) + stand[site == one, v]
    return out


def test_against_the_steps_of_the_paper():
    values, site, age, _ = cohort(np.random.default_rng(4), n=15)
    clean = learn(values, site, age).apply(values, site, age)
    # The iteration ends at a relative change of 1e-6 of quantities of order 0.1.
    np.testing.assert_allclose(clean, reference(values, site, age), atol=1e-6)


def test_effects_are_told_in_suvr():
    values, site, age, _ = cohort(np.random.default_rng(5))
    table = learn(values, site, age).effects([f"v{i}" for i in range(V)])
    assert list(table) == list(COMBAT_COLUMNS)
    assert len(table) == 3 * V
    mean = table.groupby("site")["shift"].mean()
    # Shifts about their mean of 0.0167; standard error over regions and people below 0.01.
    assert mean["b"] - mean["a"] == pytest.approx(0.15, abs=0.03)
    assert table.groupby("site")["scale"].mean()["b"] > 1.2


def test_a_region_that_does_not_vary_is_left_alone():
    values, site, age, _ = cohort(np.random.default_rng(6))
    values[:, 3] = 1.0
    clean = learn(values, site, age).apply(values, site, age)
    assert (clean[:, 3] == 1.0).all()
    assert np.isfinite(clean).all()


@pytest.mark.parametrize(("n", "allowed"), [(9, False), (10, True)])
def test_smallest_site(n, allowed):
    values, site, age, _ = cohort(np.random.default_rng(7), n=12)
    keep = (site != "b") | (np.cumsum(site == "b") <= n)
    if allowed:
        learn(values[keep], site[keep], age[keep])
    else:
        with pytest.raises(DataError, match=r"b \(9\) with too few .* at least 10"):
            learn(values[keep], site[keep], age[keep])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"site": np.repeat("a", 3 * N)}, "a single one"),
        ({"age": (np.repeat(range(3), N) == 1).astype(float)[:, None]}, "told apart"),
        ({"values": np.full((3 * N, V), np.nan)}, "holes"),
        ({"values": np.ones((3 * N, V))}, "0 regions vary; ComBat needs 3"),
    ],
)
def test_what_cannot_be_learnt(change, message):
    values, site, age, _ = cohort(np.random.default_rng(8))
    given = {"values": values, "site": site, "age": age, **change}
    with pytest.raises(DataError, match=message):
        learn(given["values"], given["site"], given["age"])


def test_a_site_that_was_not_learnt():
    values, site, age, _ = cohort(np.random.default_rng(9))
    with pytest.raises(DataError, match="sites d were to be harmonised; learnt were a, b, c"):
        learn(values, site, age).apply(values[:1], ["d"], age[:1])
