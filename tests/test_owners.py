import subprocess
import sys
from multiprocessing import get_context

import pytest

from relad_bids.owners import claimed, is_gone, own_token, token_in


def token_of_a_dead_process():
    ask = "from relad_bids.owners import own_token; print(own_token())"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_living_process_is_not_gone():
    assert not is_gone(own_token())


def test_a_dead_process_is_gone():
    assert is_gone(token_of_a_dead_process())


def test_a_number_that_was_given_again_is_another_process():
    machine, pid, began = own_token().split("-")
    assert is_gone(f"{machine}-{pid}-{int(began) - 1}")


@pytest.mark.parametrize("token", ["0badf00d-1-1", "", "no token", "../../x"])
def test_nothing_is_claimed_of_other_machines_and_other_files(token):
    assert not is_gone(token)


def test_a_name_carries_its_token():
    assert token_in(f".sub-01_T1w.nii.gz.{own_token()}.abcd.part") == own_token()
    assert token_in("sub-01_T1w.nii.gz") is None


def test_a_claim_ends_with_its_block(tmp_path):
    with claimed(tmp_path, ["a", "b"]) as free:
        assert free
        assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())


def test_one_name_of_another_and_none_is_kept(tmp_path):
    with claimed(tmp_path, ["b"]), claimed(tmp_path, ["a", "b", "c"]) as free:
        assert not free
        assert [path.name for path in tmp_path.iterdir()] == ["b@1"]


def test_one_name_that_begins_like_another(tmp_path):
    with claimed(tmp_path, ["sub_1"]), claimed(tmp_path, ["sub_11", "sub_1_ses_a"]) as free:
        assert free


def test_the_claim_of_a_dead_process_is_passed_over_and_cleared(tmp_path):
    (tmp_path / "a@3").write_text(token_of_a_dead_process())
    with claimed(tmp_path, ["a"]) as free:
        assert free
        assert [path.name for path in tmp_path.iterdir()] == ["a@4"]


def test_the_claim_of_another_machine_holds(tmp_path):
    """Whether its process lives cannot be known, so that it does is supposed."""
    (tmp_path / "a@1").write_text("0badf00d-1-1")
    with claimed(tmp_path, ["a"]) as free:
        assert not free
    assert (tmp_path / "a@1").exists()


def hold(folder, barrier, found):
    barrier.wait()
    with claimed(folder, ["a"]) as free:
        found.put(free)
        barrier.wait()


def test_of_many_at_once_at_most_one_has_it(tmp_path):
    context = get_context("fork")
    barrier, found = context.Barrier(8), context.SimpleQueue()
    (tmp_path / "a@1").write_text(token_of_a_dead_process())
    crowd = [context.Process(target=hold, args=(tmp_path, barrier, found)) for _ in range(8)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(30)
    assert sum(found.get() for _ in crowd) <= 1
    assert {path.name for path in tmp_path.iterdir()} <= {"a@1"}
