"""Fixtures for all tests: images on oblique grids, a tiny checkpoint, a BIDS skeleton."""

import json
import os
from pathlib import Path

import pytest
from toys import (
    drawing_card,
    drawing_network,
    published_like_card,
    save_nifti,
    tiny_card,
    tiny_network,
)


@pytest.fixture
def make_nifti(tmp_path):
    """Write an image below the test's folder; the affine is never left to chance."""

    def make(name, data, affine):
        return save_nifti(tmp_path / name, data, affine)

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint folder of three tracers, untrained, with a prior that differs by tracer."""
    from relad_bids.model.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint")
    card = tiny_card()
    save_checkpoint(folder, tiny_network(card), card)
    return folder


@pytest.fixture(scope="session")
def drawing_checkpoint(tmp_path_factory):
    """A checkpoint folder like the other, of a network that draws."""
    from relad_bids.model.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("drawing_checkpoint")
    card = drawing_card()
    save_checkpoint(folder, drawing_network(card), card)
    return folder


@pytest.fixture(scope="session")
def published_like_checkpoint(tmp_path_factory):
    """A checkpoint folder as the import of the published weights makes it, but small."""
    import torch

    from relad_bids.model.checkpoint import save_checkpoint
    from relad_bids.model.registry import build_model

    folder = tmp_path_factory.mktemp("published_like")
    card = published_like_card()
    with torch.random.fork_rng():
        torch.manual_seed(8)
        network = build_model(
            card.kind, card.architecture, shape=card.shape, diffusion=card.diffusion,
            sampler=card.sampler,
        )  # fmt: skip
    save_checkpoint(folder, network.eval(), card)
    return folder


@pytest.fixture
def write_skeleton(tmp_path):
    """Write a BIDS dataset of empty images; paths are relative to its root."""

    def write(*paths, root=tmp_path / "bids"):
        root.mkdir(parents=True, exist_ok=True)
        description = {"Name": "Toy", "BIDSVersion": "1.10.0"}
        (root / "dataset_description.json").write_text(json.dumps(description))
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        return root

    return write


@pytest.fixture
def run_step(tmp_path):
    """Run an interface as a Nipype node in the test's folder; return its outputs."""

    def run(interface, name="step"):
        from nipype.pipeline.engine import Node

        return Node(interface, name=name, base_dir=tmp_path / "nodes").run().outputs

    return run


@pytest.fixture(scope="session")
def real_data():
    """The folder of real images named by RELAD_TEST_DATA."""
    named = os.environ.get("RELAD_TEST_DATA")
    if not named:
        pytest.skip("RELAD_TEST_DATA names no folder of real images")
    return Path(named)
