import pytest
import torch
from torch.nn.functional import conv3d

from relad_bids.errors import ConfigError
from relad_bids.model.learning import precision as subject
from relad_bids.model.learning.precision import around_networks

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_networks_convolve_in_the_precision_asked_for(precision, dtype):
    with around_networks(precision, CPU)():
        answer = conv3d(torch.ones(1, 1, 3, 3, 3), torch.ones(1, 1, 3, 3, 3))
    assert answer.dtype == dtype
    assert answer.item() == 27
    assert conv3d(torch.ones(1, 1, 3, 3, 3), torch.ones(1, 1, 3, 3, 3)).dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "others"), [("fp16", "fp32 or bf16"), ("bf16", "fp32 or f")]
)
def test_a_device_without_the_precision_is_told_before_the_first_step(
    monkeypatch, precision, others
):
    def refused(image, kernel):
        raise RuntimeError("not implemented for 'Half'")

    monkeypatch.setattr(subject, "conv3d", refused)
    message = rf"'{precision}', and the device cpu has no .* for 'Half'\. Take {others}"
    with pytest.raises(ConfigError, match=message):
        around_networks(precision, CPU)


def test_full_precision_is_not_tried(monkeypatch):
    monkeypatch.setattr(subject, "conv3d", None)
    around_networks("fp32", CPU)
