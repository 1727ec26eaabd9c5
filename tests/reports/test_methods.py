import pytest

from relad_bids.core.columns import SYNTHETIC_STATEMENT
from relad_bids.reports.methods import methods_text
from relad_bids.reports.methods_pet import Corrected, MeasuredScan, Regions


def text(**settings):
    return methods_text(
        **{
            "software_version": "0.3.1",
            "versions": {"ants": "0.6.3", "torch": "2.13.0", "nipype": "1.11.0"},
            "space": "MNI152NLin2009cAsym",
            "checkpoint": "demo-1+abc",
            "statement": "No scientific value.",
            "references": {"pib": "cerebellum-whole"},
            "has_flair": True,
            **settings,
        }
    )


@pytest.mark.parametrize(
    "word",
    ["relad-bids 0.3.1", "ANTs 0.6.3", "PyTorch 2.13.0", "Nipype 1.11.0", "MNI152NLin2009cAsym",
     "demo-1+abc", "cerebellum-whole (pib)", SYNTHETIC_STATEMENT, "No scientific value.",
     "2602.21345", "one answer of the network"],
)  # fmt: skip
def test_it_names(word):
    assert word in text()


def test_it_says_that_flair_is_missing():
    assert "No usable FLAIR" not in text()
    assert "rigid" in text()
    assert "No usable FLAIR image was available" in text(has_flair=False)
    assert "rigid" not in text(has_flair=False)


@pytest.mark.parametrize(
    ("space", "paper"),
    [("MNI152NLin2009cAsym", "Fonov et al., 2009"), ("MNI152NLin6Asym", "Evans et al., 2012")],
)
def test_each_template_has_its_paper(space, paper):
    assert f"the template {space} ({paper}" in text(space=space)


def test_a_version_that_is_not_given_is_left_out():
    assert "ANTs. " in text(versions={})
    assert "None" not in text(versions={})


def test_tracers_and_samples_are_counted():
    several = text(references={"pib": "a", "pbr28": "b", "mk6240": "c"}, n_samples=8)
    assert "pib, pbr28 and mk6240" in several
    assert "the mean of 8 samples" in several


def test_citations_are_words_not_addresses():
    assert "http" not in text()


SCAN = MeasuredScan(
    tracer="pib", reference="cerebellum-whole", window_min=(50, 70), n_frames=4, smoothed_mm=8.0
)
ALL = {
    "measured": [SCAN],
    "pet2anat": "auto",
    "regions": Regions(
        labels="fastsurfer", atlases=(("atlas-Schaefer2018_seg-100Parcels7Networks", 100),),
        suit=True, scales=("centiloid", "centaur"),
    ),
    "corrected": Corrected(
        method="gtm", widths_mm={"measured pib": 6.0, "synthetic PET": 7.5},
        reasons={"measured mk6240": "the resolution of the scan is not known"},
    ),
}  # fmt: skip
USED = {
    "50 to 70 (pib) minutes after injection": ("measured", []),
    "To correct for motion": ("measured", [MeasuredScan(**{**vars(SCAN), "n_frames": 1})]),
    "Mattes et al., 2003": ("measured", [MeasuredScan(**{**vars(SCAN), "n_frames": 1})]),
    "to a common one, FWHM 8 mm (pib)": (
        "measured", [MeasuredScan(**{**vars(SCAN), "smoothed_mm": None})]
    ),
    "Joshi et al., 2009": ("measured", [MeasuredScan(**{**vars(SCAN), "smoothed_mm": None})]),
    "The mean was laid on the T1w image by the better of two rigid registrations": (
        "pet2anat", "identity"
    ),
    "(Mattes mutual information), and all transforms": ("pet2anat", "identity"),
    "FastSurfer (Henschel et al., 2020": ("regions", Regions()),
    "atlas-Schaefer2018_seg-100Parcels7Networks (100 regions)": ("regions", Regions()),
    "cut by the participant's grey matter": ("regions", Regions()),
    "SUIT (Diedrichsen et al., 2009": ("regions", Regions()),
    "Centiloid (Klunk et al., 2015": ("regions", Regions(scales=("centaur",))),
    "CenTauR z (Villemagne et al., 2023": ("regions", Regions(scales=("centiloid",))),
    "Rousset et al., 1998": ("corrected", Corrected()),
    "6 mm (measured pib) and 7.5 mm (synthetic PET)": ("corrected", Corrected()),
    "No correction was made of measured mk6240: the resolution": ("corrected", Corrected()),
    "the one of its network's training": (
        "corrected", Corrected(method="gtm", widths_mm={"measured pib": 6.0})
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", USED)
def test_each_thing_is_named_where_it_was_used_and_only_there(words):
    name, without = USED[words]
    assert words in text(**ALL)
    assert words not in text(**{**ALL, name: without})


@pytest.mark.parametrize(
    ("method", "paper"),
    [("gtm", "Rousset et al., 1998"), ("rbv", "Thomas et al., 2011"),
     ("mg", "Mueller-Gaertner et al. (1992"), ("iy", "Erlandsson et al., 2012")],
)  # fmt: skip
def test_each_correction_has_its_paper(method, paper):
    said = text(corrected=Corrected(method=method, widths_mm={"measured pib": 6.0}))
    assert paper in said
    assert "No partial volume correction was made" not in said
    assert "No partial volume correction was made." in text()


def test_a_window_that_was_assumed_is_called_so():
    assert "does not say when" not in text(measured=[SCAN])
    assumed = MeasuredScan(**{**vars(SCAN), "assumed": True})
    assert "The scan of pib does not say when it was made" in text(measured=[assumed])


def test_without_synthesis_nothing_is_said_of_a_network():
    said = text(references={}, measured=[SCAN])
    assert "network" not in said
    assert "cerebellum-whole (pib)" in said


@pytest.mark.parametrize(
    ("labels", "words"),
    [("", "warped from the template"), ("freesurfer", "FreeSurfer (Fischl et al., 2002, Neuron)"),
     ("smriprep", "as given by the derivatives smriprep")],
)  # fmt: skip
def test_where_labels_come_from(labels, words):
    assert words in text(regions=Regions(labels=labels))


def test_frames_of_one_of_two_scans():
    still = MeasuredScan(
        **{**vars(SCAN), "tracer": "mk6240", "n_frames": 1, "window_min": (70, 90)}
    )
    said = text(measured=[SCAN, still])
    assert "frames of pib were laid on their mean" in said
    assert "50 to 70 (pib) and 70 to 90 (mk6240) minutes" in said
