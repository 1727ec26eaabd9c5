import pytest
import torch

from relad_bids.model.data import Cohort, collate
from relad_bids.model.learning.training import every_tracer, skill

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]


@pytest.mark.parametrize("device", DEVICES)
def test_skill_of_mean_and_truth(make_network, cohort, device):
    """The training mean has none, the truth has all; asked tracer by tracer or for all at once."""
    network = make_network().to(device).eval()
    network.gain.data.zero_()
    network.start.prior.zero_()
    mean = network.start.prior
    for answer in (network.forward_all, every_tracer(network, 2)):
        assert skill(answer, cohort, mean=mean, workers=0).abs().max() < 1e-6
    truth = collate([cohort[0]]).pet
    one = Cohort(cohort.make, [0])
    known = skill(lambda mri: truth.to(mri.device), one, mean=mean, workers=0)
    # Participant 0 has no scan of the second tracer: nothing can be said of it.
    assert known[0].item() == pytest.approx(1)
    assert torch.isnan(known[1])
