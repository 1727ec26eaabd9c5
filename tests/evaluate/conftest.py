"""People made of the template's regions, and models that know of them what a test wants."""

import numpy as np
import pytest
import torch
from toys import tiny_card, tiny_network

from relad_bids.evaluate.bench import Bench
from relad_bids.evaluate.cases import Case, Images
from relad_bids.evaluate.contender import Contender, Fold, Question
from relad_bids.evaluate.leakage import Seen
from relad_bids.evaluate.regions import regions_of
from relad_bids.evaluate.sources import Found
from relad_bids.evaluate.tables import Terms, all_tables
from relad_bids.model.base import OneAnswer
from relad_bids.model.card import TracerOutput
from relad_bids.model.checkpoint import save_checkpoint
from relad_bids.model.kinds.mean import TrainingMean
from relad_bids.model.predictor import Predictor

SHAPE = (19, 24, 20)
AFFINE = ((8.0, 0, 0, -76.0), (0, 8.0, 0, -110.0), (0, 0, 8.0, -73.0), (0, 0, 0, 1))
"""8 mm: the smallest reference region still has more than 50 voxels."""
MAX = {"pib": 5.0, "pbr28": 4.0}


@pytest.fixture(scope="session")
def make_card():
    tracers = tuple(
        TracerOutput(name=name, index=index, suvr_max=top)
        for index, (name, top) in enumerate(MAX.items())
    )
    network = {**tiny_card().architecture, "n_tracers": len(tracers)}
    ours = {"shape": SHAPE, "affine": AFFINE, "tracers": tracers, "architecture": network}
    return lambda **changes: tiny_card(**{**ours, **changes})


@pytest.fixture(scope="session")
def card(make_card):
    return make_card()


@pytest.fixture
def write_checkpoint(make_card):
    """Write an untrained network of a card into a folder."""

    def write(folder, **changes):
        card = make_card(**changes)
        network = tiny_network(card, seed=changes.get("training", {}).get("seed", 3))
        return save_checkpoint(folder, network, card)

    return write


@pytest.fixture(scope="session")
def regions(card):
    return regions_of(card)


@pytest.fixture(scope="session")
def make_person(regions, cortex):
    """Somebody whose uptake in the cortex, beside 1 in the cerebellum, is ``load``."""

    def make(number, load, *, session=None, tracers=("pib",), noise=0.02):
        rng = np.random.default_rng([41, number, 0 if session is None else int(session)])
        mask = (regions.labels > 0) | regions.grey | regions.white
        level = np.where(cortex, load, 1.0) + noise * rng.standard_normal(SHAPE)
        brightness = 60 + 20 * regions.white + rng.standard_normal(SHAPE)
        images = Images(
            t1w=np.where(mask, brightness, 0).astype(np.float32),
            flair=np.where(mask, 90 - brightness / 2, 0).astype(np.float32),
            mask=mask,
            suvr={name: np.where(mask, level, 0).astype(np.float32) for name in tracers},
        )
        covariates = {"age": 60.0 + number, "female": float(number % 2)}
        return Case(f"{number:02}", session, tuple(tracers), lambda: images, covariates)

    return make


@pytest.fixture(scope="session")
def cortex(regions):
    return (regions.labels > 1000) & (regions.labels < 3000)


@pytest.fixture(scope="session")
def people(make_person):
    """Eight people whose cortical uptake lies 0.1 apart around 1.55, in no order."""
    order = np.random.default_rng(3).permutation(8)
    return tuple(make_person(number, 1.2 + 0.1 * order[number]) for number in range(8))


class Oracle(OneAnswer):
    """Knows the PET of everybody it was told of, by their MRI; ``change`` makes it err.

    ``change`` is given the position of the person and their SUVr.
    """

    def __init__(self, card, cases, change):
        super().__init__()
        self.known = {}
        for position, case in enumerate(cases):
            images = case.images()
            key = _key(torch.from_numpy(images.mri(card)))
            for tracer in card.tracers:
                if tracer.name in images.suvr:
                    suvr = change(position, images.suvr[tracer.name])
                    self.known[key, tracer.index] = 2 * suvr / tracer.suvr_max - 1

    def prepare(self, batches, *, missing_flair):
        raise AssertionError("nobody trains an oracle")

    def fit(self, batch, turn):
        raise AssertionError("nobody trains an oracle")

    def answer(self, mri, tracer):
        return torch.from_numpy(self.known[_key(mri[0]), tracer].astype(np.float32))[None, None]


class Drawing(Oracle):
    """The oracle's answer, and in each sample another level of the cortex, of SD 0.1 SUVr."""

    stochastic = True

    def __init__(self, card, cases, change, *, cortex):
        super().__init__(card, cases, change)
        self.cortex = torch.from_numpy(cortex)
        self.asked = []

    def predict(self, mri, tracer, *, n_samples=1, steps=None, generator=None):
        self.asked.append((n_samples, steps))
        levels = 0.1 * torch.randn(n_samples, 1, 1, 1, 1, generator=generator)
        return self.answer(mri, tracer) + 2 * levels * self.cortex / list(MAX.values())[tracer]


def _key(mri):
    return hash(mri.numpy().tobytes())


@pytest.fixture(scope="session")
def make_contender(card, level_mean):
    """A model as a contender; by default it carries the mean of ``people``."""

    def make(network, name="model", *, floors=None, seen=(), card=card):
        floors = {"mean": level_mean(1.55)} if floors is None else floors
        fold = Fold(
            Predictor(network, card, device="cpu"),
            {key: Predictor(floor, card, device="cpu") for key, floor in floors.items()},
            Seen(frozenset(seen), frozenset(), known=True),
            folder=None,
        )
        return Contender(name, card.kind, (fold,))

    return make


@pytest.fixture(scope="session")
def level_mean(card, cortex):
    """The mean of people whose loads have this mean."""

    def make(load):
        mean = TrainingMean(n_tracers=len(card.tracers), shape=card.shape)
        for tracer in card.tracers:
            level = np.where(cortex, load, 1.0)
            mean.mean[tracer.index] = torch.from_numpy(2 * level / tracer.suvr_max - 1)
        return mean

    return make


@pytest.fixture(scope="session")
def oracle(card):
    """Make a model that knows these people; ``change(position, suvr)`` makes it err."""

    def make(cases, change=lambda position, suvr: suvr):
        return Oracle(card, cases, change)

    return make


@pytest.fixture(scope="session")
def drawing(card, cortex):
    def make(cases, change=lambda position, suvr: suvr):
        return Drawing(card, cases, change, cortex=cortex)

    return make


@pytest.fixture(scope="session")
def evaluated(make_bench):
    """Ask and make all tables: stem -> rows."""

    def make(*contenders, cases, question=None, n_draws=200):
        question = question or Question()
        bench = make_bench(*contenders, cases=cases)
        rows = bench.rows(question, MAX)
        names = [t for t in MAX if t in set(rows["voi"]["tracer"])]
        terms = Terms(
            primary={name: bench.regions.primary(name) for name in names},
            n_samples={c.name: question.n_samples if c.draws else 1 for c in contenders},
            seed=1,
            n_draws=n_draws,
        )
        return {name: table.rows for name, table in all_tables(rows, terms).items()}

    return make


@pytest.fixture(scope="session")
def make_bench(regions):
    def make(*contenders, cases, others=()):
        return Bench(contenders, Found("people", tuple(cases), True, tuple(others)), regions)

    return make
