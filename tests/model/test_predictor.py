import numpy as np
import pytest
import torch
from small_models import KINDS, small
from toys import SHAPE, TRACERS, drawing_card, tiny_card, tiny_network

from relad_bids.errors import CheckpointError, DataError, DeviceMemoryError, UsageError
from relad_bids.model.card import TracerOutput
from relad_bids.model.predictor import Predictor, resolve_device, sampling_steps


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor.from_folder(checkpoint)


@pytest.fixture
def mri():
    return np.random.default_rng(9).uniform(-1, 1, (2, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("tracer", TRACERS)
def test_answer_is_that_of_the_network(predictor, mri, tracer):
    index = TRACERS.index(tracer)
    with torch.inference_mode():
        expected = tiny_network().forward_all(torch.from_numpy(mri)[None])[:, [index]]
    answer = predictor.predict(mri, tracer)
    assert answer.shape == (1, 1, *SHAPE)
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, expected.numpy())


def test_asked_twice_it_answers_the_same(predictor, mri):
    np.testing.assert_array_equal(predictor.predict(mri, "pib"), predictor.predict(mri, "pib"))


def test_mri_on_another_grid(predictor, mri):
    with pytest.raises(DataError, match=r"shape \(2, 16, 20, 24\), got \(2, 20, 16, 24\)"):
        predictor.predict(mri.transpose(0, 2, 1, 3), "pib")


def test_flair_left_out_of_the_stack(predictor, mri):
    with pytest.raises(DataError, match=r"takes MRI of shape \(2, .* got \(1,"):
        predictor.predict(mri[:1], "pib")


@pytest.mark.parametrize("asked", [{"n_samples": 2}, {"steps": 10}])
def test_one_pass_has_one_answer(predictor, mri, asked):
    with pytest.raises(
        UsageError, match=r"has one answer, made in one pass; [12] samples of (1|10) steps"
    ):
        predictor.predict(mri, "pib", **asked)


def test_unknown_tracer(predictor, mri):
    with pytest.raises(UsageError, match="asked for the tracer 'fdg'"):
        predictor.predict(mri, "fdg")


def test_card_travels_with_the_network(predictor):
    assert predictor.card.name == tiny_card().name
    assert predictor.card.sha256


def test_device_that_is_asked_for():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_no_silent_fall_back_to_the_cpu():
    with pytest.raises(UsageError, match=r"torch sees no GPU. Use --device cpu"):
        resolve_device("cuda")


DRAWING = ["ddpm", "ficd", "ddgan", "rela", "rela-latent", "rela-published"]


def predictor_of(kind):
    """A small model of a kind, on the grid of small_models, behind a card that fits."""
    torch.manual_seed(5)
    network = small(kind, training=False).eval()
    shape = (13, 14, 12)
    card = tiny_card(
        shape=shape, tracers=(TracerOutput(name="pib", index=1, suvr_max=4.0),), kind=kind
    )
    return Predictor(network, card, device="cpu"), shape


def test_every_kind_that_draws_is_tried_here():
    kinds = {kind for kind in KINDS if small(kind, training=False).stochastic}
    assert kinds == set(DRAWING)


@pytest.mark.parametrize("kind", DRAWING)
def test_one_by_one_they_are_the_draws_of_one_call(kind):
    """So that memory need not hold them all."""
    predictor, shape = predictor_of(kind)
    mri = np.random.default_rng(4).uniform(-1, 1, (2, *shape)).astype(np.float32)
    steps = None if kind == "ddgan" else 3
    generator = torch.Generator().manual_seed(21)
    together = predictor.predict(mri, "pib", n_samples=3, steps=steps, generator=generator)
    single = list(predictor.draws(mri, "pib", n_samples=3, steps=steps, seed=21))
    np.testing.assert_array_equal(np.stack(single), together[:, 0])
    assert not np.array_equal(single[0], single[1])


def test_draws_do_not_depend_on_what_was_drawn_before(predictor, mri):
    predictor, shape = predictor_of("ddpm")
    mri = np.random.default_rng(4).uniform(-1, 1, (2, *shape)).astype(np.float32)
    first = next(predictor.draws(mri, "pib", n_samples=1, steps=3, seed=7))
    torch.rand(17)
    next(predictor.draws(mri, "pib", n_samples=1, steps=3, seed=8))
    again = next(predictor.draws(mri, "pib", n_samples=1, steps=3, seed=7))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("n_samples", "steps", "used"), [(1, None, 2), (8, None, 2), (1, 1, 1), (3, 50, 50)]
)
def test_steps_of_a_network_that_draws(n_samples, steps, used):
    assert sampling_steps(drawing_card(), n_samples=n_samples, steps=steps) == used


@pytest.mark.parametrize("steps", [None, 1])
def test_steps_of_a_network_with_one_answer(steps):
    assert sampling_steps(tiny_card(), n_samples=1, steps=steps) == 1


EPSILON = {
    "name": "linear", "n_steps": 50, "beta_start": 1e-4, "beta_end": 0.02,
    "zero_terminal_snr": False, "prediction": "epsilon", "clip": True,
}  # fmt: skip
ONE_STEP = {"name": "dpmpp2m", "steps": 1, "spacing": "log_snr"}
WALK = {"name": "ancestral", "steps": 4, "spacing": "trailing"}


@pytest.mark.parametrize(
    ("card", "n_samples", "steps", "message"),
    [
        (tiny_card(), 2, None, r"--n-samples 2 and --sampling-steps 1 .* tiny is .* kind unet"),
        (tiny_card(), 1, 2, r"--n-samples 1 and --sampling-steps 2 .* has one answer"),
        (drawing_card(), 1, 51, r"51 sampling steps were asked for; .* Ask for 1 to 50"),
        (drawing_card(), 2, 1, r"--n-samples 2 was asked for in one step each; .*-steps 15"),
        (drawing_card(sampler=ONE_STEP), 8, None, r"--n-samples 8 was asked for in one step"),
        (drawing_card(diffusion=EPSILON), 1, 1, r"draws predicts noise, which says nothing"),
        (drawing_card(kind="ddgan", sampler=WALK), 1, 5, r"draws walks 4 and no other number"),
        (
            drawing_card(sampler={"name": "one-pass", "steps": 1, "spacing": "trailing"}),
            1, 2, r"draws walks 1 and no other number",
        ),
    ],
)  # fmt: skip
def test_samples_that_cannot_be_drawn(card, n_samples, steps, message):
    with pytest.raises(UsageError, match=message):
        sampling_steps(card, n_samples=n_samples, steps=steps)


def test_one_walk_takes_its_own_number_of_steps():
    card = drawing_card(kind="ddgan", sampler=WALK)
    assert sampling_steps(card, n_samples=8, steps=None) == 4
    assert sampling_steps(card, n_samples=8, steps=4) == 4


def test_two_steps_are_enough_for_a_network_that_predicts_noise():
    assert sampling_steps(drawing_card(diffusion=EPSILON), n_samples=1, steps=2) == 2


def test_a_kind_that_nobody_knows():
    with pytest.raises(CheckpointError, match=r"of the kind 'gold'; this version knows mean,"):
        sampling_steps(tiny_card(kind="gold"), n_samples=1, steps=None)


class Forgetful(torch.nn.Module):
    """A network that draws, on a device whose memory runs out the first times, or with more than
    ``room`` samples at once; on the way it has drawn."""

    def __init__(self, times=0, room=99):
        super().__init__()
        self.times, self.room, self.asked = times, room, []

    def predict(self, x, index, *, n_samples, steps, generator):
        self.asked.append(n_samples)
        noise = torch.randn((n_samples, 1, *SHAPE), generator=generator)
        if len(self.asked) <= self.times or n_samples > self.room:
            raise torch.OutOfMemoryError("tried to allocate 3 GiB")
        return noise


@pytest.mark.parametrize(
    ("n", "room", "asked"),
    [
        (8, 99, [8]),
        (8, 4, [8, 4, 4]),
        (8, 1, [8, 4, 2, *[1] * 8]),
        (7, 3, [7, 4, 2, 2, 2, 1]),
        (5, 4, [5, 3, 2]),
    ],
)
def test_fewer_at_a_time_are_the_same_samples(mri, caplog, n, room, asked):
    """Bit by bit: what was drawn for an attempt that failed is drawn again."""
    ask = {"n_samples": n, "steps": 3}
    expected = Predictor(Forgetful(), tiny_card(), device="cpu").predict(
        mri, "pib", generator=torch.Generator().manual_seed(4), **ask
    )
    network = Forgetful(room=room)
    made = Predictor(network, tiny_card(), device="cpu").predict(
        mri, "pib", generator=torch.Generator().manual_seed(4), **ask
    )
    np.testing.assert_array_equal(made, expected)
    assert network.asked == asked
    lines = [record.getMessage() for record in caplog.records]
    if len(asked) == 1:
        assert not lines
    else:
        assert lines[0].startswith("the memory of cpu ran out; asking again for the same, ")
        assert lines[-1].endswith(f"{max(asked[len(lines) :])} of {n} at a time")


@pytest.mark.parametrize("kind", DRAWING)
def test_every_kind_draws_the_same_in_smaller_batches(kind, monkeypatch):
    predictor, shape = predictor_of(kind)
    mri = np.random.default_rng(4).uniform(-1, 1, (2, *shape)).astype(np.float32)
    steps = None if kind == "ddgan" else 3

    def drawn():
        generator = torch.Generator().manual_seed(21)
        return predictor.predict(mri, "pib", n_samples=4, steps=steps, generator=generator)

    together, ask = drawn(), predictor.network.predict

    def small(*args, n_samples, **more):
        if n_samples > 2:
            raise torch.OutOfMemoryError("tried to allocate 3 GiB")
        return ask(*args, n_samples=n_samples, **more)

    monkeypatch.setattr(predictor.network, "predict", small)
    np.testing.assert_array_equal(drawn(), together)


def test_what_a_failed_attempt_held_is_free_before_the_next(mri):
    """A traceback keeps the tensors of its frames; with it the next attempt would fail as well."""
    import weakref

    held = []

    class Heavy(torch.nn.Module):
        def predict(self, x, index, *, n_samples, steps, generator):
            assert not [one for one in held if one() is not None]
            large = torch.zeros(1000)
            held.append(weakref.ref(large))
            if n_samples > 1:
                raise torch.OutOfMemoryError("tried to allocate 3 GiB")
            return torch.zeros((n_samples, 1, *SHAPE))

    predictor = Predictor(Heavy(), tiny_card(), device="cpu")
    assert predictor.predict(mri, "pib", n_samples=2).shape == (2, 1, *SHAPE)


def test_memory_that_runs_out_changes_no_number(mri, caplog):
    """Asked again it draws what it would have drawn, and the log says that it was asked again."""
    well, badly = (Predictor(Forgetful(n), tiny_card(), device="cpu") for n in (0, 1))
    expected = list(well.draws(mri, "pib", n_samples=3, seed=5))
    assert not caplog.records
    np.testing.assert_array_equal(list(badly.draws(mri, "pib", n_samples=3, seed=5)), expected)
    assert "memory of cpu ran out" in caplog.text


def test_memory_that_is_too_small(mri):
    predictor = Predictor(Forgetful(2), tiny_card(), device="cpu")
    with pytest.raises(
        DeviceMemoryError, match=r"too small for tiny on 16 x 20 x 24.*--device cpu"
    ):
        predictor.predict(mri, "pib")


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(UsageError, match="cuda:2 was asked for and torch sees 2 GPUs"):
        resolve_device("cuda:2")
