"""Nipype's plugins by --nipype-plugin-file run a graph, and tell a failure as the default does."""

from __future__ import annotations

import json
import os

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow
from slurm_cluster import cluster, lacking
from toys import tiny_config

from relad_bids.cli.plugin import read_plugin
from relad_workflows.execute import execute


def worker(value):
    """Where a step ran: its job, its process; the value "bad" fails."""
    import os

    if value == "bad":
        raise ValueError("bad was given")
    return f"{os.environ.get('SLURM_JOB_ID', '')} {os.getpid()}"


def run(tmp_path, plugin_file, **settings):
    """Three steps in a session's sub-graph, one of which fails; return what the others said."""
    session = Workflow(name="sub_01_wf")
    for name in ("good", "bad", "fine"):
        node = Node(Function(["value"], ["out"], worker), name=name)
        node.inputs.value = name
        session.add_nodes([node])
    workflow = Workflow(name="relad_wf", base_dir=str(tmp_path / "work"))
    workflow.add_nodes([session])
    crash_dir = tmp_path / "crashes"
    crash_dir.mkdir()
    config = tiny_config(tmp_path, plugin=read_plugin(plugin_file), **settings)
    execute(workflow, config=config, crash_dir=crash_dir)
    (crash,) = crash_dir.glob("crash-*.txt")
    assert "bad was given" in crash.read_text()
    assert "relad_wf.sub_01_wf.bad" in crash.read_text()
    results = sorted((tmp_path / "work").glob("relad_wf/sub_01_wf/*/result_*.pklz"))
    from nipype.utils.filemanip import loadpkl

    found = {path.parent.name: loadpkl(path) for path in results}
    return [found[name].outputs.out.split(" ") for name in ("good", "fine")]


def test_multiproc(tmp_path):
    """Limits of the file go before those of the command line; other processes do the work."""
    plugin = tmp_path / "plugin.json"
    plugin.write_text(json.dumps({"plugin": "MultiProc", "plugin_args": {"n_procs": 2}}))
    said = run(tmp_path, plugin, nprocs=1)
    assert str(os.getpid()) not in {pid for _, pid in said}


def test_linear(tmp_path):
    plugin = tmp_path / "plugin.yml"
    plugin.write_text("plugin: Linear\n")
    said = run(tmp_path, plugin, nprocs=2)
    assert {pid for _, pid in said} == {str(os.getpid())}


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_slurm(tmp_path, monkeypatch):
    """Each step is a job of its own, and a failing one is told by its crash file."""
    plugin = tmp_path / "plugin.yml"
    plugin.write_text("plugin: SLURM\nplugin_args:\n  sbatch_args: --mem=500M\n")
    with cluster(tmp_path / "cluster") as environ:
        for name in ("SLURM_CONF", "PATH"):
            monkeypatch.setenv(name, environ[name])
        monkeypatch.setenv("LOGNAME", "relad")
        said = run(tmp_path, plugin)
    jobs = {job for job, _ in said}
    assert len(jobs) == 2
    assert all(jobs)
