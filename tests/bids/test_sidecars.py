import pytest
from toys import tiny_card

from relad_bids.bids.outputs import PRODUCTS
from relad_bids.bids.sidecars import raw_uri, sidecar, synthetic_facts

IMAGES = [key for key, product in PRODUCTS.items() if product.extension == ".nii.gz"]


def made(key, **facts):
    return sidecar(key, sources=["bids::x"], space="MNI", resolution="2 mm", facts=facts)


@pytest.mark.parametrize("key", IMAGES)
def test_required_of_every_derivative_image(key):
    """BIDS: SkullStripped always, Resolution where the name has ``res-``."""
    found = made(key)
    assert isinstance(found["SkullStripped"], bool)
    assert ("Resolution" in found) is ("res" in PRODUCTS[key].entities)
    assert found["Sources"] == ["bids::x"]


@pytest.mark.parametrize("key", [key for key in IMAGES if PRODUCTS[key].suffix == "mask"])
def test_every_mask_says_of_what(key):
    assert made(key)["Type"] in ("Brain", "Lesion", "ROI")


def test_what_an_image_alone_can_say_goes_before_the_usual():
    found = made("t1w_norm", Description="this one", lower=3.5)
    assert found["Description"] == "this one"
    assert found["lower"] == 3.5


def test_facts_of_one_image_do_not_leak_into_the_next():
    made("brain_mask", Type="Lesion", volume_ml=1)
    assert made("brain_mask")["Type"] == "Brain"
    assert "volume_ml" not in made("brain_mask")


def test_names_in_the_raw_dataset():
    assert raw_uri("sub-01/anat/sub-01_T1w.nii.gz") == "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"


def test_nothing_was_injected():
    """Fields of a measurement must not stand beside a synthetic image."""
    facts = synthetic_facts(
        tiny_card(sha256="cd" * 32), tracer="pib", radionuclide="C11",
        reference="cerebellum-whole", n_samples=8, steps=12, seed=7, device="cpu",
    )  # fmt: skip
    assert facts["Synthetic"] is True
    assert facts["Units"] == "unitless"
    assert facts["Statement"] == "A toy, for tests."
    assert facts["SynthesisModel"]["Seed"] == 7
    assert facts["SynthesisModel"]["NumberOfSamples"] == 8
    assert facts["SynthesisModel"]["Sampler"] == {"name": "one-pass", "steps": 12}
    assert facts["SynthesisModel"]["WeightsSHA256"] == "cd" * 32
    assert not [key for key in facts if key.startswith(("Inject", "Frame", "TimeZero", "Scan"))]
