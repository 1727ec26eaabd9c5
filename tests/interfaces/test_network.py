import nibabel as nb
import numpy as np
import pytest
import torch
from toys import AFFINE, SHAPE, TRACERS, oblique, save_nifti, tiny_card

from relad_bids.cli.settings import BUNDLED
from relad_bids.errors import CheckpointError, DataError, GridMismatchError
from relad_bids.interfaces.network import NormaliseMRI, SynthesisePET, network_mem_gb
from relad_bids.model.checkpoint import verify_checkpoint
from relad_bids.model.predictor import Predictor

GRID = np.array(AFFINE)


@pytest.fixture
def rng():
    return np.random.default_rng(31)


@pytest.fixture
def mask(rng):
    inside = np.zeros(SHAPE, dtype=np.uint8)
    inside[3:13, 4:17, 5:20] = 1
    return inside


@pytest.fixture
def images(make_nifti, rng, mask):
    """Normalised T1w and FLAIR on the network's grid, and their brain."""
    found = {"mask": make_nifti("mask.nii.gz", mask, GRID)}
    for name in ("t1w", "flair"):
        data = np.where(mask, rng.uniform(-1, 1, SHAPE), -1).astype(np.float32)
        found[name] = make_nifti(f"{name}.nii.gz", data, GRID)
    return found


SEEDS = {tracer: 11 + index for index, tracer in enumerate(TRACERS)}


def step_of(folder, images, tracers=TRACERS, *, seeds=SEEDS, **settings):
    return SynthesisePET(
        model_dir=str(folder), tracers=list(tracers), seeds=[seeds[t] for t in tracers],
        **images, **settings,
    )  # fmt: skip


@pytest.fixture
def synthesise(run_step, checkpoint):
    def run(images, tracers=TRACERS, name="synthesise"):
        step = step_of(checkpoint, images, tracers)
        return [nb.load(path) for path in run_step(step, name).out_files]

    return run


@pytest.fixture
def draw(run_step, drawing_checkpoint, images):
    """Draw; return by tracer the mean image and, where they are kept, the samples."""

    def run(tracers=TRACERS, name="draw", **settings):
        out = run_step(step_of(drawing_checkpoint, images, tracers, **settings), name)
        means = [nb.load(path).get_fdata(dtype=np.float32) for path in out.out_files]
        samples = np.array([nb.load(path).get_fdata() for path in out.sample_files])
        kept = samples.reshape(len(tracers), -1, *SHAPE)
        return dict(zip(tracers, means, strict=True)), dict(zip(tracers, kept, strict=True))

    return run


def test_normalised_image_is_what_the_contract_says(run_step, make_nifti, rng):
    shape, affine = (7, 9, 8), oblique()
    image = rng.uniform(50, 800, shape).astype(np.float32)
    mask = (rng.uniform(size=shape) < 0.5).astype(np.uint8)
    out = run_step(
        NormaliseMRI(
            in_file=make_nifti("x.nii.gz", image, affine),
            mask_file=make_nifti("m.nii.gz", mask, affine),
            contract={"lower_percentile": 0.0, "upper_percentile": 100.0},
        )
    )
    made = nb.load(out.out_file)
    inside = image[mask > 0]
    expected = 2 * (image - inside.min()) / (inside.max() - inside.min()) - 1
    np.testing.assert_allclose(made.get_fdata()[mask > 0], expected[mask > 0], atol=1e-6)
    assert np.all(made.get_fdata()[mask == 0] == -1)
    np.testing.assert_allclose(made.affine, affine, atol=1e-6)
    told = out.scale["IntensityNormalisation"]
    assert [told["LowerIntensity"], told["UpperIntensity"]] == [inside.min(), inside.max()]


def test_a_mask_on_another_grid(tmp_path, make_nifti):
    data = np.ones((7, 9, 8), np.float32)
    step = NormaliseMRI(
        in_file=make_nifti("x.nii.gz", data, oblique()),
        mask_file=make_nifti("m.nii.gz", data, oblique(degrees=21)),
        contract={},
    )
    with pytest.raises(GridMismatchError, match="mm apart") as caught:
        step.run(cwd=str(tmp_path))
    assert any("m.nii.gz" in note for note in caught.value.__notes__)


def test_each_tracer_is_the_networks_answer_with_true_zero(synthesise, images, mask, checkpoint):
    """Undone by the card's own scale: (x + 1) / 2 times suvr_max, nothing below 0."""
    mri = np.stack(
        [nb.load(images[name]).get_fdata(dtype=np.float32) for name in ("t1w", "flair")]
    )
    predictor = Predictor.from_folder(checkpoint)
    for tracer, made in zip(TRACERS, synthesise(images), strict=True):
        x = predictor.predict(mri, tracer)[0, 0]
        expected = np.maximum((x + 1) / 2, 0) * tiny_card().tracer(tracer).suvr_max
        np.testing.assert_allclose(made.get_fdata(), np.where(mask, expected, 0), atol=1e-5)
        np.testing.assert_allclose(made.affine, GRID)
        assert made.get_data_dtype() == np.float32


def test_nothing_outside_the_brain(synthesise, images, mask):
    assert all(np.all(made.get_fdata()[mask == 0] == 0) for made in synthesise(images))


def test_missing_flair_is_a_flair_of_background(synthesise, images, make_nifti):
    without = {name: path for name, path in images.items() if name != "flair"}
    background = make_nifti("none.nii.gz", np.full(SHAPE, -1, np.float32), GRID)
    empty = synthesise({**images, "flair": background}, ["pib"], "empty")[0]
    missing = synthesise(without, ["pib"], "missing")[0]
    np.testing.assert_array_equal(missing.get_fdata(), empty.get_fdata())
    full = synthesise(images, ["pib"], "full")[0]
    assert np.abs(full.get_fdata() - missing.get_fdata()).max() > 1e-3


def test_order_and_choice_of_tracers(synthesise, images):
    every = dict(zip(TRACERS, synthesise(images, name="every"), strict=True))
    some = synthesise(images, ["pib", "flortaucipir"], "some")
    np.testing.assert_array_equal(some[0].get_fdata(), every["pib"].get_fdata())
    np.testing.assert_array_equal(some[1].get_fdata(), every["flortaucipir"].get_fdata())


def test_images_that_are_not_on_the_networks_grid(tmp_path, make_nifti, checkpoint):
    shape = (16, 20, 23)
    given = {
        "t1w": make_nifti("t1w.nii.gz", np.zeros(shape, np.float32), GRID),
        "mask": make_nifti("m.nii.gz", np.ones(shape, np.uint8), GRID),
    }
    step = step_of(checkpoint, given, ["pib"])
    with pytest.raises(DataError, match=r"shape \(2, 16, 20, 24\), got \(2, 16, 20, 23\)"):
        step.run(cwd=str(tmp_path))


def test_a_damaged_checkpoint_stops_the_step(tmp_path, images, checkpoint):
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    for path in checkpoint.iterdir():
        (spoilt / path.name).write_bytes(path.read_bytes())
    with (spoilt / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    step = step_of(spoilt, images, ["pib"])
    with pytest.raises(CheckpointError, match="damaged or was exchanged"):
        step.run(cwd=str(tmp_path))


def test_the_image_is_the_mean_of_its_samples(draw, mask):
    means, samples = draw(n_samples=8)
    for tracer in TRACERS:
        assert samples[tracer].shape[0] == 8
        np.testing.assert_allclose(means[tracer], samples[tracer].mean(0), atol=1e-6)
        apart = np.ptp(samples[tracer], axis=0)[mask > 0]
        assert np.median(apart) > 0.1  # eight draws with a spread of 0.2 / 2 * 3 SUVr and more
        assert np.all(samples[tracer][:, mask == 0] == 0)


def test_samples_are_what_the_predictor_draws_with_true_zero(draw, drawing_checkpoint, images):
    """The contract is undone before the average: below its zero lies noise, not uptake."""
    mri = np.stack(
        [nb.load(images[name]).get_fdata(dtype=np.float32) for name in ("t1w", "flair")]
    )
    inside = nb.load(images["mask"]).get_fdata() > 0
    predictor = Predictor.from_folder(drawing_checkpoint)
    _, samples = draw(["pib"], n_samples=8, steps=3)
    generator = torch.Generator().manual_seed(SEEDS["pib"])
    x = predictor.predict(mri, "pib", n_samples=8, steps=3, generator=generator)[:, 0]
    expected = np.where(inside, np.maximum((x + 1) / 2, 0) * 4.0, 0)
    np.testing.assert_allclose(samples["pib"], expected, atol=1e-5)


@pytest.mark.parametrize(("n_samples", "kept"), [(1, 0), (7, 0), (8, 8)])
def test_samples_are_kept_where_they_make_a_spread(draw, n_samples, kept):
    _, samples = draw(["pib"], n_samples=n_samples)
    assert len(samples["pib"]) == kept


def test_each_tracer_has_its_own_chance(draw):
    """Alone, in any company and in any order."""
    every, _ = draw(name="every", n_samples=2)
    turned, _ = draw(TRACERS[::-1], name="turned", n_samples=2)
    alone, _ = draw(["pib"], name="alone", n_samples=2)
    for tracer in TRACERS:
        np.testing.assert_array_equal(every[tracer], turned[tracer])
    np.testing.assert_array_equal(every["pib"], alone["pib"])


def test_another_seed_is_another_draw(draw):
    first, _ = draw(["pib"], name="first")
    other, _ = draw(["pib"], name="other", seeds={"pib": 99})
    assert np.abs(first["pib"] - other["pib"]).max() > 0.1


def test_steps_are_the_checkpoints_unless_told_otherwise(draw):
    own, _ = draw(["pib"], name="own")
    two, _ = draw(["pib"], name="two", steps=2)
    five, _ = draw(["pib"], name="five", steps=5)
    np.testing.assert_array_equal(own["pib"], two["pib"])
    assert np.abs(own["pib"] - five["pib"]).max() > 1e-3


@pytest.mark.parametrize(("shape", "measured_gb"), [((80, 92, 80), 1.2), ((160, 180, 160), 4.85)])
def test_memory_that_is_asked_for_is_what_was_measured_and_little_more(shape, measured_gb):
    assert measured_gb <= network_mem_gb(shape) < measured_gb + 0.5


def test_memory_grows_with_the_tracers_that_are_made_at_once():
    one, three = (network_mem_gb((80, 92, 80), at_once=n) for n in (1, 3))
    assert three - one == pytest.approx(2 * 0.5, abs=0.01)


@pytest.fixture(scope="module")
def whole_head(tmp_path_factory):
    """Noise on the grid of the bundled checkpoint, as a normalised head."""
    card = verify_checkpoint(BUNDLED)
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("head")
    mask = np.zeros(card.shape, dtype=np.uint8)
    mask[8:-8, 8:-8, 8:-8] = 1
    data = {name: np.where(mask, rng.uniform(-1, 1, card.shape), -1) for name in ("t1w", "flair")}
    data = {"mask": mask, **{name: image.astype(np.float32) for name, image in data.items()}}
    return {
        name: save_nifti(folder / f"{name}.nii.gz", image, np.array(card.affine))
        for name, image in data.items()
    }


@pytest.mark.slow
def test_the_bundled_network_says_the_same_on_any_number_of_threads(run_step, whole_head):
    """To the last bit: oneDNN sums in another order for another number of threads."""
    answers = []
    for number in (1, 2, 3):
        step = step_of(BUNDLED, whole_head, TRACERS, num_threads=number)
        files = run_step(step, f"threads{number}").out_files
        answers.append([np.asarray(nb.load(path).dataobj) for path in files])
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])


def test_a_lesion_sets_no_scale(run_step, make_nifti, rng):
    shape, affine = (7, 9, 8), oblique()
    image = rng.uniform(50, 80, shape).astype(np.float32)
    image[2, 2, 2] = 900
    files = {
        "in_file": make_nifti("x.nii.gz", image, affine),
        "mask_file": make_nifti("m.nii.gz", np.ones(shape, np.uint8), affine),
        "contract": {"lower_percentile": 0.0, "upper_percentile": 100.0},
    }
    lesion = make_nifti("l.nii.gz", (image > 100).astype(np.uint8), affine)
    plain, told = (
        nb.load(run_step(NormaliseMRI(**files, **more), name).out_file).get_fdata()
        for name, more in (("plain", {}), ("told", {"exclude_file": lesion}))
    )
    assert np.sort(plain.ravel())[-2] < 0
    assert np.sort(told.ravel())[-2] == 1
    assert told[2, 2, 2] == 1
