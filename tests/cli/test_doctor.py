import pytest

from relad_bids import __version__
from relad_bids.cli import doctor
from relad_bids.cli.workshop import main
from relad_bids.resources import available


@pytest.fixture
def told(capsys):
    def run(*words):
        code = main(["doctor", *map(str, words)])
        lines = capsys.readouterr().out.splitlines()
        return code, dict(line.split("\t", 1) for line in lines)

    return run


def test_the_facts_that_are_asked_for(told):
    code, facts = told()
    machine = available()
    assert code == 0
    assert facts["relad-bids"] == __version__
    assert facts["CPUs"] == f"{machine.cpus} ({machine.cpus_source})"
    assert facts["memory"] == f"{machine.memory_mb} MB ({machine.memory_source})"
    assert facts["checkpoint"].startswith("relad-demo")
    assert facts["templates and tables"].endswith("as they were packaged")
    assert "CUDA of torch" in facts["GPUs"]
    assert set(doctor.PACKAGES) <= set(facts)
    assert "not installed" not in facts.values()


def test_a_damaged_checkpoint(told, tmp_path):
    code, facts = told("--model-dir", tmp_path)
    assert code == 1
    assert facts["checkpoint"].startswith("DAMAGED: ")
    assert str(tmp_path) in facts["checkpoint"]


def test_folders_that_can_be_written_and_that_are_not_there(told, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "none"))
    facts = dict(doctor.facts(doctor.BUNDLED))
    assert facts["TORCH_HOME"] == f"{tmp_path} (writable)"
    assert facts["NUMBA_CACHE_DIR"] == f"{tmp_path / 'none'} (not there yet)"
