import gc
import multiprocessing
import tracemalloc

import numpy as np
import pytest

from relad_bids.cohorts.kept import Kept, digest
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract
from relad_bids.errors import OutputError
from relad_bids.model.data import Cohort, Sample, loader

SHAPE = (5, 7, 6)


class Maker:
    """Participants of three tracers, the second one missing in every second of them."""

    def __init__(self, shape=SHAPE):
        self.shape, self.made = shape, []

    def __call__(self, index):
        self.made.append(index)
        rng = np.random.default_rng([3, index])
        mask = rng.random(self.shape) < 0.6
        images = rng.uniform(-1, 1, (5, *self.shape)).astype(np.float32)
        images[:, ~mask] = -1
        if index == 4:
            images[1] = -1  # no FLAIR
        available = np.array([True, index % 2 == 0, True])
        images[2:][~available] = -1
        return Sample(mri=images[:2], pet=images[2:], available=available, mask=mask)

    def key(self, index):
        return f"person-{index}"


@pytest.fixture
def make():
    return Maker()


@pytest.fixture
def kept(make, tmp_path):
    return Kept(make, make.key, tmp_path / "kept")


def test_what_is_kept_is_what_was_first_given(make, kept):
    """float16 from the first time on: the second epoch must not see other numbers."""
    for index in (1, 2, 4):
        first, again, made = kept(index), kept(index), make(index)
        for name in ("mri", "pet"):
            ours = getattr(first, name)
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours, getattr(again, name))
            # float16 holds 11 bits: half a step below 1 is 2.4e-4
            np.testing.assert_allclose(ours, getattr(made, name), atol=2.5e-4)
            assert (ours[:, ~made.mask] == -1).all()
        for name in ("available", "mask"):
            ours = getattr(again, name)
            assert ours.dtype == bool
            np.testing.assert_array_equal(ours, getattr(made, name))
    assert (kept(4).mri[1] == -1).all()
    assert (kept(1).pet[1] == -1).all()


def test_each_is_made_once(make, kept, tmp_path):
    for index in (3, 1, 3, 1, 3):
        kept(index)
    Kept(make, make.key, tmp_path / "kept")(3)  # another run
    assert make.made == [3, 1]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "person-1.npy", "person-3.npy",
    ]  # fmt: skip


def test_another_key_is_another_sample(make, tmp_path):
    """As of an input that was changed."""
    for version in ("a", "b", "a"):
        Kept(make, lambda index, v=version: f"{v}-{index}", tmp_path)(0)
    assert make.made == [0, 0]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"<html>", "cut"])
def test_a_file_that_was_cut_short_is_made_again(make, kept, tmp_path, content):
    first = kept(2)
    path = tmp_path / "kept" / "person-2.npy"
    path.write_bytes(path.read_bytes()[:-1] if content == "cut" else content)
    np.testing.assert_array_equal(kept(2).pet, first.pet)
    assert make.made == [2, 2]


def test_nothing_half_written_is_left(make, tmp_path, monkeypatch):
    """Neither where making is stopped, nor where writing is: the disk is full."""

    def stop(index):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Kept(stop, str, tmp_path)(0)
    assert list(tmp_path.iterdir()) == []

    def half(file, stack):
        file.write(stack.tobytes()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(
        OutputError, match=r"cannot keep .* \(No space left on device\), 0\.002\d* MB"
    ):
        Kept(make, str, tmp_path)(0)
    assert list(tmp_path.iterdir()) == []


def _ask(kept, barrier):
    barrier.wait()
    for index in range(6):
        kept(index)


def test_processes_share_the_folder(kept, tmp_path):
    """Four begin at once; each file is whole, whoever wrote it."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    others = [context.Process(target=_ask, args=(kept, barrier)) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0] * 4
    assert len(list((tmp_path / "kept").iterdir())) == 6
    fresh = Kept(Maker(), str, tmp_path / "fresh")
    for index in range(6):
        np.testing.assert_array_equal(kept(index).mri, fresh(index).mri)


def test_workers_read_what_is_kept(kept, make):
    """In the order of the cohort; the second round makes nobody anew, in no process."""
    cohort = Cohort(kept, [2, 0, 1])
    alone = list(loader(cohort, batch_size=1, workers=0))
    make.made.clear()
    kept.make = None  # would be called
    helped = list(loader(cohort, batch_size=1, workers=2))
    for ours, theirs in zip(helped, alone, strict=True):
        assert (ours.mri == theirs.mri).all()
        assert (ours.available == theirs.available).all()


def peak(n, folder):
    """Most bytes of arrays held at once in two rounds through ``n`` participants."""
    make = Maker((24, 25, 26))
    cohort = Cohort(Kept(make, make.key, folder / str(n)), list(range(n)) * 2)
    gc.collect()
    tracemalloc.start()
    for batch in loader(cohort, batch_size=2, workers=0):
        assert batch.mri.shape[0] <= 2
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return highest


def test_memory_does_not_grow_with_the_cohort(tmp_path):
    """25 participants take no more than 5, give or take one image of float32 (62 kB)."""
    peak(1, tmp_path)  # what is imported on the way
    few, many = peak(5, tmp_path), peak(25, tmp_path)
    assert abs(many - few) < 24 * 25 * 26 * 4


def test_equal_facts_have_one_digest_and_order_counts():
    grid = Grid((4, 5, 6), np.diag([2.0, 2, 2, 1]))
    assert digest([grid, MRIContract()]) == digest(
        [Grid(grid.shape, grid.affine + 0), MRIContract()]
    )
    assert digest({"pib": 1, "tau": 2}) != digest({"tau": 2, "pib": 1})
    assert len(digest("x")) == 16
    with pytest.raises(TypeError, match="object has no place in the name of a file"):
        digest([object()])
