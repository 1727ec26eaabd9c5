"""The unchanged Dockerfile, built with buildah and run by podman as on a careful cluster."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relad_bids import __version__
from relad_bids.phantom.dataset import write_dataset

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/relad-bids:test"
UID = 12345
FLAGS = ("--sloppy", "--synth-tracers", "pib", "--real-pet", "ignore", "--nprocs", "1")


def lacking() -> str:
    absent = [name for name in ("buildah", "podman", "mmdebstrap", "runc") if not find(name)]
    if absent:
        return f"{', '.join(absent)} not installed (Debian packages)"
    return "" if os.geteuid() == 0 else "building with --isolation chroot needs root here"


def find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


pytestmark = [
    pytest.mark.container,
    pytest.mark.xdist_group("container"),
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Where images lie: RELAD_CONTAINER_WORK keeps them for the next time, else they go."""
    if kept := os.environ.get("RELAD_CONTAINER_WORK"):
        yield Path(kept).absolute()
        return
    folder = tmp_path_factory.mktemp("containers")
    yield folder
    remove = [*engine(folder), "system", "reset", "--force"]
    subprocess.run(remove, capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def image(work):
    """The work folder, once the image of this checkout is in it."""
    command = [str(ROOT / "tests" / "containers" / "build.sh"), str(work), IMAGE, "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(f"\n{done.stdout}", end="")
    return work


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A simulated head that nobody may write to."""
    out = tmp_path_factory.mktemp("data") / "bids"
    write_dataset(out, n=1, preset="strong", seed=5, voxel_mm=3.0, pet_participants=0)
    for path in (out.parent, *out.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return out


def engine(work: Path) -> list[str]:
    return ["podman", "--root", str(work / "storage"), "--runroot", str(work / "run")]


def run(
    work: Path, *words: object, entry: str | None = None, volumes: tuple[str, ...] = (),
    limits: tuple[str, ...] = (),
):  # fmt: skip
    """No network, nothing writable but /tmp and what is given; a uid without a name or a home."""
    command = [
        *engine(work), "run", "--rm", "--runtime", find("runc"), "--ulimit", "nofile=1024:1024",
        "--ulimit", "nproc=4096:4096", "--network", "none", "--read-only", "--tmpfs", "/tmp",
        "--user", f"{UID}:{UID}", "--env", "HOME=/nowhere", *limits,
        *(part for volume in volumes for part in ("--volume", volume)),
        *(["--entrypoint", entry] if entry else []), IMAGE, *map(str, words),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_entry_point_is_the_program(image):
    assert run(image, "--version").stdout == f"relad-bids {__version__}\n"


def test_inside_nobody_special_has_no_home_no_network_and_no_place_to_write(image):
    """What makes the run below a hard one is really so."""
    script = "id -u; touch /opt/x /root/x ~/x; ls /sys/class/net; "
    script += "python -c 'import getpass; print(getpass.getuser())'"
    done = run(image, "-c", script, entry="sh")
    assert done.stdout.split() == [str(UID), "lo", "relad"]
    assert len(done.stderr.splitlines()) == 3
    assert all("cannot touch" in line for line in done.stderr.splitlines())


def test_the_image_fixes_no_home(image):
    inspect = [*engine(image), "image", "inspect", IMAGE, "--format", "{{.Config.Env}}"]
    said = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout
    assert "MPLCONFIGDIR=" in said
    assert "HOME=/" not in said.replace("_HOME=/", "=/")


def test_limits_of_the_container_are_seen(image):
    code = "from relad_bids.resources import available; print(available())"
    done = run(image, "-c", code, entry="python", limits=("--cpus", "1", "--memory", "3g"))
    assert "cpus=1, cpus_source='cgroup v" in done.stdout
    assert "memory_mb=3072, memory_source='cgroup v" in done.stdout


def test_too_little_memory_is_said_before_anything_starts(image, dataset, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, UID, UID)
    done = run(
        image, "/data", "/out", "participant", "-w", "/tmp/work", *FLAGS,
        volumes=(f"{dataset}:/data:ro", f"{out}:/out"), limits=("--memory", "1200m"),
    )  # fmt: skip
    assert done.returncode == 75, done.stderr
    assert "sub-001: needs about 1.5 GB of memory (relad-demo" in done.stderr
    assert "given are 1.2 GB. Nothing of it was started" in done.stderr
    assert not list(out.glob("sub-001/anat"))


def test_assets_are_those_of_the_manifest(image):
    done = run(image, "assets", entry="relad")
    assert done.returncode == 0, done.stderr
    assert "files of relad-bids itself" in done.stdout
    assert "checkpoint relad-demo" in done.stdout


def test_nothing_of_the_build_is_left(image):
    """Not the source, not what pip was told or kept; each is missed with one line."""
    gone = ["/src", "/root/.cache", "/etc/pip.conf"]
    gone += os.environ.get("PIP_FIND_LINKS", "").split()
    script = f"ls -A {' '.join(map(shlex.quote, gone))}; python -m pip --version"
    done = run(image, "-c", script, entry="sh")
    assert done.stdout == ""
    assert done.stderr.count("\n") == len(gone) + 1


def test_a_gpu_that_is_not_there_is_said_at_once(image, dataset, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, UID, UID)
    done = run(
        image, "/data", "/out", "participant", "-w", "/tmp/work", "--device", "cuda",
        volumes=(f"{dataset}:/data:ro", f"{out}:/out"),
    )  # fmt: skip
    assert done.returncode == 64
    assert "torch sees no GPU" in done.stderr
    assert "--nv (Apptainer)" in done.stderr


def test_a_participant_and_the_group(image, dataset, tmp_path):
    """Read-only dataset and root, then the group without any dataset; files are the user's."""
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, UID, UID)
    start = time.monotonic()
    done = run(
        image, "/data", "/out", "participant", "-w", "/tmp/work", *FLAGS,
        volumes=(f"{dataset}:/data:ro", f"{out}:/out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 done, 0 left out, 0 failed" in done.stderr
    assert "Traceback" not in done.stderr
    print(f"\nparticipant in the container: {time.monotonic() - start:.0f} s")
    (table,) = out.glob("sub-001/pet/*_kinpar.tsv")
    group = run(image, "/data", "/out", "group", volumes=(f"{out}:/out",))
    assert group.returncode == 0, group.stderr
    assert (out / "group.html").is_file()
    assert {path.stat().st_uid for path in out.rglob("*")} == {UID}

    plain = tmp_path / "plain"
    command = ["relad-bids", dataset, plain, "participant", "-w", tmp_path / "work", *FLAGS]
    subprocess.run(
        [sys.executable, "-m", "relad_bids", *map(str, command[1:])], check=True,
        capture_output=True,
    )  # fmt: skip
    same = table.read_bytes() == (plain / table.relative_to(out)).read_bytes()
    print(f"table inside and outside: {'the same bytes' if same else 'they differ'}")
    assert same
