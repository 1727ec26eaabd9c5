"""The command from arguments to files, on phantoms and on derivatives of the app."""

import json
import re

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from relad_bids.cli.workshop import main
from relad_bids.cohorts.record import write_participants
from relad_bids.cohorts.sides import Sides
from relad_bids.files import read_table, write_table
from relad_bids.model.checkpoint import load_checkpoint, verify_checkpoint

PHANTOMS = {
    "source": "phantom", "preset": "strong", "n_start": 10, "n_train": 1, "n_validation": 1,
    "residual_mm": 1.0,
}  # fmt: skip
FAST = ["--n-draws", "200", "--threads", "1", "--device", "cpu"]
MNI = "space-MNI152NLin2009cAsym_res-8"


@pytest.fixture(scope="module")
def one_tracer(make_card):
    card = make_card()
    network = {**card.architecture, "n_tracers": 1}
    return {"tracers": card.tracers[:1], "architecture": network}


@pytest.fixture(scope="module")
def done(tmp_path_factory, make_card, one_tracer):
    """Seven phantoms, one tracer; the card is written, too."""
    from toys import tiny_network

    from relad_bids.model.checkpoint import save_checkpoint

    root = tmp_path_factory.mktemp("evaluate")
    card = make_card(training={"seed": 3, "data": PHANTOMS}, **one_tracer)
    save_checkpoint(root / "demo", tiny_network(card), card)
    code = main(
        ["evaluate", str(root / "out"), "--models", str(root / "demo"), "mean", "--phantoms", "7",
         "--seed", "5", "--n-training", "10", "--write-card", *FAST]
    )  # fmt: skip
    return root, code


def test_every_table_has_its_dictionary(done):
    root, code = done
    assert code == 0
    tables = sorted((root / "out").glob("*.tsv"))
    assert {path.stem for path in tables} == {
        "desc-voi_pairs", "desc-voi_agreement", "desc-voi_skill", "desc-voi_positivity",
        "desc-voi_conformal", "desc-image_scores", "desc-image_agreement", "desc-image_texture",
        "desc-model_comparison", "desc-mri_ood",
    }  # fmt: skip
    for path in tables:
        told = json.loads(path.with_suffix(".json").read_text())
        columns = read_table(path)
        assert set(columns) <= set(told), path.name
        assert all(told[name]["Description"] for name in columns)
        assert "not a measurement" in told["SyntheticDataStatement"]
        if "metric" in columns:
            assert set(columns["metric"]) == set(told["metric"]["Levels"])


def test_facts_of_the_evaluation(done):
    root, _ = done
    facts = json.loads((root / "out" / "evaluation.json").read_text())
    assert facts["Cohort"] == "7 phantoms, preset strong, seed 5"
    assert facts["PrimaryVOI"] == {"pib": "amyloid-composite"}
    assert facts["ReferenceRegion"] == {"pib": "cerebellum-whole"}
    assert facts["Settings"]["Range of PSNR and SSIM"] == "pib 5 SUVr"
    assert "ssim" in facts["Definitions"]
    assert sorted(facts["Tables"]) == sorted(p.name for p in (root / "out").glob("*.tsv"))
    assert str(root) not in (root / "out" / "evaluation.json").read_text()


def test_participants_models_and_floors(done):
    root, _ = done
    pairs = read_table(root / "out" / "desc-voi_pairs.tsv")
    label = verify_checkpoint(root / "demo").label
    assert pairs["model"].unique().tolist() == [label, f"mean of {label}"]
    assert pairs["participant_id"].unique().tolist() == [f"sub-phantom5x{i:04}" for i in range(7)]
    assert pairs[["mean", "ridge", "permuted", "age_sex"]].notna().all(axis=None)
    skill = read_table(root / "out" / "desc-voi_skill.tsv")
    own = skill[(skill["model"] == f"mean of {label}") & (skill["floor"] == "mean")]
    assert (own["skill"] == 0).all()
    assert (own["verdict"] == "no better than the training mean").all()


def test_the_card_was_taught(done):
    """12 participants would be needed for 90 %: with 7, only the inputs are told."""
    root, _ = done
    card = load_checkpoint(root / "demo")[1]
    assert card.ood["n"] == 10
    assert card.calibration["cohort"] == "7 phantoms, preset strong, seed 5"
    assert card.calibration["factors"] == {}
    assert json.loads((root / "demo" / "model.json").read_text())["ood"]["names"]


def test_the_page_stands_alone(done):
    root, _ = done
    html = (root / "out" / "evaluation.html").read_text()
    assert "7 phantoms, preset strong, seed 5" in html
    assert "pib, amyloid-composite (primary VOI), n = 7" in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert len(html) < 3e6


def test_what_was_learned_from_is_refused(capsys, tmp_path, write_checkpoint, one_tracer):
    write_checkpoint(tmp_path / "demo", training={"seed": 3, "data": PHANTOMS}, **one_tracer)
    arguments = ["evaluate", str(tmp_path / "out"), "--models", str(tmp_path / "demo"), *FAST]
    for preset in ("strong", "null"):
        again = [*arguments, "--phantoms", "2", "--seed", "3", "--preset", preset]
        assert main(again) == 65
        said = capsys.readouterr().err
        assert "was trained on, or chosen by, sub-phantom3x0000, sub-phantom3x0001, and" in said
    assert not list((tmp_path / "out").iterdir())


def test_models_on_two_grids(tmp_path, write_checkpoint, one_tracer, make_card):
    """Each is asked on its own grid, and both stand in one table."""
    finer = [list(row) for row in make_card().affine]
    for axis in range(3):
        finer[axis][axis] = 7.5
    write_checkpoint(tmp_path / "one", **one_tracer)
    write_checkpoint(
        tmp_path / "two", name="finer", shape=(20, 25, 21), affine=tuple(map(tuple, finer)),
        **one_tracer,
    )  # fmt: skip
    models = [str(tmp_path / "one"), str(tmp_path / "two")]
    out = tmp_path / "out"
    asked = ["--phantoms", "2", "--n-training", "0", *FAST]
    assert main(["evaluate", str(out), "--models", *models, *asked]) == 0
    compared = read_table(out / "desc-model_comparison.tsv")
    assert compared["of"].tolist() == ["primary", "all-vois", "brain"]
    assert (compared["n"] == 2).all()
    notes = json.loads((out / "evaluation.json").read_text())["Notes"]
    assert any("lie on 2 grids" in note for note in notes)
    assert any("age and sex is missing" in note for note in notes)
    assert not (out / "desc-mri_ood.tsv").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--phantoms", "0"], 64, "--phantoms is 0, needed is at least 1"),
        (["--n-samples", "0"], 64, "--n-samples is 0"),
        (["--n-draws", "199"], 64, "--n-draws is 199, needed is at least 200"),
        (["--held-out"], 19, "--held-out choose among real participants"),
        (["--participant-label", "01"], 19, "--participant-label choose"),
        (["--pairs", "x", "--phantoms", "3"], 19, "--pairs and --phantoms were both given"),
        (["--pairs", "nowhere"], 66, "nowhere was searched for derivatives"),
        (["--models", "mean"], 64, "at least one checkpoint folder is needed"),
    ],
)
def test_arguments_that_mean_nothing(
    capsys, tmp_path, write_checkpoint, one_tracer, arguments, code, said
):
    write_checkpoint(tmp_path / "demo", **one_tracer)
    models = [] if "--models" in arguments else ["--models", str(tmp_path / "demo")]
    assert main(["evaluate", str(tmp_path / "out"), *models, *arguments]) == code
    assert said in capsys.readouterr().err


@pytest.fixture
def derivatives(tmp_path, card, people):
    """Eight people as the app leaves them, the last without FLAIR."""
    root = tmp_path / "derivatives"
    for case in people:
        images, folder = case.images(), root / case.label
        named = {
            f"anat/{case.label}_{MNI}_desc-preproc_T1w": images.t1w,
            f"anat/{case.label}_{MNI}_desc-preproc_FLAIR": images.flair,
            f"anat/{case.label}_{MNI}_desc-brain_mask": images.mask.astype(np.float32),
            f"pet/{case.label}_trc-11CPIB_{MNI}_meas-SUVR_desc-measured_mimap": images.suvr["pib"],
        }
        for stem, data in named.items():
            if case is people[-1] and stem.endswith("FLAIR"):
                continue
            path = folder / f"{stem}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nb.Nifti1Image(data, card.grid.affine).to_filename(path)
        path.with_name(f"{path.name[:-7]}.json").write_text('{"ReferenceRegion": "cerebellum"}')
    participants = {
        "participant_id": [case.participant_id for case in people],
        "age": [case.covariates["age"] for case in people],
        "sex": ["F" if case.covariates["female"] else "M" for case in people],
    }
    write_table(root / "participants.tsv", pd.DataFrame(participants))
    return root


def evaluate_pairs(root, folder, *more):
    return main(
        ["evaluate", str(root / "out"), "--models", str(folder), "--pairs",
         str(root / "derivatives"), *FAST, *more]
    )  # fmt: skip


def test_people_with_measured_pet(
    derivatives, tmp_path, write_checkpoint, one_tracer, people, capsys
):
    write_checkpoint(tmp_path / "demo", training={}, missing_flair=False, **one_tracer)
    assert evaluate_pairs(tmp_path, tmp_path / "demo") == 0
    pairs = read_table(tmp_path / "out" / "desc-voi_pairs.tsv")
    assert pairs["participant_id"].unique().tolist() == [c.participant_id for c in people[:-1]]
    told = capsys.readouterr().out
    assert "7 participants with measured PET" in told
    assert "whom tiny-1" in told, "an unknown training is no clean one"
    assert "1 sessions without FLAIR were left out" in told
    assert "measured SUVr" in (tmp_path / "out" / "evaluation.html").read_text()


def test_a_cross_validation_answers_for_whom_each_fold_held_out(
    derivatives, tmp_path, write_checkpoint, one_tracer, people
):
    """Two folds of three people each; the other two were never held out, nor seen."""
    who = [case.participant_id for case in people]
    for fold, (learned, held_out) in enumerate([(who[3:6], who[:3]), (who[:3], who[3:6])], 1):
        folder = tmp_path / "cv" / f"fold-{fold}"
        sides = Sides(start=tuple(learned), train=(), validation=(), test=tuple(held_out))
        digest = write_participants(folder, sides)
        training = {"data": {"source": "derivatives"}, "training_participants_sha256": digest}
        write_checkpoint(folder, training={"seed": fold, **training}, **one_tracer)
    assert evaluate_pairs(tmp_path, tmp_path / "cv", "--held-out") == 0
    pairs = read_table(tmp_path / "out" / "desc-voi_pairs.tsv")
    assert pairs["participant_id"].unique().tolist() == who[:6]
    assert pairs["model"].unique().tolist() == ["tiny-1, 2 folds"]


def test_models_that_held_out_others_meet_those_that_both_did(
    derivatives, tmp_path, write_checkpoint, one_tracer, people, capsys
):
    who = [case.participant_id for case in people]
    sets = {"one": who[:4], "two": who[3:6], "three": who[5:]}
    for seed, (name, held_out) in enumerate(sets.items()):
        learned = tuple(person for person in who if person not in held_out)
        sides = Sides(start=learned, train=(), validation=(), test=tuple(held_out))
        digest = write_participants(tmp_path / name, sides)
        training = {"data": {"source": "derivatives"}, "training_participants_sha256": digest}
        write_checkpoint(tmp_path / name, training={"seed": seed, **training}, **one_tracer)

    def both(first, second):
        models = ["--models", str(tmp_path / first), str(tmp_path / second)]
        return evaluate_pairs(tmp_path, "unused", "--held-out", *models)

    assert both("one", "two") == 0
    pairs = read_table(tmp_path / "out" / "desc-voi_pairs.tsv")
    assert pairs["participant_id"].unique().tolist() == who[3:4]
    assert both("one", "three") == 64
    assert "nobody was held out of all 2 models" in capsys.readouterr().err


def test_a_list_of_participants_that_is_not_there(
    derivatives, tmp_path, write_checkpoint, one_tracer, capsys
):
    write_checkpoint(tmp_path / "demo", **one_tracer)
    asked = ["--participants-tsv", str(tmp_path / "none.tsv")]
    assert evaluate_pairs(tmp_path, tmp_path / "demo", *asked) == 66
    assert "none.tsv was given with --participants-tsv" in capsys.readouterr().err


def test_only_those_who_were_held_out(
    derivatives, tmp_path, write_checkpoint, one_tracer, people, capsys
):
    """Five had a say in the checkpoint; asked about them it refuses, by name."""
    learned, held_out = ([c.participant_id for c in part] for part in (people[:5], people[5:]))
    sides = Sides(
        start=tuple(learned[:3]), train=(learned[3],), validation=(learned[4],),
        test=tuple(held_out),
    )  # fmt: skip
    digest = write_participants(tmp_path / "demo", sides)
    training = {"data": {"source": "derivatives"}, "training_participants_sha256": digest}
    write_checkpoint(tmp_path / "demo", training=training, **one_tracer)
    assert evaluate_pairs(tmp_path, tmp_path / "demo") == 65
    assert f"chosen by, {', '.join(learned)}, and was" in capsys.readouterr().err
    assert evaluate_pairs(tmp_path, tmp_path / "demo", "--held-out") == 0
    pairs = read_table(tmp_path / "out" / "desc-voi_pairs.tsv")
    assert pairs["participant_id"].unique().tolist() == held_out
    assert "not known: 3 participants, an interval needs 6" in capsys.readouterr().out
    assert evaluate_pairs(tmp_path, tmp_path / "demo", "--participant-label", "nobody") == 18
    assert "searched for sub-nobody" in capsys.readouterr().err
