"""``relad train`` on measured pairs, from derivatives to a checkpoint that answers."""

import hashlib
import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from derivatives import BRAIN, TRC, write_people
from safetensors.torch import load_file

from relad_bids.cli import train as command
from relad_bids.cli.workshop import main
from relad_bids.model.checkpoint import load_checkpoint
from relad_bids.model.learning import paired
from relad_bids.model.predictor import Predictor

PEOPLE = [f"sub-{number:02}" for number in range(1, 19)]
LACKS = {"sub-03": ["pib"], "sub-06": ["FLAIR"], "sub-09": ["flortaucipir"]}
FAMILIES = {label: f"F{(number + 1) // 2}" for number, label in enumerate(PEOPLE, start=1)}

RECIPE = """
name = "toy"
version = "3"
statement = "For tests."
seed = 4
[grid]
space = "MNI152NLin2009cAsym"
shape = [13, 14, 12]
affine = [[13, 0, 0, -78], [0, 14, 0, -108], [0, 0, 14, -70], [0, 0, 0, 1]]
[architecture]
n_sequences = 2
n_tracers = 2
channels = [4, 6]
n_residual_units = 1
rank = 2
[suvr_max]
flortaucipir = 5.0
pib = 4.0
[data]
source = "derivatives"
root = "out"
resolution = "14"
[train]
steps = 3
batch_size = 2
warmup_steps = 0
workers = 0
save_every = 1
precision = "fp32"
[watch]
every = 1
patience = 0
"""
TUNE = """
name = "tuned"
version = "1"
statement = "For tests."
[data]
source = "derivatives"
root = "few"
resolution = "14"
[suvr_max]
pib = 4.0
[train]
steps = 2
batch_size = 1
learning_rate = 1e-3
warmup_steps = 0
workers = 0
precision = "fp32"
"""


def with_lines(recipe, table, *lines):
    """Add lines to a table of a recipe."""
    return recipe.replace(f"[{table}]\n", "\n".join([f"[{table}]", *lines, ""]))


def relad_train(*args):
    return main(["train", *map(str, args), "--threads", "1"])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """14 people in ``out``; some lack a tracer or FLAIR. Families of two."""
    folder = tmp_path_factory.mktemp("study")
    write_people(folder / "out", PEOPLE, lacks=LACKS)
    listed = pd.DataFrame({"participant_id": PEOPLE, "family": FAMILIES.values()})
    listed.to_csv(folder / "out" / "participants.tsv", sep="\t", index=False)
    return folder


@pytest.fixture(scope="module")
def write(study):
    def write(text, name="recipe.toml"):
        (study / name).write_text(text)
        return study / name

    return write


@pytest.fixture(scope="module")
def trained(study, write):
    """The folder of a finished training, and what it wrote on the way."""
    path = write(with_lines(RECIPE, "data", 'test_participants = ["01", "sub-02"]'), "whole.toml")
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert relad_train(path, study / "whole") == 0
    return study / "whole", out.getvalue(), err.getvalue()


def sides_of(folder):
    tables = [
        pd.read_csv(folder / name, sep="\t")
        for name in ("training_participants.tsv", "held_out_participants.tsv")
    ]
    table = pd.concat(tables)
    return {side: set(rows) for side, rows in table.groupby("side")["participant_id"]}


def weights(folder):
    return load_file(folder / "model.safetensors")


def equal(first, second):
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_pairs_become_a_checkpoint_that_answers(trained, study):
    folder, out, _ = trained
    predictor = Predictor.from_folder(folder)
    reader = paired.read_pair
    sample = reader(
        pair_of(study / "out", "sub-01"), BRAIN,
        suvr_max={"flortaucipir": 5.0, "pib": 4.0}, contract=predictor.card.mri_contract,
    )  # fmt: skip
    for tracer in ("flortaucipir", "pib"):
        answer = predictor.predict(sample.mri, tracer)
        assert answer.shape == (1, 1, *BRAIN.shape)
        assert np.isfinite(answer).all()
    assert f"{folder}: toy-3+" in out
    assert "(2 participants held out, who had no say in anything)" in out
    assert re.search(r"pib: unet [+-]\d\.\d{3}, regression [+-]\d\.\d{3}", out)


def pair_of(root, label):
    from relad_bids.bids.pairs import find_pairs

    found = find_pairs(
        root, grid=BRAIN, space="MNI152NLin2009cAsym", resolution="14",
        tracers=["flortaucipir", "pib"],
    )  # fmt: skip
    return next(pair for pair in found.pairs if pair.label == label)


def test_every_person_has_one_side(trained):
    """16 are not tested: 2 are watched (15 %), half of the others start."""
    sides = sides_of(trained[0])
    assert {side: len(people) for side, people in sides.items()} == {
        "start": 7, "train": 7, "validation": 2, "test": 2,
    }  # fmt: skip
    assert set.union(*sides.values()) == set(PEOPLE)
    assert sides["test"] == {"sub-01", "sub-02"}


def test_the_card_says_who_and_names_nobody(trained, study):
    folder = trained[0]
    text = (folder / "model.json").read_text()
    assert not re.search(r"sub-\d", text)
    assert str(study) not in text
    card = json.loads(text)
    data = card["training"]["data"]
    assert data["source"] == "derivatives"
    assert data["participants"] == {"start": 7, "train": 7, "validation": 2, "test": 2}
    assert data["sessions"] == data["participants"]
    assert sum(data["scans"]["pib"].values()) == sum(data["scans"]["flortaucipir"].values()) == 17
    assert data["reference_regions"] == dict.fromkeys(("flortaucipir", "pib"), "cerebellum-whole")
    assert (data["fold"], data["groups"]) == (None, ["participant_id"])
    seen = sorted(set(PEOPLE) - {"sub-01", "sub-02"})
    hashed = hashlib.sha256("\n".join(seen).encode()).hexdigest()
    assert card["training"]["training_participants_sha256"] == hashed
    assert card["training"]["watch"] == {"every": 1, "patience": 0}
    figures = card["validation"]
    for of in ("skill_over_training_mean", "voi_mae_suvr"):
        assert figures[of].keys() == {"unet", "regression"}
        assert all(
            by_tracer.keys() == {"flortaucipir", "pib"} for by_tracer in figures[of].values()
        )
    assert all(0 < v < 1 for by in figures["voi_mae_suvr"].values() for v in by.values())


def test_what_sessions_lack_is_told(trained):
    err = trained[2]
    assert "sessions: 7 to start from, 7 to learn from, 2 held out for validation, 2 set" in err
    assert "sub-03 lacks: pib: found no measured image" in err
    assert "sub-06 lacks: FLAIR: found no " in err
    assert "3/3" in err  # the progress bar


def test_what_is_left_in_the_folder(trained):
    """Samples that were kept on the way are gone; what TensorBoard shows is there."""
    assert {path.name for path in trained[0].iterdir()} == {
        "model.safetensors", "model.json", "training-state.pt", "training-run.json", "events",
        "training_participants.tsv", "held_out_participants.tsv",
    }  # fmt: skip
    assert list((trained[0] / "events").iterdir())


def test_the_best_weights_are_kept(study, write):
    """Of three looks the smallest error, over tracers, is that of the checkpoint.

    Nobody is tested: the figures in the card are of those on whom early stopping looks. The
    rate grows so wild that the last look is not the best.
    """
    text = RECIPE.replace("warmup_steps = 0", "warmup_steps = 3\nlearning_rate = 0.5\nema = 0.0")
    assert relad_train(write(text), study / "watched") == 0
    state = torch.load(study / "watched" / "training-state.pt", weights_only=True)
    errors = [error for _, error in state["watch"]["errors"]]
    card = json.loads((study / "watched" / "model.json").read_text())
    of_model = card["validation"]["voi_mae_suvr"]["unet"]
    assert np.mean(list(of_model.values())) == pytest.approx(min(errors), rel=1e-5)
    assert min(errors) < errors[-1]
    assert card["validation"]["cohort"].startswith("3 participants held out, on whom early")


class PowerCutError(Exception):
    """The machine goes away in the middle of a run."""


def cut_after(monkeypatch, last):
    def progress(bar):
        def report(step, log):
            if step == last:
                raise PowerCutError

        return report

    monkeypatch.setattr(command, "_progress", progress)


def test_a_killed_run_goes_on_with_the_same_bits(trained, study, monkeypatch):
    """And reads nobody again whom it had read before."""
    recipe, reads = study / "whole.toml", []
    original = paired.read_pair

    def counted(pair, *args, **settings):
        reads.append(pair.label)
        return original(pair, *args, **settings)

    monkeypatch.setattr("relad_bids.cohorts.real.read_pair", counted)
    with monkeypatch.context() as patch:
        cut_after(patch, 2)
        with pytest.raises(PowerCutError):
            relad_train(recipe, study / "killed")
    assert not (study / "killed" / "model.json").exists()
    before = set(reads)
    assert len(before) == len(reads) >= 7 + 2
    reads.clear()
    assert relad_train(recipe, study / "killed") == 0
    assert not before & set(reads)
    assert equal(study / "killed", trained[0])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("seed = 4", "seed = 5"), "seed"),
        (("steps = 3", "steps = 4"), "train.steps"),
        (('resolution = "14"', 'resolution = "14"\nseed = 1'), "participants"),
        (('resolution = "14"', 'resolution = "14"\nleave_out = ["14"]'), "participants"),
        (("flortaucipir = 5.0\npib = 4.0", "pib = 4.0\nflortaucipir = 5.0"), "part.*, suvr_max"),
    ],
)  # fmt: skip
def test_another_run_does_not_go_on_from_the_state(trained, study, write, capsys, change, named):
    """Other people would have been learned from than the card says."""
    text = with_lines(RECIPE, "data", 'test_participants = ["01", "sub-02"]')
    assert relad_train(write(text.replace(*change)), trained[0]) == 19
    err = capsys.readouterr().err
    assert re.search(f"holds a run that differs from this one in {named}, and cannot", err)
    assert "remove training-state.pt" in err


def test_how_a_step_is_divided_is_no_other_run(trained, study, write, capsys):
    text = with_lines(RECIPE, "data", 'test_participants = ["01", "sub-02"]')
    text = text.replace("batch_size = 2", "batch_size = 1\naccumulate = 2")
    assert relad_train(write(text.replace("save_every = 1", "save_every = 2")), trained[0]) == 0


def test_a_list_that_cuts_a_family_is_refused_by_name(study, write, capsys):
    text = with_lines(
        RECIPE, "data", 'groups = ["participant_id", "family"]',
        'test_participants = ["sub-01", "sub-02", "sub-05"]',
    )  # fmt: skip
    assert relad_train(write(text), study / "cut") == 65
    assert (
        "share family F3 (sub-06 on one, sub-05 on the other). What is learned from one side"
        in capsys.readouterr().err
    )
    assert not (study / "cut" / "training-state.pt").exists()


def test_folds(study, write, capsys):
    """Each person is tested once, families together; one fold alone is the same as among all."""
    text = with_lines(
        RECIPE, "data", "n_folds = 2", 'groups = ["participant_id", "family"]',
        "validation_share = 0.25", "start_share = 0.8",
    ).replace("steps = 3", "steps = 1")  # fmt: skip
    text = text.replace("flortaucipir = 5.0\n", "").replace("n_tracers = 2", "n_tracers = 1")
    recipe = write(text)
    assert relad_train(recipe, study / "all", "--folds", "all") == 0
    out = capsys.readouterr().out
    tested = []
    for fold in (1, 2):
        folder = study / "all" / f"fold-{fold}"
        sides = sides_of(folder)
        families = {side: {FAMILIES[who] for who in people} for side, people in sides.items()}
        assert not families["test"] & (families["start"] | families["train"])
        assert not families["test"] & families["validation"]
        assert not families["validation"] & (families["start"] | families["train"])
        tested += sides["test"]
        card = json.loads((folder / "model.json").read_text())
        assert card["training"]["data"]["fold"] == fold
        assert card["training"]["data"]["n_folds"] == 2
        assert card["validation"]["cohort"].endswith(
            f"of fold {fold} of 2, who had no say in anything"
        )
        assert f"{folder}: toy-3+" in out
    assert sorted(tested) == sorted(set(PEOPLE) - {"sub-03"})  # who has no PiB
    assert not (study / "all" / "model.json").exists()
    assert not (study / "all" / "training-cache").exists()
    assert relad_train(recipe, study / "one", "--fold", 2) == 0
    assert equal(study / "one" / "fold-2", study / "all" / "fold-2")
    assert not (study / "one" / "fold-1").exists()
    # Another machine may be at work on another fold.
    assert list((study / "one" / "training-cache").iterdir())


def test_folds_that_are_not_there(study, write, capsys):
    plain, folds = write(RECIPE, "plain.toml"), with_lines(RECIPE, "data", "n_folds = 3")
    for asked in (["--fold", 1], ["--folds", "all"]):
        assert relad_train(plain, study / "none", *asked) == 64
        assert "a fold was asked for, and" in capsys.readouterr().err
    for fold in (0, 4):
        assert relad_train(write(folds), study / "none", "--fold", fold) == 64
        assert (
            f"--fold {fold} was asked for, the recipe has folds 1 to 3." in capsys.readouterr().err
        )
    with pytest.raises(SystemExit, match="64"):
        relad_train(plain, study / "none", "--fold", 1, "--folds", "all")


def test_a_tracer_that_nobody_has(study, write, capsys):
    text = RECIPE.replace("pib = 4.0", "fdg = 4.0")
    assert relad_train(write(text), study / "fdg") == 65
    assert "fdg: 0 scans of the side start, needed are 5" in capsys.readouterr().err


@pytest.fixture
def few(study):
    """Three other people with PiB alone, of whom one lacks FLAIR."""
    write_people(study / "few", ["sub-21", "sub-22", "sub-23"], tracers=("pib",),
                 lacks={"sub-22": ["FLAIR"]}, seed=9)  # fmt: skip
    return study / "few"


def test_fine_tuning_with_three(trained, study, write, few, capsys):
    """Weights go on from those of the checkpoint; regression and training mean stay."""
    recipe = write(TUNE, "tune.toml")
    assert relad_train(recipe, study / "tuned", "--finetune", trained[0]) == 0
    before, after = weights(trained[0]), weights(study / "tuned")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any(name.startswith("start.") for name in moved)
    # Two steps of Adam at a rate of 0.001.
    assert all((before[name] - after[name]).abs().max() < 0.01 for name in moved)
    network, card = load_checkpoint(study / "tuned")
    _, base = load_checkpoint(trained[0])
    assert [(t.name, t.index, t.suvr_max) for t in card.tracers] == [("pib", 1, 4.0)]
    assert card.architecture == base.architecture
    assert card.mri_contract == base.mri_contract
    assert card.training["fine_tuned_from"]["label"] == base.label
    assert card.training["fine_tuned_from"]["sha256"] == base.sha256
    assert card.training["fine_tuned_from"]["training"]["seed"] == 4
    assert card.training["data"]["participants"] == {
        "start": 0, "train": 2, "validation": 1, "test": 0,
    }  # fmt: skip
    assert card.validation["skill_over_training_mean"]["unet"].keys() == {"pib"}
    sides = sides_of(study / "tuned")
    assert sides["train"] | sides["validation"] == {"sub-21", "sub-22", "sub-23"}
    assert sides["checkpoint"] == set(PEOPLE) - {"sub-01", "sub-02"}
    assert network.start.prior.shape[0] == 2
    assert "pib: unet" in capsys.readouterr().out


def test_fine_tuning_holds_nobody_out_whom_the_checkpoint_knows(trained, study, write, capsys):
    text = TUNE.replace('root = "few"', 'root = "out"\nleave_out = ["sub-03", "sub-09"]')
    assert relad_train(write(text), study / "leak", "--finetune", trained[0]) == 65
    err = capsys.readouterr().err
    assert re.search(
        r"participant_id sub-\d\d.* would be held out, but the checkpoint toy-3\+", err
    )
    held_out = with_lines(text, "data", 'test_participants = ["sub-01", "sub-02"]')
    assert relad_train(write(held_out), study / "leak", "--finetune", trained[0]) == 65
    others = with_lines(text, "data", "other_people = true")
    others = with_lines(others, "data", 'test_participants = ["sub-04", "sub-05"]')
    assert relad_train(write(others), study / "others", "--finetune", trained[0]) == 0
    sides = sides_of(study / "others")
    assert sides["test"] == {"sub-04", "sub-05"}
    assert sides["checkpoint"] == {"sub-03", "sub-09"}  # who are left out here


def test_a_list_that_did_not_come_is_told(trained, study, write, few, capsys, tmp_path):
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    assert relad_train(write(TUNE), study / "unknown", "--finetune", tmp_path) == 0
    assert "has learned from did not come with it" in capsys.readouterr().err


def test_weights_may_take_half_the_room(trained, study, write, few):
    """What is learned, not what has a closed form."""
    recipe = write("half_weights = true\n" + TUNE)
    assert relad_train(recipe, study / "half", "--finetune", trained[0]) == 0
    learned = dict(load_checkpoint(study / "half")[0].named_parameters())
    for name, value in weights(study / "half").items():
        assert value.dtype == (
            torch.float16 if name in learned else weights(trained[0])[name].dtype
        )


def test_fine_tuning_contradicts_no_card(trained, study, write, few, capsys):
    text = TUNE.replace("pib = 4.0", "pib = 3.5") + '[grid]\nspace = "MNI152NLin6Asym"\n'
    assert relad_train(write(text), study / "no", "--finetune", trained[0]) == 64
    err = capsys.readouterr().err
    assert "contradicts the checkpoint toy-3+" in err
    assert "grid.space is MNI152NLin6Asym, the checkpoint has MNI152NLin2009cAsym" in err
    assert "suvr_max.pib is 3.5, the checkpoint has 4.0" in err


def test_fine_tuning_stays_on_the_scale_of_the_checkpoint(trained, study, write, capsys):
    out = write_people(study / "pons", ["sub-31", "sub-32", "sub-33"], tracers=("pib",))
    for sidecar in out.root.glob("sub-*/pet/*.json"):
        sidecar.write_text(json.dumps({"ReferenceRegion": "pons"}))
    recipe = write(TUNE.replace('root = "few"', 'root = "pons"'))
    assert relad_train(recipe, study / "scale", "--finetune", trained[0]) == 65
    err = capsys.readouterr().err
    assert "reference regions than that of the checkpoint toy-3+" in err
    assert "pib by pons, the checkpoint by cerebellum-whole." in err


def test_a_closed_form_learns_from_all_and_is_not_fine_tuned(study, write, few, capsys):
    text = RECIPE.replace('version = "3"', 'version = "3"\nkind = "ridge"')
    text = text.replace("channels = [4, 6]\nn_residual_units = 1\n", "")
    assert relad_train(write(text), study / "ridge") == 0
    card = json.loads((study / "ridge" / "model.json").read_text())
    assert card["training"]["data"]["participants"]["start"] == 15
    assert card["training"]["data"]["participants"]["train"] == 0
    assert relad_train(write(TUNE), study / "no", "--finetune", study / "ridge") == 64
    assert "is of the kind ridge, which has a closed form" in capsys.readouterr().err


def test_only_the_first_process_talks(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert command.is_first_process()
    for rank, first in (("0", True), ("1", False), ("10", False)):
        monkeypatch.setenv("RANK", rank)
        assert command.is_first_process() is first


@pytest.mark.slow
def test_two_processes_write_one_checkpoint(trained, study, tmp_path):
    """Started by torchrun: the same weights but for the rounding of sums; one of them talks."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m",
         "relad_bids.cli.workshop", "train", study / "whole.toml", tmp_path / "two",
         "--threads", "1"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.count("skill over the training mean") == 1
    assert done.stderr.count("sessions: 7 to start from") == 1
    ours, theirs = weights(tmp_path / "two"), weights(trained[0])
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-5)


def test_trc_labels_of_the_helper_are_those_of_the_tables():
    from relad_bids.tables import tracers

    assert all(tracers()[name].trc == label for name, label in TRC.items())
