import nibabel as nb
import numpy as np
import pytest
from toys import AFFINE, SHAPE, TRACERS, oblique, tiny_card

from relad_bids.errors import CheckpointError, DataError, GridMismatchError
from relad_bids.interfaces.network import NormaliseMRI, SynthesisePET
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


@pytest.fixture
def synthesise(run_step, checkpoint):
    def run(images, tracers=TRACERS, name="synthesise"):
        step = SynthesisePET(model_dir=str(checkpoint), tracers=list(tracers), **images)
        return [nb.load(path) for path in run_step(step, name).out_files]

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
    assert out.scale == {"lower": inside.min(), "upper": inside.max()}


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
    step = SynthesisePET(
        model_dir=str(checkpoint),
        tracers=["pib"],
        t1w=make_nifti("t1w.nii.gz", np.zeros(shape, np.float32), GRID),
        mask=make_nifti("m.nii.gz", np.ones(shape, np.uint8), GRID),
    )
    with pytest.raises(DataError, match=r"shape \(2, 16, 20, 24\), got \(2, 16, 20, 23\)"):
        step.run(cwd=str(tmp_path))


def test_a_damaged_checkpoint_stops_the_step(tmp_path, images, checkpoint):
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    for path in checkpoint.iterdir():
        (spoilt / path.name).write_bytes(path.read_bytes())
    with (spoilt / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    step = SynthesisePET(model_dir=str(spoilt), tracers=["pib"], **images)
    with pytest.raises(CheckpointError, match="damaged or was exchanged"):
        step.run(cwd=str(tmp_path))
