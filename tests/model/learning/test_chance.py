import pytest
import torch

from relad_bids.model.learning.chance import Chance


def chance(*positions, seed=1, step=0):
    return Chance.of_step(seed=seed, step=step, positions=positions)


def everything(of, n):
    """One of each kind of draw, (n, ...), in a fixed order."""
    return [
        of.uniform(),
        of.normal(torch.empty(n, 2, 3)),
        of.integers(1000),
        of.choice(torch.ones(n, 1000)),
        of.uniform(),
    ]


@pytest.mark.parametrize("parts", [[[0], [1], [2], [3]], [[0, 1], [2, 3]], [[3, 1], [0, 2]]])
def test_however_a_batch_is_divided_everyone_draws_the_same(parts):
    whole = everything(chance(0, 1, 2, 3), 4)
    for part in parts:
        alone = everything(chance(*part), len(part))
        assert all(
            torch.equal(ours[part], theirs) for ours, theirs in zip(whole, alone, strict=True)
        )


def test_who_is_left_out_changes_nobodys_draws():
    kept = torch.tensor([True, False, True])
    whole, some = chance(0, 1, 2), chance(0, 1, 2)
    first = some.uniform()
    rest = everything(some.of(kept), 2)
    assert torch.equal(first, whole.uniform())
    assert all(
        torch.equal(ours[kept], theirs)
        for ours, theirs in zip(everything(whole, 3), rest, strict=True)
    )


def test_what_a_part_draws_is_not_drawn_again():
    whole = chance(0, 1)
    part = whole.of(torch.tensor([True, False])).uniform()
    again = whole.uniform()
    assert part[0] != again[0]
    assert again[1] == chance(0, 1).uniform()[1]


def test_participants_steps_and_seeds_have_draws_of_their_own():
    drawn = [
        float(chance(position, seed=seed, step=step).uniform())
        for position in (0, 1, 2)
        for seed in (1, 2)
        for step in (0, 1, 2)
    ]
    # Distinct but for one in 2**24 of each of the 153 pairs.
    assert len(set(drawn)) == len(drawn)


def test_it_reads_and_moves_no_global_seed():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = everything(chance(0, 1), 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    again = everything(chance(0, 1), 2)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_the_numbers_are_distributed_as_they_should_be():
    """Over 4000 participants, each to four standard errors of its mean and its square's."""
    many, n = chance(*range(4000)), 4000
    normal = many.normal(torch.empty(n, 1))
    assert normal.mean().item() == pytest.approx(0, abs=4 / n**0.5)
    assert normal.square().mean().item() == pytest.approx(1, abs=4 * (2 / n) ** 0.5)
    uniform = many.uniform()
    assert uniform.mean().item() == pytest.approx(0.5, abs=4 / (12 * n) ** 0.5)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    shares = torch.bincount(many.integers(3), minlength=3) / n
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=4 * (2 / 9 / n) ** 0.5)


def test_a_choice_is_in_proportion_to_each_ones_own_weights():
    n = 3000
    weights = torch.tensor([[0.0, 1.0, 3.0], [2.0, 0.0, 0.0], [1.0, 1.0, 1.0]]).repeat(n // 3, 1)
    drawn = chance(*range(n)).choice(weights).reshape(-1, 3)
    limit = 4 * (0.25 / (n / 3)) ** 0.5  # four SD of a share of half
    assert drawn[:, 0].min() == 1
    assert (drawn[:, 0] == 2).float().mean().item() == pytest.approx(0.75, abs=limit)
    assert torch.all(drawn[:, 1] == 0)
    shares = torch.bincount(drawn[:, 2], minlength=3) / (n / 3)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=limit)


def test_whole_numbers_may_end_at_each_ones_own():
    drawn = chance(*range(3000)).integers([1, 2, 1000] * 1000).reshape(-1, 3)
    assert torch.all(drawn[:, 0] == 0)
    assert set(drawn[:, 1].tolist()) == {0, 1}
    assert drawn[:, 2].max() > 900


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_normal_numbers_are_of_the_kind_asked_for(dtype):
    like = torch.zeros(2, 3, 4, dtype=dtype)
    drawn = chance(0, 1).normal(like)
    assert drawn.dtype == dtype
    assert drawn.shape == like.shape
    assert torch.equal(drawn, chance(0, 1).normal(torch.zeros(2, 3, 4)).to(dtype))


def test_there_is_a_generator_for_everyone():
    assert len(chance(5, 7, 9)) == 3
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        chance(5, 7, 9).of(torch.tensor([True, False]))
