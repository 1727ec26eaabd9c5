import json
from pathlib import Path

import pytest
from toys import TRACERS, drawing_card, tiny_card, tiny_config

from relad_bids.cli.parser import parse
from relad_bids.cli.settings import BUNDLED, config_of, for_checkpoint
from relad_bids.errors import CheckpointError, ConfigError, InputError, UsageError
from relad_bids.model.card import TracerOutput
from relad_bids.model.published import published_card


def settings(*flags):
    return config_of(parse(["bids", "out", "participant", *flags]))


def test_places_are_absolute():
    config = settings("-w", "scratch")
    assert config.bids_dir == Path.cwd() / "bids"
    assert config.output_dir == Path.cwd() / "out"
    assert config.work_dir == Path.cwd() / "scratch"
    assert config.model_dir == BUNDLED


def test_labels_lose_their_prefix_and_come_once():
    config = settings("--participant-label", "sub-01", "01", "02", "--session-label", "ses-a")
    assert config.participants == ("01", "02")
    assert config.sessions == ("a",)


def test_tracers_by_any_name_come_once_in_the_order_given():
    config = settings("--synth-tracers", "amyloid", "18FAV1451", "tau")
    assert for_checkpoint(config, tiny_card()).tracers == ("pib", "flortaucipir")


def test_reference_regions_by_tracer():
    config = settings("--ref-region", "tau=cerebellum-gm", "11CPIB=cerebellum-gm")
    known = for_checkpoint(config, tiny_card()).reference
    assert known == {"flortaucipir": "cerebellum-gm", "pib": "cerebellum-gm"}


@pytest.mark.parametrize("flags", [("--synth-tracers", "gold"), ("--ref-region", "gold=pons")])
def test_a_tracer_nobody_knows_is_told_before_the_dataset_is_read(flags):
    with pytest.raises(UsageError, match="the tracer 'gold' is not known"):
        settings(*flags)


def test_words_of_the_paper_are_the_classes_of_its_checkpoint():
    """0 PBR, 1 PIB, 2 TAU; nobody said which ligand the first one is."""
    card = published_card(epoch=99, blob="0" * 40)
    config = settings("--synth-tracers", "PBR", "PIB", "TAU", "--ref-region", "PBR=cerebellum-gm")
    found = for_checkpoint(config, card)
    assert found.tracers == ("tspo-undeclared", "pib", "flortaucipir")
    assert [card.tracer(name).index for name in found.tracers] == [0, 1, 2]
    assert found.reference == {"tspo-undeclared": "cerebellum-gm"}
    assert for_checkpoint(settings(), card).tracers == found.tracers


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--synth-tracers", "pbr28"), r"asked for pbr28; which TSPO ligand .* cannot be taken"),
        (("--ref-region", "pbr=global-brain"), r"region global-brain was asked for tspo-undecl"),
        (("--synth-tracers", "mk6240"), r"was asked for the tracer 'mk6240'; it synthesises"),
    ],
)
def test_what_belongs_to_a_ligand_is_refused_where_none_was_declared(flags, message):
    with pytest.raises(UsageError, match=message):
        for_checkpoint(settings(*flags), published_card(epoch=99, blob="0" * 40))


@pytest.mark.parametrize("text", ["cerebellum-gm", "pib=", "="])
def test_a_reference_region_without_its_tracer(text):
    with pytest.raises(UsageError, match=f"takes TRACER=NAME, .*; got '{text}'"):
        settings("--ref-region", text)


@pytest.mark.parametrize("flag", ["--pvc", "--pvc-method"])
def test_corrections_by_the_names_that_others_use(flag):
    config = settings(flag, "GTM", "--pvc-psf", "6", "--pet-psf-tsv", "psf.tsv")
    assert (config.pvc, config.pvc_fwhm) == ("gtm", 6.0)
    assert config.pet_psf_tsv == Path.cwd() / "psf.tsv"
    assert settings().pvc == "none"
    assert settings("--pet-fwhm", "8").pet_fwhm == 8.0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--pvc-fwhm", "6"), "pvc_fwhm is given and pvc is none"),
        (("--pvc", "gtm", "--pvc-fwhm", "0"), "pvc_fwhm 0 is no width"),
        (("--pvc", "gtm", "--pvc-fwhm", "21"), "pvc_fwhm 21 is no width"),
        (("--pvc", "gtm", "--pvc-fwhm", "6", "--pet-fwhm", "8"), "6 differs from pet_fwhm 8"),
    ],
)
def test_widths_that_cannot_be(flags, message):
    with pytest.raises(ConfigError, match=message):
        settings(*flags)


@pytest.mark.parametrize("flag", ["--gaain-voi-dir", "--centiloid-voi-dir", "--centaur-voi-dir"])
def test_masks_are_looked_for_before_anything_runs(tmp_path, flag):
    with pytest.raises(InputError, match=r"and lacks (voi_ctx|CenTauR)"):
        settings(flag, str(tmp_path))


def test_an_engine_is_looked_for_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert settings().skull_strip_engine == "template"
    with pytest.raises(ConfigError, match="needs the command hd-bet, and PATH has none") as error:
        settings("--skull-strip-engine", "hd-bet")
    assert error.value.exit_code == 64
    (tmp_path / "hd-bet").write_text("#!/bin/sh\n")
    (tmp_path / "hd-bet").chmod(0o755)
    assert settings("--skull-strip-engine", "hd-bet").skull_strip_engine == "hd-bet"


def test_filters_are_read_from_their_file(tmp_path):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"t1w": {"run": "1"}, "bold": {"task": "rest"}}))
    assert settings("--bids-filter-file", str(path)).filters == {"t1w": {"run": "1"}}


@pytest.mark.parametrize(("text", "mem_mb"), [("6000", 6000), ("2G", 2048)])
def test_memory(text, mem_mb):
    assert settings("--mem", text).mem_mb == mem_mb


@pytest.mark.parametrize(("asked", "given"), [("1", 1), ("2", 2), ("9", 2)])
def test_one_step_never_gets_more_processors_than_all(asked, given):
    config = settings("--nprocs", "2", "--omp-nthreads", asked)
    assert (config.nprocs, config.omp_nthreads) == (2, given)


def test_what_the_machine_gives_is_the_default():
    config = settings()
    assert config.nprocs >= 1
    assert config.mem_mb >= 1
    assert config.omp_nthreads == 1


def test_bad_values_are_told_together():
    with pytest.raises(
        ConfigError, match=r"min_coverage -1\.0 is not in .*\n.*nprocs -2 is below 1"
    ):
        settings("--min-coverage", "-1", "--nprocs", "-2")


@pytest.mark.parametrize(
    ("asked", "used"), [((), TRACERS), (("pib",), ("pib",)), (("pib", "pbr28"), ("pib", "pbr28"))]
)
def test_tracers_of_the_checkpoint(tmp_path, asked, used):
    assert for_checkpoint(tiny_config(tmp_path, tracers=asked), tiny_card()).tracers == used


def test_a_tracer_the_checkpoint_does_not_know(tmp_path):
    with pytest.raises(UsageError, match="asked for the tracer 'mk6240'"):
        for_checkpoint(tiny_config(tmp_path, tracers=("mk6240",)), tiny_card())


@pytest.mark.parametrize("space", ["MNI152NLin2009cAsym", "MNI152NLin6Asym"])
def test_spaces_that_mri_is_prepared_in(tmp_path, space):
    assert for_checkpoint(tiny_config(tmp_path), tiny_card(space=space)).tracers == TRACERS


def test_a_checkpoint_of_another_space(tmp_path):
    with pytest.raises(
        UsageError,
        match=r"tiny works in MNI305; .* MRI in MNI152NLin2009cAsym or MNI152NLin6Asym",
    ):
        for_checkpoint(tiny_config(tmp_path), tiny_card(space="MNI305"))


def test_a_reference_region_that_cannot_be_drawn(tmp_path):
    config = tiny_config(tmp_path, reference={"pib": "pons"})
    with pytest.raises(UsageError, match="region 'pons' was asked for pib"):
        for_checkpoint(config, tiny_card())


@pytest.mark.parametrize(
    ("rule", "trained", "fine"),
    [
        ("t1w-only", True, True),
        ("t1w-only", False, False),
        ("skip", False, True),
        ("error", False, True),
    ],
)
def test_a_network_that_never_saw_a_flair_missing(tmp_path, rule, trained, fine):
    config, card = tiny_config(tmp_path, missing_flair=rule), tiny_card(missing_flair=trained)
    if fine:
        for_checkpoint(config, card)
    else:
        with pytest.raises(UsageError, match="tiny was never trained without FLAIR"):
            for_checkpoint(config, card)


def test_samples_and_steps_reach_the_settings():
    config = settings("--n-samples", "8", "--sampling-steps", "12")
    assert (config.n_samples, config.sampling_steps) == (8, 12)
    assert (settings().n_samples, settings().sampling_steps) == (1, None)


@pytest.mark.parametrize(("asked", "used"), [(None, 2), (20, 20)])
def test_steps_are_the_checkpoints_unless_told_otherwise(tmp_path, asked, used):
    config = tiny_config(tmp_path, sampling_steps=asked)
    assert for_checkpoint(config, drawing_card()).sampling_steps == used
    assert for_checkpoint(tiny_config(tmp_path), tiny_card()).sampling_steps == 1


def test_a_network_with_one_answer_is_asked_for_more(tmp_path):
    with pytest.raises(UsageError, match="tiny is of the kind unet, which has one answer"):
        for_checkpoint(tiny_config(tmp_path, n_samples=2), tiny_card())


def test_a_checkpoint_of_a_tracer_nobody_knows(tmp_path):
    card = tiny_card(tracers=(TracerOutput(name="gold", index=0),))
    with pytest.raises(CheckpointError, match="tiny synthesises gold; this version knows nothing"):
        for_checkpoint(tiny_config(tmp_path, tracers=()), card)


@pytest.mark.parametrize("word", ["none", "None"])
def test_measured_pet_alone_asks_the_checkpoint_nothing(word):
    """Neither for its tracers nor whether it was trained without FLAIR."""
    flags = ("--synth-tracers", word, "--missing-flair", "t1w-only", "--ref-region", "fbb=pons")
    config = for_checkpoint(settings(*flags), tiny_card(missing_flair=False))
    assert (config.tracers, config.synthesise) == ((), False)
    assert config.reference == {"florbetaben": "pons"}
    assert settings("--synth-tracers", "pib").synthesise
    with pytest.raises(UsageError, match="the tracer 'none' is not known"):
        settings("--synth-tracers", "none", "pib")
