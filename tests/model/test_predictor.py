import numpy as np
import pytest
import torch
from toys import SHAPE, TRACERS, tiny_card, tiny_network

from relad_bids.errors import DataError, UsageError
from relad_bids.model.predictor import Predictor, resolve_device


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
