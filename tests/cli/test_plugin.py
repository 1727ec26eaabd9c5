import json

import pytest

from relad_bids.cli.parser import parse
from relad_bids.cli.plugin import PLUGINS, read_plugin
from relad_bids.cli.settings import config_of
from relad_bids.errors import ConfigError, InputError
from relad_workflows.execute import _plugin


@pytest.fixture
def write(tmp_path):
    def _write(text, name="plugin.yml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return _write


@pytest.mark.parametrize("name", ["plugin.json", "plugin.yml"])
def test_what_a_file_says(write, name):
    """JSON is YAML, too."""
    told = {"plugin": "SLURM", "plugin_args": {"sbatch_args": "--mem=4G", "max_tries": 3}}
    assert read_plugin(write(json.dumps(told), name)) == ("SLURM", told["plugin_args"])


def test_arguments_may_be_left_out(write):
    assert read_plugin(write("plugin: Linear\n")) == ("Linear", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plugin: Dask\n", r"asks for the plugin 'Dask'; Nipype has Linear, MultiProc"),
        ("plugin: [SLURM]\n", r"asks for the plugin \['SLURM'\]"),
        ("", r"says None; needed is for example"),
        ("SLURM\n", r"says 'SLURM'; needed is"),
        ("plugin: SLURM\nqueue: long\n", r"says \['plugin', 'queue'\]"),
        ("plugin: SLURM\nplugin_args: -p long\n", r"plugin_args is '-p long'"),
        ("plugin: {\n", r"neither JSON nor YAML"),
        ("plugin: !!python/object/apply:os.system [true]\n", r"neither JSON nor YAML"),
    ],
)
def test_what_cannot_be_used(write, text, message):
    with pytest.raises(ConfigError, match=message):
        read_plugin(write(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"nothing.json cannot be read"):
        read_plugin(tmp_path / "nothing.json")


def test_every_plugin_offered_is_one_of_nipypes():
    from nipype.pipeline import plugins

    for name in PLUGINS:
        assert hasattr(plugins, f"{name}Plugin"), name


def plugin_of(*flags):
    return _plugin(config_of(parse(["bids", "out", "participant", *map(str, flags)])))


def test_limits_of_the_command_line_hold_unless_the_file_has_others(write):
    path = write('{"plugin": "MultiProc", "plugin_args": {"n_procs": 3}}', "plugin.json")
    name, arguments = plugin_of("--nipype-plugin-file", path, "--nprocs", 1, "--mem", "2G")
    assert name == "MultiProc"
    assert arguments == {"n_procs": 3, "memory_gb": 2.0, "raise_insufficient": False}


def test_a_cluster_has_limits_of_its_own(write):
    path = write("plugin: SLURM\nplugin_args: {sbatch_args: -p long}\n")
    assert plugin_of("--nipype-plugin-file", path) == ("SLURM", {"sbatch_args": "-p long"})


@pytest.mark.parametrize("nprocs", [1, 2])
def test_without_a_file(nprocs):
    """One CPU has a worker, too."""
    name, arguments = plugin_of("--nprocs", nprocs)
    assert (name, arguments["n_procs"]) == ("MultiProc", nprocs)
