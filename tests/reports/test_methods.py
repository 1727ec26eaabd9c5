import pytest

from relad_bids.core.columns import SYNTHETIC_STATEMENT
from relad_bids.reports.methods import methods_text


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
    assert "No FLAIR" not in text()
    assert "rigid" in text()
    assert "No FLAIR image was available" in text(has_flair=False)
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
