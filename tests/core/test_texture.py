import numpy as np
import pytest
from scipy import fft, ndimage

from relad_bids.core.texture import (
    BANDS,
    BIN_WIDTH,
    LOCAL_SIGMA_MM,
    TEXTURE_METRICS,
    spectrum,
    texture_rows,
)
from relad_bids.errors import DataError, GridMismatchError

POWERS = [f"power_{name}" for name in BANDS]
RATIOS = ["local_sd_ratio", "gradient_ratio", "voi_sd_ratio"]


def ellipsoid(shape, voxel_mm, radii_mm):
    """A brain in the middle of the array."""
    place = [
        (np.arange(n) - (n - 1) / 2) * size / radius
        for n, size, radius in zip(shape, voxel_mm, radii_mm, strict=True)
    ]
    return sum(axis**2 for axis in np.ix_(*place)) < 1


def frequencies(shape, voxel_mm):
    axes = [fft.fftfreq(n, size) for n, size in zip(shape, voxel_mm, strict=True)]
    return np.sqrt(sum(axis**2 for axis in np.ix_(*axes)))


def blurred(image, sigma_mm, voxel_mm):
    """By a Gaussian, without a border: the image goes on at its other side."""
    fall = np.exp(-2 * (np.pi * sigma_mm * frequencies(image.shape, voxel_mm)) ** 2)
    return fft.ifftn(fft.fftn(image) * fall).real


VOXEL = (2.5, 2.0, 2.2)
SHAPE = (38, 52, 44)


@pytest.fixture
def brain():
    return ellipsoid(SHAPE, VOXEL, (44, 48, 45))


@pytest.fixture
def labels():
    parts = np.indices(SHAPE) // np.array([14, 20, 16])[:, None, None, None]
    return (10 * parts[0] + 5 * parts[1] + parts[2]).astype(np.int32)


@pytest.fixture
def truth(rng):
    return 1.5 + 0.3 * blurred(rng.normal(size=SHAPE), 2.0, VOXEL)


@pytest.fixture
def estimate(rng, truth):
    return 1.4 + 0.6 * (truth - 1.5) + 0.1 * blurred(rng.normal(size=SHAPE), 1.5, VOXEL)


def rows(estimate, truth, brain, labels=None, voxel_mm=VOXEL, **settings):
    table = texture_rows(estimate, truth, brain, labels, voxel_mm=voxel_mm, **settings)
    return table[table["voi"] == "brain"].set_index("metric")["value"]


def test_table(estimate, truth, brain, labels):
    table = texture_rows(estimate, truth, brain, labels, voxel_mm=VOXEL)
    assert list(table) == ["voi", "metric", "value", "n_voxels"]
    whole, parts = table[table["voi"] == "brain"], table[table["voi"] != "brain"]
    assert whole["metric"].tolist() == list(TEXTURE_METRICS)
    assert (whole["n_voxels"] == brain.sum()).all()
    assert parts["voi"].tolist() == [str(n) for n in np.unique(labels[brain]) if n]
    assert set(parts["metric"]) == {"voi_sd_ratio"}


def test_an_image_has_its_own_texture(truth, brain, labels):
    found = rows(truth, truth, brain, labels)
    assert (found[[*POWERS[:-1], "spectral_distance"]] == 0).all()
    assert (found[RATIOS] == 1).all()


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_a_gain_is_twice_its_logarithm(truth, brain, labels, gain):
    found = rows(gain * truth, truth, brain, labels)
    np.testing.assert_allclose(found[POWERS[:-1]], 2 * np.log(gain))
    assert found["spectral_distance"] == pytest.approx(abs(2 * np.log(gain)))
    np.testing.assert_allclose(found[RATIOS], gain)


def test_an_offset_is_no_texture(estimate, truth, brain, labels):
    plain, moved = (rows(image, truth, brain, labels) for image in (estimate, estimate + 2))
    np.testing.assert_allclose(moved, plain, rtol=1e-9)


def test_exchanging_the_images_turns_the_signs(estimate, truth, brain, labels):
    one, two = (rows(*pair, brain, labels) for pair in ((estimate, truth), (truth, estimate)))
    np.testing.assert_allclose(one[POWERS], -two[POWERS])
    assert one["spectral_distance"] == pytest.approx(two["spectral_distance"])
    np.testing.assert_allclose(one[["local_sd_ratio", "gradient_ratio"]], 1 / two[RATIOS[:2]])


def test_power_of_white_noise_is_its_variance_at_every_frequency(rng, brain):
    """A bin of n frequencies, in mirrored pairs, knows its power to sqrt(2 / n); neighbours
    are smeared into each other, which leaves about half as many. Four of these errors."""
    found = spectrum(rng.normal(5, 0.3, SHAPE), brain, voxel_mm=VOXEL)
    wanted = found.n > 100
    assert wanted.sum() > 20
    error = 0.09 * np.sqrt(4 / found.n[wanted])
    np.testing.assert_array_less(np.abs(found.power[wanted] - 0.09), 4 * error)
    assert np.average(found.power[wanted], weights=found.n[wanted]) == pytest.approx(
        0.09, rel=0.03
    )


def test_spectrum_by_its_definition(rng):
    """A box that fills the array: the nearest voxel outside lies straight across one side."""
    shape, voxel = (13, 18, 15), (2.5, 2.0, 2.2)
    image = 1.3 + rng.normal(size=shape)
    across = [
        np.minimum(np.arange(n) + 1, n - np.arange(n)) * size
        for n, size in zip(shape, voxel, strict=True)
    ]
    depth = np.minimum.reduce(np.broadcast_arrays(*np.ix_(*across)))
    weight = np.sin(np.pi / 2 * np.clip(depth / 8.0, 0, 1)) ** 2
    assert weight.max() == 1
    assert weight.min() < 0.2
    y = image - (weight * image).sum() / weight.sum()
    power = np.abs(fft.fftn(weight * y)) ** 2 / (weight**2).sum()
    f, edges = frequencies(shape, voxel) + 1e-12, np.arange(33) * BIN_WIDTH
    count = np.histogram(f, edges)[0]
    found = spectrum(image, np.ones(shape, dtype=bool), voxel_mm=voxel)
    np.testing.assert_array_equal(found.n, count)
    total = np.histogram(f, edges, weights=power)[0]
    np.testing.assert_allclose(np.nan_to_num(found.power * found.n), total, atol=1e-12)
    assert np.isnan(found.power[count == 0]).all()


def test_bins(brain):
    """Centres up to the Nyquist frequency of the coarsest axis, 1 / (2 * 2.5 mm) = 0.2."""
    found = spectrum(np.zeros(SHAPE), brain, voxel_mm=VOXEL)
    np.testing.assert_allclose(found.frequency, (np.arange(32) + 0.5) * BIN_WIDTH)
    box = [int(np.ptp(np.flatnonzero(brain.any(other)))) + 1 for other in ((1, 2), (0, 2), (0, 1))]
    # Some frequencies lie on an edge, but for their rounding.
    f = frequencies(box, VOXEL) + 1e-12
    counts = np.histogram(f, np.arange(33) * BIN_WIDTH)[0]
    np.testing.assert_array_equal(found.n, counts)


@pytest.mark.parametrize("sigma_mm", [1.0, 2.0])
def test_a_blur_lowers_the_power_by_its_closed_form(rng, brain, sigma_mm):
    r"""Log power falls by (2 pi f sigma)^2. Smearing by the brain's width makes the steep end
    too high: compared up to a fall of 4, there to 0.3."""
    sharp = rng.normal(size=SHAPE)
    one, two = (
        spectrum(image, brain, voxel_mm=VOXEL)
        for image in (sharp, blurred(sharp, sigma_mm, VOXEL))
    )
    expected = -((2 * np.pi * one.frequency * sigma_mm) ** 2)
    here = (one.n > 100) & (expected > -4)
    fall = np.log(two.power[here] / one.power[here])
    np.testing.assert_allclose(fall, expected[here], atol=0.3)
    assert fall.min() < -1.2


def test_bands_of_a_blur(rng):
    """Noise in a brain that fills the array: the ratio of mean powers of each octave."""
    brain = np.ones(SHAPE, dtype=bool)
    sharp = rng.normal(size=SHAPE)
    found = rows(blurred(sharp, 1.5, VOXEL), sharp, brain)
    f = frequencies(SHAPE, VOXEL)
    for name, (low, high) in list(BANDS.items())[1:4]:
        inside = (f >= low) & (f < high)
        expected = np.log(np.exp(-((2 * np.pi * f[inside] * 1.5) ** 2)).mean())
        # 0.05 where a band has some hundred frequencies, of which each has its own power.
        assert found[f"power_{name}"] == pytest.approx(expected, abs=0.05), name


def test_spectral_distance_by_hand(estimate, truth, brain):
    one, two = (spectrum(image, brain, voxel_mm=VOXEL) for image in (estimate, truth))
    here = (one.frequency > 0.0125) & (one.n > 0)
    expected = np.sqrt(np.mean(np.log(one.power[here] / two.power[here]) ** 2))
    assert rows(estimate, truth, brain)["spectral_distance"] == pytest.approx(expected)


def test_spectral_distance_ends_where_pet_does(rng):
    """1 mm voxels: noise above 0.2 cycles/mm has a band of its own, and no say in the
    distance."""
    shape, voxel = (40, 44, 42), (1.0, 1.0, 1.0)
    noise, brain = rng.normal(size=shape), np.ones(shape, dtype=bool)
    f = frequencies(shape, voxel)
    fine = fft.ifftn(np.where((f > 0.26) & (f < 0.34), fft.fftn(rng.normal(size=shape)), 0)).real
    found = rows(noise + 3 * fine, noise, brain, voxel_mm=voxel)
    assert found["power_noise"] > 1
    assert found["spectral_distance"] < 0.2


@pytest.mark.parametrize(
    ("voxel", "finest"),
    [(1.25, "noise"), (1.3, "resolution"), (2.5, "resolution"), (2.6, "gyrus"), (5.1, "region")],
)
def test_bands_that_the_voxels_resolve(rng, voxel, finest):
    """Nyquist 0.4, 0.2 and 0.1 cycles/mm lie at 1.25, 2.5 and 5 mm of the coarsest axis."""
    shape = tuple(int(100 / size) for size in (1.0, voxel, 1.2))
    one, two = rng.normal(size=(2, *shape))
    found = rows(one, two, np.ones(shape, dtype=bool), voxel_mm=(1.0, voxel, 1.2))
    expected = list(BANDS)[: list(BANDS).index(finest) + 1]
    assert [name for name in BANDS if np.isfinite(found[f"power_{name}"])] == expected
    assert np.isfinite(found["spectral_distance"])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_wave_is_found_at_its_frequency_along_any_axis(axis):
    """0.08 cycles/mm, smeared by about one over the 95 to 104 mm of the array."""
    brain = np.ones(SHAPE, dtype=bool)
    x = np.arange(SHAPE[axis]) * VOXEL[axis]
    wave = np.cos(2 * np.pi * 0.08 * x).reshape([-1 if a == axis else 1 for a in range(3)])
    found = spectrum(np.broadcast_to(wave, SHAPE), brain, voxel_mm=VOXEL)
    total = np.nan_to_num(found.power * found.n)
    near = np.abs(found.frequency - 0.08) < 2.5 * BIN_WIDTH
    assert total[near].sum() > 0.85 * total.sum()


def test_axes_and_voxel_sizes_go_together(estimate, truth, brain, labels):
    order = (2, 0, 1)
    plain = rows(estimate, truth, brain, labels)
    turned = rows(
        *(a.transpose(order) for a in (estimate, truth, brain, labels)),
        voxel_mm=[VOXEL[axis] for axis in order],
    )
    np.testing.assert_allclose(turned, plain, rtol=1e-9)
    wrong = rows(*(a.transpose(order) for a in (estimate, truth, brain, labels)))
    assert abs(wrong["gradient_ratio"] - plain["gradient_ratio"]) > 1e-4


def test_a_slope_across_the_brain_does_not_reach_the_fine_bins(rng, brain):
    """From one side to the other 20 times the noise. Cut off at the surface it nearly triples
    the power at 5 to 10 mm (ln 1.04), with the softened surface it adds an eighth."""
    noise = 0.01 * rng.normal(size=SHAPE)
    slope = 0.1 * np.linspace(-1, 1, SHAPE[1])[:, None]
    found = rows(noise + slope, noise, brain)
    assert 0 < found["power_resolution"] < 0.25
    assert found["power_lobe"] > 5


def test_a_hole_in_the_brain_has_a_surface(rng, brain):
    """As above: 0.09 where the weights fall towards it, 0.66 where they do not."""
    hole = ellipsoid(SHAPE, VOXEL, (12, 12, 12))
    depth = ndimage.distance_transform_edt(~hole, sampling=VOXEL)
    noise = 0.01 * rng.normal(size=SHAPE)
    found = rows(noise + 0.1 * np.cos(depth / 25), noise, brain & ~hole)
    assert 0 < found["power_resolution"] < 0.25


def test_what_is_the_same_in_everybody_hides_what_is_individual(rng, truth, brain):
    """The estimate keeps half of the individual part: 2 ln 0.5 with the mean taken off, and
    close to none where the mean stands in both."""
    mean = truth + 3 * blurred(rng.normal(size=SHAPE), 3.0, VOXEL)
    person = mean + 0.2 * blurred(rng.normal(size=SHAPE), 3.0, VOXEL)
    half = (mean + person) / 2
    found = rows(half, person, brain, mean=mean)
    np.testing.assert_allclose(found[POWERS[:4]], 2 * np.log(0.5))
    assert abs(rows(half, person, brain)["power_gyrus"]) < 0.3
    plain = rows(half, person, brain)
    assert found[RATIOS[:2]].tolist() == plain[RATIOS[:2]].tolist()


def test_the_mean_itself_has_no_individual_texture(truth, brain, labels):
    mean = truth**2
    found = rows(mean, truth, brain, labels, mean=mean)
    assert (found[POWERS[:4]] == -np.inf).all()
    assert found["spectral_distance"] == np.inf
    assert (found[RATIOS] > 0.5).all()


def test_a_truth_without_texture(estimate, truth, brain, labels):
    """What rounding leaves of a constant is none."""
    found = rows(estimate, np.full(SHAPE, 1.3), brain, labels)
    assert found.isna().all()
    found = rows(estimate, truth, brain, labels, mean=truth)
    assert found[[*POWERS, "spectral_distance"]].isna().all()


def test_what_lies_outside_the_brain_does_not_count(estimate, truth, brain, labels):
    plain = rows(estimate, truth, brain, labels, mean=truth / 2)
    other = [np.where(brain, image, 50.0) for image in (estimate, truth, truth / 2)]
    found = rows(*other[:2], brain, np.where(brain, labels, 9999), mean=other[2])
    np.testing.assert_allclose(found, plain, rtol=1e-12)


def test_how_much_background_there_is_does_not_count(estimate, truth, brain, labels):
    def wide(image):
        return np.pad(image, [(3, 9), (0, 12), (2, 1)])

    plain = rows(estimate, truth, brain, labels)
    found = rows(*(wide(image) for image in (estimate, truth, brain, labels)))
    np.testing.assert_allclose(found, plain, rtol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_voxel_without_a_value_is_outside_the_brain(estimate, truth, brain, labels, value):
    mean = truth / 2
    images = [estimate.copy(), truth.copy(), mean.copy()]
    smaller = brain.copy()
    for image, place in zip(images, [(19, 26, 22), (15, 20, 22), (20, 30, 25)], strict=True):
        image[place] = value
        smaller[place] = False
    found = rows(*images[:2], brain, labels, mean=images[2])
    expected = rows(estimate, truth, smaller, np.where(smaller, labels, 0), mean=mean)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_float32_images_are_measured_in_double(estimate, truth, brain, labels):
    """The same numbers, to the last bit, as of the same values in double."""
    single = [image.astype(np.float32) for image in (estimate, truth)]
    double = [image.astype(np.float64) for image in single]
    assert rows(*single, brain, labels).equals(rows(*double, brain, labels))


def test_an_empty_brain_has_no_values(estimate, truth, labels):
    table = texture_rows(estimate, truth, np.zeros(SHAPE, dtype=bool), labels, voxel_mm=VOXEL)
    assert table["value"].isna().all()
    assert table["metric"].tolist() == list(TEXTURE_METRICS)


def test_local_sd_by_its_definition(rng):
    """Weights written out, for a brain of a few hundred voxels; the filter's window ends at 4
    sigma, which is worth less than 0.1 %."""
    shape, voxel = (12, 9, 10), (2.0, 3.0, 2.5)
    brain = ellipsoid(shape, voxel, (11, 12, 11))
    place = np.argwhere(brain) * voxel
    apart = ((place[:, None] - place) ** 2).sum(-1)
    weight = np.exp(-apart / (2 * LOCAL_SIGMA_MM**2))
    weight /= weight.sum(1, keepdims=True)

    def local(image):
        x = image[brain]
        return np.sqrt(weight @ x**2 - (weight @ x) ** 2).mean()

    one, two = 1.5 + rng.normal(size=(2, *shape))
    two += np.indices(shape)[0]
    found = rows(one, two, brain, voxel_mm=voxel)["local_sd_ratio"]
    assert found == pytest.approx(local(one) / local(two), rel=1e-3)


def test_gradients_of_slopes(brain):
    """Change per mm, however large the voxels; the step at the surface does not count."""
    x, y, z = (np.indices(SHAPE)[axis] * VOXEL[axis] for axis in range(3))
    one, two = 0.3 * x + 0.4 * z, 0.1 * y + 5
    found = rows(np.where(brain, one, 0), np.where(brain, two, 0), brain)
    assert found["gradient_ratio"] == pytest.approx(0.5 / 0.1)


def test_a_blur_lowers_spread_and_gradients(truth, brain, labels):
    found = rows(blurred(truth, 3.0, VOXEL), truth, brain, labels)
    assert (found[RATIOS] < 0.7).all()
    assert found["gradient_ratio"] < found["local_sd_ratio"]


def test_spread_within_vois(estimate, truth, brain, labels):
    table = texture_rows(estimate, truth, brain, labels, voxel_mm=VOXEL)
    parts = table[table["voi"] != "brain"].set_index("voi")
    for voi, row in parts.iterrows():
        here = brain & (labels == int(voi))
        assert row["n_voxels"] == here.sum()
        if here.sum() >= 30:
            assert row["value"] == pytest.approx(estimate[here].std() / truth[here].std())
    median = rows(estimate, truth, brain, labels)["voi_sd_ratio"]
    assert median == np.nanmedian(parts["value"])
    assert np.isnan(rows(estimate, truth, brain)["voi_sd_ratio"])


@pytest.mark.parametrize(("n", "shown"), [(29, False), (30, True)])
def test_fewest_voxels_of_a_voi(estimate, truth, brain, n, shown):
    """Voxels outside the brain, or without a value, are none."""
    labels = np.zeros(SHAPE, dtype=int)
    labels[19, 26, 10 : 10 + 20] = labels[20, 26, 10 : 10 + 12] = labels[0, 0, :9] = 7
    estimate[20, 26, 20:22] = np.nan
    if n == 29:
        truth[19, 26, 12] = np.nan
    row = texture_rows(estimate, truth, brain, labels, voxel_mm=VOXEL).iloc[-1]
    assert (row["voi"], row["n_voxels"]) == ("7", n)
    assert np.isfinite(row["value"]) == shown


def test_a_voi_that_cannot_be_compared_keeps_its_row(estimate, truth, brain, labels):
    """Tables of two methods must lie beside each other."""
    estimate[labels == 6] = np.nan
    table = texture_rows(estimate, truth, brain, labels, voxel_mm=VOXEL)
    row = table[table["voi"] == "6"].iloc[0]
    assert row["n_voxels"] == 0
    assert np.isnan(row["value"])


def test_one_grid(estimate, truth, brain, labels):
    with pytest.raises(GridMismatchError, match=r"estimate has the shape \(37.*the truth \(38"):
        texture_rows(estimate[1:], truth, brain, voxel_mm=VOXEL)
    with pytest.raises(GridMismatchError, match=r"mask has the shape"):
        texture_rows(estimate, truth, brain[1:], voxel_mm=VOXEL)
    with pytest.raises(GridMismatchError, match=r"labels has the shape"):
        texture_rows(estimate, truth, brain, labels[1:], voxel_mm=VOXEL)
    with pytest.raises(GridMismatchError, match=r"mean has the shape"):
        texture_rows(estimate, truth, brain, voxel_mm=VOXEL, mean=truth[1:])


@pytest.mark.parametrize("voxel_mm", [(2.0, 2.0), (2.0, 0.0, 2.0), (2.0, np.inf, 2.0)])
def test_voxel_size(estimate, truth, brain, voxel_mm):
    with pytest.raises(DataError, match=r"^the voxel size is .*need three lengths above 0"):
        texture_rows(estimate, truth, brain, voxel_mm=voxel_mm)
