import os
import subprocess
import sys

from relad_bids.cli import caches
from relad_bids.cli.caches import CACHES, COLLECTIONS, private_caches
from relad_bids.cli.run import quiet_environment

NOWHERE = "/proc/nowhere"
"""Where even root can make nothing, as below a read-only root."""


def test_a_home_of_ours_is_left_alone(tmp_path):
    environ = {"HOME": str(tmp_path)}
    assert private_caches(environ) is None
    assert environ == {"HOME": str(tmp_path)}


def test_without_a_home_every_cache_is_private():
    environ = {"HOME": NOWHERE}
    folder = private_caches(environ)
    assert set(environ) == {"HOME", *CACHES, *COLLECTIONS}
    for name in (*CACHES, *COLLECTIONS):
        assert environ[name] == str(folder / name)
        assert os.access(folder / name, os.W_OK)
    assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_can_be_made_is_made_and_kept(tmp_path):
    environ = {"HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "a" / "b")}
    assert private_caches(environ) is None
    assert (tmp_path / "a" / "b").is_dir()


def test_only_what_does_not_fit_is_replaced(tmp_path):
    environ = {"HOME": str(tmp_path), "MPLCONFIGDIR": NOWHERE, "XDG_CACHE_HOME": str(tmp_path)}
    folder = private_caches(environ)
    assert environ["MPLCONFIGDIR"] == str(folder / "MPLCONFIGDIR")
    assert environ["XDG_CACHE_HOME"] == str(tmp_path)
    assert "TORCH_HOME" not in environ


def test_what_another_user_made_is_not_read(tmp_path, monkeypatch):
    """Its owner could have put a matplotlibrc or a compiled function there."""
    environ = {"HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "theirs")}
    monkeypatch.setattr(caches.os, "getuid", lambda: 4_000_000)
    assert private_caches(environ) is not None
    assert environ["MPLCONFIGDIR"] != str(tmp_path / "theirs")


def test_a_filled_collection_is_only_read(tmp_path, monkeypatch):
    """Templates that a site has fetched for all, owned by somebody else."""
    (tmp_path / "tpl-MNI152NLin6Asym").mkdir()
    environ = {"HOME": NOWHERE, "TEMPLATEFLOW_HOME": str(tmp_path), "HF_HOME": NOWHERE}
    monkeypatch.setattr(caches.os, "getuid", lambda: 4_000_000)
    private_caches(environ)
    assert environ["TEMPLATEFLOW_HOME"] == str(tmp_path)
    assert environ["HF_HOME"] != NOWHERE


def test_the_folder_goes_with_the_process():
    code = "from relad_bids.cli.caches import private_caches; print(private_caches({'HOME': ''}))"
    done = subprocess.run(
        [sys.executable, "-c", code.replace("''", repr(NOWHERE))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "relad-bids-" in done.stdout
    assert not os.path.exists(done.stdout.strip())  # noqa: PTH110


def test_a_forked_worker_leaves_the_folder(tmp_path):
    caches._remove(tmp_path, os.getpid() + 1)
    assert tmp_path.is_dir()
    caches._remove(tmp_path, os.getpid())
    assert not tmp_path.exists()


def test_threads_of_libraries_are_one_whatever_the_shell_says(monkeypatch):
    """A cluster's profile often exports as many as a node has."""
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    quiet_environment()
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["NO_ET"] == "1"
