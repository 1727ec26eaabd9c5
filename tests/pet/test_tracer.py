import pytest

from relad_bids.errors import DataError
from relad_bids.pet.fields import Fields
from relad_bids.pet.tracer import radionuclide_of, tracer_of
from relad_bids.tables import tracers

LIGANDS = [tracer for tracer in tracers().values() if tracer.declared]


def found(name=None, nuclide=None, trc=None):
    values = {"TracerName": name, "TracerRadionuclide": nuclide}
    return tracer_of(Fields(values, "pet.json"), trc=trc).name


@pytest.mark.parametrize("tracer", LIGANDS, ids=lambda tracer: tracer.name)
def test_every_spelling_of_every_tracer(tracer):
    """By the sidecar, by the name of the file, and by both; a target's name is no spelling."""
    for spelling in (tracer.name, tracer.trc, *tracer.aliases):
        assert found(spelling, tracer.radionuclide) == tracer.name
        assert found(spelling) == tracer.name
        assert found(trc=spelling) == tracer.name
        assert found(spelling, tracer.radionuclide, tracer.trc) == tracer.name


@pytest.mark.parametrize(
    ("name", "nuclide", "tracer"),
    [
        ("[11C]PiB", "C11", "pib"),
        ("[18F]AV-1451", "^18^Fluorine", "flortaucipir"),
        ("18F-Florbetaben", "18F", "florbetaben"),
        ("FDG", "F-18", "fdg"),
        ("(C-11) PBR28", "[11C]", "pbr28"),
    ],
)
def test_names_as_people_write_them(name, nuclide, tracer):
    assert found(name, nuclide) == tracer


@pytest.mark.parametrize("name", [None, "n/a", "", "Other", "MC1"])
def test_the_file_name_where_the_sidecar_names_no_known_ligand(name):
    assert found(name, "F18", "18FAV45") == "florbetapir"


def test_a_label_that_means_nothing_does_not_contradict():
    """BIDS: ``trc-`` is free text that tells scans apart."""
    assert found("PIB", "C11", "baseline") == "pib"


@pytest.mark.parametrize(("name", "trc"), [("AV45", "18FAV1451"), ("FBB", "18FFMM")])
def test_two_tracers_are_refused(name, trc):
    with pytest.raises(
        DataError, match=rf"^pet\.json: TracerName '{name}' is \w+, and trc-{trc} of the file "
        r"name is \w+; needed is one tracer\. Correct",
    ):  # fmt: skip
        found(name, "F18", trc)


@pytest.mark.parametrize(
    ("name", "nuclide", "tracer"),
    [("PIB", "F18", "C11, the nuclide of pib"), ("AV45", "C-11", "F18, the nuclide of florbeta")],
)
def test_another_nuclide_is_refused(name, nuclide, tracer):
    message = rf"TracerRadionuclide is '{nuclide}', needed is {tracer}.* Correct TracerName or"
    with pytest.raises(DataError, match=message):
        found(name, nuclide)
    with pytest.raises(DataError, match=message):
        found(None, nuclide, name)


@pytest.mark.parametrize("nuclide", ["fluor", "18", "Ga68", "F18F", "F 19"])
def test_what_is_not_the_nuclide(nuclide):
    with pytest.raises(DataError, match=f"TracerRadionuclide is '{nuclide}', needed is F18"):
        found("FBB", nuclide)


@pytest.mark.parametrize("word", ["tau", "Amyloid", "TSPO", "PBR", "[11C]PBR", "TSPOundeclared"])
def test_a_target_is_no_ligand(word):
    """It means a tracer to who chooses one; what was injected is another matter."""
    for settings in ({"name": word}, {"trc": word}, {"name": word, "trc": word}):
        with pytest.raises(
            DataError, match=r"needed is the name of a known ligand\. Known are fl"
        ):
            found(**settings)


@pytest.mark.parametrize(
    ("name", "trc", "tracer"),
    [
        ("tau", "18FMK6240", "mk6240"),
        ("MK6240", "tau", "mk6240"),
        ("amyloid", "18FAV45", "florbetapir"),
        ("TSPO", "11CPBR28", "pbr28"),
        ("PBR28", "TSPOundeclared", "pbr28"),
    ],
)
def test_a_target_beside_a_ligand_of_it(name, trc, tracer):
    assert found(name, None, trc) == tracer


@pytest.mark.parametrize(("name", "trc"), [("tau", "11CPIB"), ("FBB", "tau")])
def test_a_target_beside_a_ligand_of_another(name, trc):
    with pytest.raises(DataError, match="needed is one tracer"):
        found(name, None, trc)


def test_a_target_with_one_tracer_is_that_tracer():
    assert found("metabolism", "F18") == "fdg"


@pytest.mark.parametrize(
    ("name", "trc", "told"),
    [
        ("MC1", None, "TracerName 'MC1'"),
        ("CIMBI-36", "CIMBI36", "TracerName 'CIMBI-36' and trc- 'CIMBI36'"),
        (None, "MC1", "trc- 'MC1'"),
        (None, None, "neither"),
    ],
)
def test_an_unknown_tracer_is_told_with_the_known_ones(name, trc, told):
    with pytest.raises(
        DataError, match=rf"^pet\.json: .* in TracerName and in trc- of the file name; found was "
        rf"{told}, needed .* Known are flortaucipir \(18FAV1451\), mk6240 .*, fdg \(18FFDG\)\. "
        r"Correct TracerName, or leave the scan out with --tracer-label\.$",
    ) as error:  # fmt: skip
        found(name, "C11", trc)
    assert "undeclared" not in str(error.value)


def test_names_are_text():
    with pytest.raises(DataError, match="TracerName is 7, needed is text"):
        found(7)


@pytest.mark.parametrize(
    ("text", "nuclide"),
    [
        *((text, "C11") for text in ("C11", "11C", "[11C]", "C-11", "^11^Carbon", "carbon 11")),
        *((text, "F18") for text in ("F18", "18f", "(18)F", "^18^F", "Fluorine-18", "Fluor-18")),
        ("68Ga", "Ga68"),
        ("C", None),
        ("11", None),
        ("C11 F18", None),
    ],
)
def test_radionuclides(text, nuclide):
    assert radionuclide_of(text) == nuclide


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("inside", "trc", "told"),
    [
        ("ds004869_subset/sub-01/ses-baseline/pet/sub-01_ses-baseline_pet.json", None, "'MC1'"),
        ("pet001/sub-01/ses-01/pet/sub-01_ses-01_trc-CIMBI36_pet.json", "CIMBI36", "'CIMBI-36'"),
        ("pet003/sub-01/ses-01/pet/sub-01_ses-01_pet.json", None, "'DASB'"),
    ],
)
def test_tracers_of_real_scans_that_no_table_has(read_pet, inside, trc, told):
    with pytest.raises(DataError, match=rf"_pet\.json: .* found was TracerName {told}"):
        tracer_of(read_pet(f"bids-layouts/{inside}"), trc=trc)


@pytest.mark.real_data
def test_a_real_scan_that_only_its_name_tells(read_pet):
    fields = read_pet("pet/gaain-fbp-elder-318614_trc-18FAV45_pet.json")
    assert tracer_of(fields, trc="18FAV45").name == "florbetapir"
