"""The walls of the house, checked from the imports themselves."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"relad_bids": ROOT, "relad_workflows": ROOT / "workflows"}

IMAGING = {"nibabel", "nipype", "bids", "ants"}
LEARNING = {"torch", "monai", "safetensors"}
SHELLS = {
    "relad_bids.cli", "relad_bids.evaluate", "relad_bids.group", "relad_bids.interfaces",
    "relad_bids.reports", "relad_workflows",
}  # fmt: skip

FORBIDDEN = {
    "relad_bids.core": IMAGING | LEARNING | SHELLS
    | {"relad_bids.bids", "relad_bids.model", "relad_bids.mri", "relad_bids.pet",
       "relad_bids.phantom"},
    "relad_bids.model": {"nipype", "bids", "ants"} | SHELLS
    | {"relad_bids.bids", "relad_bids.mri", "relad_bids.pet", "relad_bids.phantom"},
    "relad_bids.pet": {"nipype", "bids"} | LEARNING | SHELLS
    | {"relad_bids.bids", "relad_bids.model", "relad_bids.phantom"},
    "relad_bids.mri": {"nipype", "bids"} | LEARNING | SHELLS
    | {"relad_bids.bids", "relad_bids.model", "relad_bids.phantom"},
    "relad_bids.phantom": {"nipype", "bids", "ants"} | LEARNING | SHELLS | {"relad_bids.model"},
    "relad_bids.bids": {"nipype", "ants"} | LEARNING | SHELLS | {"relad_bids.phantom"},
    "relad_bids.reports": {"nipype", "bids", "ants"} | LEARNING
    | SHELLS - {"relad_bids.reports"} | {"relad_bids.phantom"},
    "relad_bids.cohorts": {"nipype", "ants", "relad_bids.mri"}
    | SHELLS - {"relad_bids.reports"},
    "relad_bids.evaluate": {"nipype", "bids", "ants", "relad_bids.mri"}
    | SHELLS - {"relad_bids.evaluate"},
    "relad_bids.group": IMAGING | LEARNING
    | SHELLS - {"relad_bids.group", "relad_bids.reports"}
    | {"relad_bids.cohorts", "relad_bids.mri", "relad_bids.pet", "relad_bids.phantom",
       "relad_bids.model.kinds", "relad_bids.model.learning", "relad_bids.model.networks"},
    "relad_bids.interfaces": {"bids", "relad_workflows", "relad_bids.cli", "relad_bids.phantom",
                              "relad_bids.evaluate"},
    "relad_workflows": {"numpy", "nibabel", "bids", "ants", "relad_bids.cli",
                        "relad_bids.evaluate"} | LEARNING,
}  # fmt: skip
"""Package -> what no module in it may import, at any depth of a function."""

HEAVY = {
    "ants", "bids", "matplotlib", "monai", "nibabel", "nilearn", "nipype", "numpy", "pandas",
    "scipy", "skimage", "sklearn", "torch",
}  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of both packages by its dotted name."""
    found = {}
    for package, root in PACKAGES.items():
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Everything a module imports; ``from a import b`` is ``a.b`` where that is a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def lies_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_wall(package):
    inside = {name: path for name, path in MODULES.items() if lies_in(name, package)}
    assert len(inside) > 1, f"{package} is empty: has it moved?"
    breaches = [
        f"{name} imports {found}"
        for name, path in inside.items()
        for found in imported(path)
        for wall in FORBIDDEN[package] - {package}
        if lies_in(found, wall)
    ]
    assert breaches == []


def test_only_the_command_line_builds_graphs():
    users = {
        name
        for name, path in MODULES.items()
        for found in imported(path)
        if lies_in(found, "relad_workflows") and not lies_in(name, "relad_workflows")
    }
    assert users
    assert all(lies_in(name, "relad_bids.cli") for name in users)


def test_imports_run_one_way():
    """No circle, not even through an import inside a function."""
    graph = {
        name: {found for found in imported(path) if found in MODULES and found != name}
        for name, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nothing_relative_is_imported():
    """A relative import would escape the walls above."""
    relative = [
        f"{name} line {node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize(
    ("module", "argument"),
    [
        ("relad_bids.cli.run", "--help"),
        ("relad_bids.cli.run", "--version"),
        ("relad_bids.cli.workshop", "--help"),
        ("relad_bids.cli.workshop", "--version"),
    ],
)
def test_help_imports_nothing_heavy(module, argument):
    code = f"""
import sys
from {module} import main
try:
    main([{argument!r}])
except SystemExit as end:
    print(end.code, *sorted({HEAVY!r} & {{m.partition(".")[0] for m in sys.modules}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "0"
