import pytest

from relad_bids.core.memory import HEAD_VOXELS, least_gb, memory_factor


def test_a_head_of_a_millimetre_and_less_takes_what_the_builders_say():
    assert memory_factor(HEAD_VOXELS) == 1
    assert memory_factor(1000) == 1
    assert memory_factor(HEAD_VOXELS + 1) > 1


def test_many_voxels_count_in_proportion():
    """Imports no longer matter."""
    assert memory_factor(10**10) / memory_factor(10**9) == pytest.approx(10, rel=0.01)


# Peak in GB of each step on cubes, printed by benchmarks/step_memory.py.
MEASURED = {160: 0.615, 256: 1.467, 320: 2.621}


@pytest.mark.parametrize(("side", "gb"), MEASURED.items())
def test_the_estimate_is_above_what_was_measured_and_not_wasteful(side, gb):
    from relad_workflows.prepare import IMAGE_MEM_GB, REGISTRATION_MEM_GB

    factor = memory_factor(side**3)
    assert gb <= factor * IMAGE_MEM_GB
    assert gb <= least_gb(side**3) < factor * REGISTRATION_MEM_GB


def test_the_least_is_what_a_whole_run_was_seen_to_take():
    """`benchmarks/one_subject.py`: 1.36 GB with a head of 2 mm, 91 x 109 x 91."""
    assert least_gb(91 * 109 * 91) == pytest.approx(1.36, abs=0.02)
