"""A card, a config and sessions from which every builder can be tried."""

from dataclasses import replace

import pytest
from toys import tiny_card, tiny_config, tiny_measured, tiny_unit

from relad_workflows.session import init_session_wf


@pytest.fixture
def card():
    return tiny_card(sha256="ab" * 32)


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


@pytest.fixture
def unit(config, write_skeleton):
    """A session whose images exist, as Nipype asks of its inputs."""

    def make(subject="01", session="a", **settings):
        made = tiny_unit(config, subject, session, **settings)
        paths = [path for path in (made.t1w, made.flair) if path]
        paths += [pet.path for pet in made.measured]
        write_skeleton(*(path.relative_to(config.bids_dir) for path in paths))
        return made

    return make


@pytest.fixture
def session_wf(card, config, unit):
    def make(*, n_samples=1, pet=(), **settings):
        chosen = replace(config, n_samples=n_samples)
        measured = [tiny_measured(config, tracer=tracer, session=where) for tracer, where in pet]
        return init_session_wf(unit(**settings, measured=measured), card=card, config=chosen)

    return make
