import json

import pytest
import torch
from torch.nn import functional

from relad_bids.errors import ConfigError
from relad_bids.model.networks.diffusion_unet import PUBLISHED, ConditionalDiffusionUNet

SMALL = {
    "n_sequences": 2,
    "n_tracer_classes": 3,
    "channels": [4, 8, 8],
    "attention_levels": [False, False, True],
    "n_residual_units": 1,
    "norm_groups": 2,
    "head_channels": 4,
    "transformers": True,
}
KINDS = {
    "free": {"attention_levels": [False] * 3, "transformers": False},
    "attention": {"attention_levels": [False, True, False], "transformers": False},
    "transformers": {},
}
SHAPE = (9, 12, 10)
T, TRACER = torch.tensor([17, 801]), torch.tensor([2, 0])


def make(seed=5, **changes):
    """A network whose every tensor is random: a new one has zeros, behind which nothing shows."""
    network = ConditionalDiffusionUNet(**{**SMALL, **changes}).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.2, generator=generator)
    return network


@pytest.fixture(params=KINDS)
def network(request):
    return make(**KINDS[request.param])


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(31)
    return lambda *shape: torch.rand(shape, generator=generator) * 2 - 1


@pytest.fixture
def images(draw):
    """Noisy PET and MRI of two participants."""
    return draw(2, 1, *SHAPE), draw(2, 2, *SHAPE)


def attends(network):
    """Names of the parts that attend; a projection to queries is what they have in common."""
    return {name.partition(".to_q")[0] for name in network.state_dict() if ".to_q." in name}


def differ(one, other):
    """By more than sums in another order do: answers are of the order of 1."""
    return (one - other).abs().max() > 1e-3


def test_published_architecture():
    network = ConditionalDiffusionUNet(**PUBLISHED)
    assert sum(weight.numel() for weight in network.parameters()) == 3_038_017
    assert len(network.state_dict()) == 367


def test_published_architecture_travels_in_a_card():
    assert json.loads(json.dumps(dict(PUBLISHED))) == PUBLISHED


def test_published_attention():
    """On the third level and in the middle only: six blocks, each attending twice."""
    parts = attends(ConditionalDiffusionUNet(**PUBLISHED))
    assert {name.partition(".transformer_blocks")[0] for name in parts} == {
        "unet.down_blocks.2.attentions.0", "unet.down_blocks.2.attentions.1",
        "unet.middle_block.attention", "unet.up_blocks.0.attentions.0",
        "unet.up_blocks.0.attentions.1", "unet.up_blocks.0.attentions.2",
    }  # fmt: skip
    assert len(parts) == 12


@pytest.mark.parametrize(
    ("levels", "where"),
    [
        ([False, False, False], set()),
        ([False, True, False], {"down_blocks.1", "middle_block.attention", "up_blocks.1"}),
        ([False, False, True], {"down_blocks.2", "middle_block.attention", "up_blocks.0"}),
    ],
)
def test_attention_is_where_it_was_asked_for(levels, where):
    parts = attends(make(attention_levels=levels, transformers=False))
    assert {".".join(name.split(".")[1:3]) for name in parts} == where


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_channels_are_noisy_pet_then_mri(network, images, draw, channel):
    """Blind to one channel, the network overlooks a change of that image and of no other."""
    network.unet.conv_in.conv.weight.data[:, channel] = 0
    for changed in range(3):
        other = torch.cat(images, 1)
        other[:, changed] = draw(2, *SHAPE)
        answers = network(*images, T, TRACER), network(other[:, :1], other[:, 1:], T, TRACER)
        assert differ(*answers) == (changed != channel)


def test_timestep_and_tracer_matter(network, images):
    answer = network(*images, T, TRACER)
    assert answer.shape == (2, 1, *SHAPE)
    assert differ(answer, network(*images, T + 100, TRACER))
    assert differ(answer, network(*images, T, (TRACER + 1) % 3))


def test_tracer_is_the_row_of_its_class(network, images):
    """Only the vector of the tracer asked for is looked at."""
    before = [network(*images, T, torch.full((2,), index)) for index in range(3)]
    network.unet.class_embedding.weight.data[1] += 1
    after = [network(*images, T, torch.full((2,), index)) for index in range(3)]
    assert [differ(*pair) for pair in zip(before, after, strict=True)] == [False, True, False]


def test_timestep_is_not_taken_for_the_tracer(network, images):
    """Tracers that are all alike leave the timestep its meaning."""
    network.unet.class_embedding.weight.data.zero_()
    small = torch.tensor([2, 1])
    assert torch.equal(network(*images, small, TRACER), network(*images, small, 2 - TRACER))
    assert differ(network(*images, small, TRACER), network(*images, 2 - small, TRACER))


@pytest.mark.parametrize("shape", [(9, 12, 10), (8, 4, 12), (7, 5, 6)])
def test_any_size_is_padded_with_background(network, draw, shape):
    """As if the caller had padded with -1 at the ends; the sides become multiples of 4."""
    x_t, mri = draw(2, 1, *shape), draw(2, 2, *shape)
    i, j, k = shape
    pads = (0, -k % 4, 0, -j % 4, 0, -i % 4)
    wide = [functional.pad(image, pads, value=-1.0) for image in (x_t, mri)]
    answer = network(x_t, mri, T, TRACER)
    assert answer.shape == (2, 1, *shape)
    assert torch.equal(answer, network(*wide, T, TRACER)[..., :i, :j, :k])


def test_no_more_padding_than_needed(network, images):
    """Three levels halve twice: sides of 9, 12, 10 become multiples of 4 and not of 8."""
    seen = []
    network.unet.conv_in.register_forward_pre_hook(lambda part, given: seen.append(given[0].shape))
    network(*images, T, TRACER)
    assert seen == [(2, 3, 12, 12, 12)]


def test_participants_of_a_batch_do_not_see_each_other(network, images, draw):
    x_t, mri = images
    others = torch.cat([x_t[:1], draw(1, 1, *SHAPE)]), torch.cat([mri[:1], draw(1, 2, *SHAPE)])
    answer = network(*images, T, TRACER)[:1]
    assert torch.equal(answer, network(*others, torch.tensor([17, 3]), torch.tensor([2, 1]))[:1])
    # Alone it is summed in another order: float32 differs in the last digits.
    torch.testing.assert_close(answer, network(x_t[:1], mri[:1], T[:1], TRACER[:1]))


def test_every_weight_is_reached(network, images):
    """None idles, not even the cross-attention that has no context to look at."""
    network(*images, T, TRACER).square().sum().backward()
    idle = [name for name, w in network.named_parameters() if w.grad is None or not w.grad.any()]
    assert idle == []


@pytest.mark.parametrize("kind", ["attention", "transformers"])
def test_attention_is_the_plain_formula(images, kind):
    """torch's fused attention against softmax(q k / sqrt(d)) v written out by MONAI.

    The fused one sums in blocks: float32 at answers of the order of 1 differs by about 1e-5.
    """
    network = make(**KINDS[kind])
    fused = network(*images, T, TRACER)
    parts = [m for m in network.modules() if hasattr(m, "use_flash_attention")]
    assert all(part.use_flash_attention for part in parts)
    for part in parts:
        part.use_flash_attention = False
    torch.testing.assert_close(network(*images, T, TRACER), fused, rtol=0, atol=1e-4)


def test_answer_is_float32_under_autocast(network, images):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(*images, T, TRACER).dtype == torch.float32


def test_one_level_needs_no_padding(draw):
    network = make(channels=[4], attention_levels=[True], transformers=False)
    assert network(draw(1, 1, 3, 5, 2), draw(1, 2, 3, 5, 2), T[:1], TRACER[:1]).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": [4, 8, 9]}, "channels 9 is no multiple of norm_groups 2"),
        ({"channels": [4, 8]}, "channels has 2 levels, attention_levels 3"),
        ({"head_channels": 3}, "attention on 8 channels cannot be split into heads of 3"),
        ({"head_channels": 16}, "attention on 8 channels cannot be split into heads of 16"),
        ({"attention_levels": [False] * 3}, "transformers were asked for on no level"),
        (
            {"attention_levels": [True, False, False]},
            "one width on the last level and all that attend, got 4, 8",
        ),
        ({"n_sequences": 0}, "n_sequences 0 is below 1"),
        ({"n_tracer_classes": 0}, "n_tracer_classes 0 is below 1"),
        ({"n_residual_units": 0}, "n_residual_units 0 is below 1"),
        ({"norm_groups": 0}, "norm_groups 0 is below 1"),
        ({"head_channels": 0}, "head_channels 0 is below 1"),
        ({"channels": []}, "channels 0 is below 1"),
        ({"channels": [4, 0, 8]}, "channels 0 is below 1"),
    ],
)
def test_settings_that_do_not_fit(changes, message):
    with pytest.raises(ConfigError, match=f"the diffusion network cannot be built: .*{message}"):
        ConditionalDiffusionUNet(**{**SMALL, **changes})


def test_every_problem_is_named_at_once():
    changes = {"channels": [4, 9, 8], "attention_levels": [False, True], "head_channels": 4}
    with pytest.raises(ConfigError, match=r"channels 9 .*; channels has 3 .*; attention on 9 ch"):
        ConditionalDiffusionUNet(**{**SMALL, **changes})


def test_heads_have_no_meaning_without_attention():
    make(attention_levels=[False] * 3, transformers=False, head_channels=3)


@pytest.mark.parametrize("shape", [(9, 12, 10), (8, 16, 24), (13, 7, 11)])
def test_blocks_of_voxels_come_back_to_their_places(draw, shape):
    """A network that hands on the noisy PET's own channels gives the noisy PET back."""
    network = make(**KINDS["free"], patch=2)
    network.unet.forward = lambda x, **conditions: x[:, :8]
    x_t = draw(2, 1, *shape)
    assert torch.equal(network(x_t, draw(2, 2, *shape), T, TRACER), x_t)


def test_blocks_make_the_finest_level_eight_times_smaller(draw):
    network, seen = make(**KINDS["free"], patch=2), []
    inner = network.unet.forward
    network.unet.forward = lambda x, **more: seen.append(x.shape) or inner(x, **more)
    network(draw(2, 1, 16, 16, 24), draw(2, 2, 16, 16, 24), T, TRACER)
    assert seen == [(2, 24, 8, 8, 12)]


def test_a_block_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="patch 0 is below 1"):
        make(patch=0)
