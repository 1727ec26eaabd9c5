"""What the official code computes, array by array, from real files of its layout.

The arrays and weights lie with the real scans and are described there; the tolerances are those
given with them: float32 sums in another order.
"""

import numpy as np
import pytest
import torch

from relad_bids.model.checkpoint import load_checkpoint
from relad_bids.model.learning.adversarial import critic_loss, relativistic_generator_loss
from relad_bids.model.published import import_published, published_discriminator, read_official

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data / "parity"


@pytest.fixture(scope="module")
def arrays(folder):
    with np.load(folder / "official_outputs.npz") as stored:
        return {name: torch.from_numpy(np.asarray(stored[name])) for name in stored}


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("imported")
    import_published(folder / "generator_random.pt", out, trust=True)
    return load_checkpoint(out)[0]


@pytest.fixture(scope="module")
def critic(folder):
    file = folder / "discriminator_scaled.pt"
    return published_discriminator(read_official(file, "discriminator", trust=True)).train()


@pytest.mark.parametrize("case", [0, 1, 2])
@torch.inference_mode()
def test_the_network(model, arrays, case):
    x, t, label, y = (arrays[f"unet{case}_{name}"] for name in ("x", "t", "label", "y"))
    got = model.network(x[:, :1], x[:, 1:], t.long(), label.long())
    torch.testing.assert_close(got, y, atol=1e-5, rtol=1e-5)


def test_the_schedule(model, arrays):
    assert torch.equal(model.schedule.alphas_cumprod.float(), arrays["alphas_cumprod"].float())
    assert torch.equal(model.schedule.betas.float(), arrays["betas"].float())


def test_noising(model, arrays):
    x0, eps, t, y = (arrays[f"noise_{name}"] for name in ("x0", "eps", "t", "y"))
    got = model.schedule.add_noise(x0, eps, t.long())
    torch.testing.assert_close(got, y, atol=1e-6, rtol=1e-6)


def test_the_clean_prediction(model, arrays):
    noisy, t, eps, y = (arrays[name] for name in ("noise_y", "noise_t", "x0pred_eps", "x0pred_y"))
    got = model.schedule.clean(noisy, eps, t.long())
    torch.testing.assert_close(got, y, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_whole_chain(model, arrays):
    model.sampler = {"name": "ancestral", "steps": 1000, "spacing": "trailing"}
    label = int(arrays["chain_label"].flatten()[0])
    got = model.predict(arrays["chain_cond"], label, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, arrays["chain_y"], atol=1e-5, rtol=1e-5)


def test_the_adversarial_losses(critic, arrays):
    def judge(pet):
        return critic(pet, pet, torch.empty(0))

    real, fake = arrays["adv_real"], arrays["adv_fake"]
    logits = judge(real), judge(fake)
    for got, name in zip(logits, ("adv_logits_real", "adv_logits_fake"), strict=True):
        torch.testing.assert_close(got, arrays[name], atol=1e-5, rtol=1e-5)
    generator = relativistic_generator_loss(*logits).item()
    assert generator == pytest.approx(float(arrays["adv_loss_generator"]), abs=1e-5)
    game = critic_loss(judge, real, fake, gamma=1e-3, reduction="official", alone=True)
    expected = float(arrays["adv_loss_discriminator_published_reduction"])
    assert game.loss.item() == pytest.approx(expected, abs=1e-5)


def test_every_array_was_looked_at(arrays):
    looked_at = ("unet", "betas", "alphas_cumprod", "noise_", "x0pred_", "chain_", "adv_")
    assert not [name for name in arrays if not name.startswith(looked_at)]
