from pathlib import Path

import pytest

from relad_bids import __version__
from relad_bids.cli import workshop
from relad_bids.cli.parser import parse
from relad_bids.cli.run import main

PLACES = ["bids", "out", "participant"]


def test_defaults():
    args = parse(PLACES)
    assert (args.bids_dir, args.output_dir) == (Path("bids"), Path("out"))
    assert args.participants == []
    assert args.missing_flair == "skip"
    assert args.min_coverage == 0.5
    assert args.random_seed == 0
    assert (args.n_samples, args.sampling_steps) == (1, None)
    assert args.work_dir == Path("work")
    assert args.nprocs is None


@pytest.mark.parametrize("flag", ["--participant-label", "--participant_label", "--subject-label"])
def test_spellings_of_the_participants(flag):
    assert parse([*PLACES, flag, "01", "02"]).participants == ["01", "02"]


def test_labels_add_up_and_are_not_remembered():
    """A list as default is shared by every run of one process unless it is copied."""
    first = parse([*PLACES, "--participant-label", "01", "--participant-label", "02"])
    assert first.participants == ["01", "02"]
    assert parse(PLACES).participants == []


@pytest.mark.parametrize("flag", ["--nprocs", "--nthreads", "--n_cpus", "--n-cpus", "--ncpus"])
def test_spellings_of_the_processors(flag):
    assert parse([*PLACES, flag, "3"]).nprocs == 3


@pytest.mark.parametrize(
    "flags",
    [["--skip-bids-validation"], ["--notrack"], ["--fs-license-file", "license.txt"]],
)
def test_flags_of_other_apps_are_accepted(flags):
    parse([*PLACES, *flags])


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ([], 64, "the following arguments are required"),
        (["bids", "out"], 64, "analysis_level"),
        ([*PLACES, "--missing-flair", "guess"], 64, "invalid choice: 'guess'"),
        ([*PLACES, "--random-seed", "x"], 64, "invalid int value: 'x'"),
        ([*PLACES, "--n-samples", "2.5"], 64, "invalid int value: '2.5'"),
        ([*PLACES, "--min-cov", "0.3"], 64, "unrecognized arguments"),
        (["bids", "out", "session"], 17, "level 'session' is not supported; use participant or"),
        (["bids", "out", "Participant"], 17, "level 'Participant' is not supported"),
    ],
)
def test_what_is_not_offered(capsys, argv, code, message):
    with pytest.raises(SystemExit, match=f"^{code}$"):
        main(argv)
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.out == ""


@pytest.mark.parametrize(("entry", "program"), [(main, "relad-bids"), (workshop.main, "relad")])
def test_version_is_on_stdout(capsys, entry, program):
    with pytest.raises(SystemExit, match=r"^0$"):
        entry(["--version"])
    assert capsys.readouterr().out == f"{program} {__version__}\n"


@pytest.mark.parametrize("argv", [[], ["bake"], ["models"], ["train", "recipe.toml"]])
def test_workshop_usage(capsys, argv):
    with pytest.raises(SystemExit, match=r"^64$"):
        workshop.main(argv)
    assert "relad" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["nowhere", "{out}", "participant"], 66, "dataset was looked for at"),
        (["nowhere", "{out}", "group"], 66, "VOI tables were looked for in"),
        (["x", "{out}", "participant", "--synth-tracers", "gold"], 64, "tracer 'gold' is not"),
        (["x", "{out}", "participant", "--min-coverage", "2"], 64, "min_coverage 2.0 is not in"),
        (["x", "{out}", "participant", "--n-samples", "0"], 64, "n_samples 0 is below 1"),
    ],
)
def test_errors_are_one_message_and_their_code(capsys, tmp_path, argv, code, message):
    assert main([part.format(out=tmp_path / "out") for part in argv]) == code
    streams = capsys.readouterr()
    assert streams.err.startswith("relad-bids: ")
    assert message in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""
