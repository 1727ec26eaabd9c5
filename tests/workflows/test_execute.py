import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow
from toys import tiny_config

from relad_workflows.execute import execute


def fail_on(value):
    if value == "bad":
        raise ValueError("bad was given")
    return value


@pytest.fixture
def crash_dir(tmp_path):
    folder = tmp_path / "crashes"
    folder.mkdir()
    return folder


def graph(tmp_path, values):
    workflow = Workflow(name="toy_wf", base_dir=str(tmp_path / "work"))
    for i, value in enumerate(values):
        step = Function(["value"], ["out"], fail_on)
        step.inputs.value = value
        workflow.add_nodes([Node(step, name=f"step{i}")])
    return workflow


def results(tmp_path):
    return sorted(path.parent.name for path in tmp_path.glob("work/toy_wf/*/result_*.pklz"))


@pytest.mark.parametrize("nprocs", [1, 2])
def test_one_failure_does_not_stop_the_others(tmp_path, crash_dir, nprocs):
    config = tiny_config(tmp_path, nprocs=nprocs)
    execute(graph(tmp_path, ["a", "bad", "c"]), config=config, crash_dir=crash_dir)
    (crash,) = crash_dir.glob("crash-*.txt")
    assert "bad was given" in crash.read_text()
    assert {"step0", "step2"} <= set(results(tmp_path))


def test_nothing_fails(tmp_path, crash_dir):
    execute(graph(tmp_path, ["a", "b"]), config=tiny_config(tmp_path), crash_dir=crash_dir)
    assert list(crash_dir.iterdir()) == []
    assert results(tmp_path) == ["step0", "step1"]
