import pytest
from cohort import Cohort, people

from relad_bids.files import read_table
from relad_bids.group.run import run
from relad_bids.group.settings import GroupSettings


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Thirty people with measured and synthetic PET of three tracers, and what ``group`` makes."""
    root = tmp_path_factory.mktemp("cohort")
    cohort, who = Cohort(root), people(30)
    for index, person in enumerate(who):
        for tracer in ("pib", "flortaucipir", "pbr28"):
            second = [("GTM", {"pib": "cerebellum-whole"}.get(tracer, "cerebellum-gm"), 1.2)]
            if tracer == "pbr28":
                second.append(("none", "global-brain", 0.9))
            sources = ("synthetic", "real") if index < 25 else ("synthetic",)
            cohort.session(person, tracer, sources=sources, secondary=second)
        cohort.qc(person)
    cohort.participants(who)
    settings = GroupSettings(output_dir=root, unseen=True, n_draws=200)
    paths = list(run(settings))
    return root, who, paths


@pytest.fixture
def table(made):
    """Read one statistic of ``made``."""
    return lambda name: read_table(made[0] / "group" / f"desc-{name}.tsv")
