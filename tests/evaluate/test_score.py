import numpy as np
import pandas as pd
import pytest

from relad_bids.errors import EmptyRegionError
from relad_bids.evaluate.cases import Answer
from relad_bids.evaluate.score import Held, image_rows, texture_rows_of, voi_rows

PRIMARY = "amyloid-composite"


@pytest.fixture
def make_held(make_person, cortex):
    """The truth of one person beside samples and floors of given cortical levels."""

    def make(*levels, gain=1.0, one_unit=True, **floors):
        images = make_person(2, 1.5, noise=0.0).images()

        def level(value, by=1.0):
            return np.where(images.mask, by * np.where(cortex, value, 1.0), 0).astype(np.float32)

        return Held(
            Answer(np.stack([level(value, gain) for value in levels])),
            images.suvr["pib"],
            {name: level(value) for name, value in floors.items()},
            images.mask,
            one_unit,
        )

    return make


def rows_of(held, regions, way="own"):
    table = pd.DataFrame(voi_rows(held, regions, "pib"))
    return table[(table["voi"] == PRIMARY) & (table["divided_by"] == way)].iloc[0]


def test_values_are_those_of_the_cortex(make_held, regions):
    held = make_held(1.2, 1.3, 1.7, mean=1.4, permuted=1.9)
    found = rows_of(held, regions)
    assert found[["estimate", "truth", "mean", "permuted"]].tolist() == pytest.approx(
        [1.4, 1.5, 1.4, 1.9]
    )
    assert found["spread"] == pytest.approx(np.std([1.2, 1.3, 1.7], ddof=1))
    assert found["rank"] == 2
    # |0.3| |0.2| |0.2| on average, less half of the mean distance of two: 0.1, 0.4, 0.5 by 3 / 2
    assert found["crps"] == pytest.approx(0.7 / 3 - 1.0 / 6)


def test_a_gain_is_seen_by_the_real_reference_alone(make_held, regions):
    held = make_held(1.5, gain=1.2, mean=1.4)
    own, real = (rows_of(held, regions, way) for way in ("own", "real"))
    assert (own["estimate"], real["estimate"]) == pytest.approx((1.5, 1.8))
    assert (own["truth"], real["truth"]) == pytest.approx((1.5, 1.5))
    assert (own["mean"], real["mean"]) == pytest.approx((1.4, 1.4))


def test_without_a_common_unit_only_ratios_are_compared(make_held, regions):
    held = make_held(1.5, gain=1e-3, one_unit=False)
    voi = pd.DataFrame(voi_rows(held, regions, "pib"))
    image = pd.DataFrame(image_rows(held, regions, "pib", suvr_range=4.0))
    assert set(voi["divided_by"]) == {"own"}
    assert set(image["divided_by"]) == {"own", "extremes"}
    assert image.query("metric == 'voxel_mae'")["value"].max() == pytest.approx(0, abs=1e-6)


def test_tissues_and_floors_of_the_images(make_held, regions):
    held = make_held(1.8, mean=1.4)
    table = pd.DataFrame(image_rows(held, regions, "pib", suvr_range=4.0))
    mae = table.query("metric == 'voxel_mae' and divided_by == 'own'").set_index("voi")
    assert mae.index.tolist() == ["brain", "grey-matter", "white-matter"]
    share = (regions.labels[regions.grey & held.mask] // 1000 % 3 > 0).mean()
    assert mae.loc["grey-matter", "value"] == pytest.approx(0.3 * share, rel=1e-5)
    assert mae.loc["grey-matter", "mean"] == pytest.approx(0.1 * share, rel=1e-5)
    assert mae.loc["white-matter", "value"] == pytest.approx(0, abs=1e-6)
    assert set(table.query("voi == 'whole-fov'")["metric"].str[:13]) == {"paper_compat_"}


def test_the_range_of_psnr_is_given(make_held, regions):
    held = make_held(1.8)

    def psnr(top):
        table = pd.DataFrame(image_rows(held, regions, "pib", suvr_range=top))
        return table.query("metric == 'psnr' and divided_by == 'own'")["value"].iloc[0]

    assert psnr(4.0) - psnr(2.0) == pytest.approx(20 * np.log10(2))


def test_labels_outside_the_brain_do_not_count(make_held, regions):
    """A brain mask that cuts half the head: the VOI is what is left of it."""
    from dataclasses import replace

    held = make_held(1.5)
    half = held.mask.copy()
    half[:9] = False
    bright = np.where(half, held.truth, 9.0).astype(np.float32)
    found = rows_of(replace(held, mask=half, truth=bright), regions)
    assert found["truth"] == pytest.approx(1.5)


def test_pet_that_does_not_reach_a_voi(make_held, regions, cortex):
    """Missing is not low: the row is there and empty, and its rank is not 0."""
    from dataclasses import replace

    held = make_held(1.4, 1.6)
    cut = np.where(cortex, np.nan, held.truth).astype(np.float32)
    found = rows_of(replace(held, truth=cut), regions)
    assert np.isnan(found[["truth", "rank", "crps"]].astype(float)).all()
    assert found["estimate"] == pytest.approx(1.5)


def test_an_image_without_uptake_has_no_ratio(make_held, regions):
    with pytest.raises(EmptyRegionError, match="must be above 0"):
        list(voi_rows(make_held(1.5, gain=0.0), regions, "pib"))


def test_texture_names_labels_and_stands_beside_the_ridge(make_held, regions):
    table = pd.DataFrame(texture_rows_of(make_held(1.2, 1.8, ridge=1.6), regions, "pib"))
    assert set(table["answer"]) == {"estimate", "one-sample"}
    assert "Left-Hippocampus" in set(table["voi"])
    assert not table["voi"].str.isdigit().any()
    assert table["ridge"].notna().any()
