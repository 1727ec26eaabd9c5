"""Import of the published RelA-Diffusion weights: ``{'model_state_dict', 'epoch'}``, pickled.

The file is a pickle. It is read as tensors and plain containers only, and not at all unless its
git blob id is one of those published (method.md 2.8) or the user vouches for it.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from relad_bids.core.intensity import MRIContract
from relad_bids.errors import CheckpointError, InputError
from relad_bids.files import require_writable
from relad_bids.model.card import Card, TracerOutput
from relad_bids.model.checkpoint import save_checkpoint
from relad_bids.model.kinds.rela_published import RelAPublished
from relad_bids.model.networks.critic import PublishedCritic
from relad_bids.model.networks.diffusion_unet import PUBLISHED, ConditionalDiffusionUNet

Part = Literal["generator", "discriminator"]

BLOBS: Mapping[Part, Mapping[str, int]] = {
    "generator": {
        "f1d4f2b39a6bf960381d01dc7b141a8cdf13dd4f": 99,
        "f0708315bd342866dfc646ae415c78ee2ebc30d3": 100,
    },
    "discriminator": {
        "9c211268fe74f7a37a346c702a5829a669d7a2d0": 99,
        "95899fc466af27ecded2d2f3fd17890deaa931b2": 100,
    },
}
"""Git blob id -> epoch of the files in the official repository, commit 3f5bb1d (method.md 2.8)."""

UNDECLARED_TSPO = "tspo-undeclared"
"""The tracer "PBR" of the paper: no text that could be read names its ligand (method.md 1.4)."""
TRACERS = (UNDECLARED_TSPO, "pib", "flortaucipir")
"""Canonical names by class number, in the paper's words PBR, PIB, TAU (method.md 2.1)."""

SPACE = "MNI152NLin6Asym"
WHOLE_SHAPE = (181, 217, 181)
"""The 1 mm grid that the images were on before they were cut (method.md 1.5)."""
WHOLE_ORIGIN_MM = (-90.0, -126.0, -72.0)
"""RAS+ position of its voxel (0, 0, 0)."""
CUT = ((11, 10), (20, 17), (0, 21))
"""Voxels cut away at the start and end of each axis."""

DIFFUSION: Mapping[str, Any] = {
    "name": "scaled_linear_float32",
    "n_steps": 1000,
    "beta_start": 5e-4,
    "beta_end": 1.95e-2,
    "zero_terminal_snr": False,
    "prediction": "epsilon",
    "clip": True,
}
"""Method.md 2.3."""
SAMPLER: Mapping[str, Any] = {"name": "dpmpp2m", "steps": 20, "spacing": "log_snr"}
"""Method.md 4.2; the reference is ``ancestral`` with 1000 steps, 50 times the cost."""

STATEMENT = (
    "Published RelA-Diffusion weights, for research only: trained on scans of former American "
    "football players, absolute scale not preserved."
)
STATEMENT_UNVERIFIED = (
    "Weights in the layout of RelA-Diffusion that are not known to be the published ones, for "
    "research only: training data not known, absolute scale not preserved."
)

# The official network is a fork of MONAI Generative, whose blocks were renamed when they moved
# into MONAI: what the names of ``DiffusionModelUNet`` (left) were before (method.md 2.8).
_FORMER = (
    (re.compile(r"(\.transformer_blocks\.0\.attn[12])\.out_proj\."), r"\1.to_out.0."),
    (re.compile(r"(\.upsampler)\.postconv\.conv\."), r"\1.conv.conv."),
)


@dataclass(frozen=True, eq=False)
class OfficialFile:
    """What one file of the official layout holds, before any network has seen it."""

    path: Path
    weights: Mapping[str, Tensor]
    """By official name; not yet held against an architecture."""
    epoch: int
    """Training epoch, from 1."""
    blob: str
    """Git blob id of the file."""


def git_blob_id(content: bytes) -> str:
    """Return the name git gives to a file's content: SHA-1 of ``blob <size>\\0`` and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def read_official(file: Path, part: Part, *, trust: bool = False) -> OfficialFile:
    """Read a generator or discriminator file; run nothing that it may hold.

    Parameters
    ----------
    file
        ``epoch99_checkpoint.pt`` or its like.
    part
        Which of the two published networks it should be.
    trust
        Also read a file that is not one of those published.

    Raises
    ------
    InputError
        There is no such file.
    CheckpointError
        It is not one of the published files and not trusted, or holds something else than
        ``{'model_state_dict': {name: tensor}, 'epoch': int}``.
    """
    if not file.is_file():
        found = "a folder is" if file.is_dir() else "nothing of that name is"
        raise InputError(
            f"a published {part} was looked for in {file}; {found} there. Give the path of the "
            "file, such as checkpoints/epoch99_checkpoint.pt of the official repository."
        )
    # Read once: what was hashed is what is loaded.
    content = file.read_bytes()
    blob = git_blob_id(content)
    if not (trust or blob in BLOBS[part]):
        known = ", ".join(f"{known} (epoch {epoch})" for known, epoch in BLOBS[part].items())
        raise CheckpointError(
            f"{file} has the git blob id {blob}; the published {part}s have {known}. Copy the "
            "file again from the official repository; --trust accepts it as it is, at your own "
            "risk."
        )
    weights, epoch = _checked(_loaded(content, file), file)
    return OfficialFile(file, weights, epoch, blob)


def published_generator(official: OfficialFile) -> ConditionalDiffusionUNet:
    """Build the published network and fill it; in evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        Names the tensors that do not fit.
    """
    network = ConditionalDiffusionUNet(**PUBLISHED)
    _fill(network.unet, official, official_name)
    return network.eval()


def published_discriminator(official: OfficialFile) -> PublishedCritic:
    """Build the published discriminator and fill it; in evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        Names the tensors that do not fit.
    """
    network = PublishedCritic()
    _fill(network, official, str)  # its names are the same in both
    return network.eval()


def official_name(name: str) -> str:
    """Return what a tensor of MONAI's ``DiffusionModelUNet`` is called in the official file.

    >>> official_name("up_blocks.0.upsampler.postconv.conv.bias")
    'up_blocks.0.upsampler.conv.conv.bias'
    """
    for ours, former in _FORMER:
        name = ours.sub(former, name)
    return name


def published_card(*, epoch: int, blob: str) -> Card:
    """Return the card of the generator of one epoch whose file has this git blob id.

    Only a published id makes it the card of the published weights; any other file was taken on
    the user's trust, and its name and statement say so.
    """
    verified = blob in BLOBS["generator"]
    shape, affine = _grid()
    return Card(
        name="rela-published" if verified else "rela-unverified",
        version=f"epoch{epoch}",
        kind="rela-published",
        architecture=dict(PUBLISHED),
        space=SPACE,
        shape=shape,
        affine=affine,
        tracers=tuple(TracerOutput(name=name, index=i) for i, name in enumerate(TRACERS)),
        missing_flair=False,
        mri_contract=MRIContract(lower_percentile=0, upper_percentile=100, background_counts=True),
        pet_contract="minmax",
        sampler=dict(SAMPLER),
        diffusion=dict(DIFFUSION),
        statement=STATEMENT if verified else STATEMENT_UNVERIFIED,
        training={
            "source": "RelA-Diffusion (Yu et al. 2026, arXiv 2602.21345)" if verified else "n/a",
            "epoch": epoch,
            "git_blob": blob,
        },
    )


def import_published(file: Path, out_folder: Path, *, trust: bool = False) -> Card:
    """Turn the official generator file into a checkpoint folder; return its card.

    A checkpoint that is there already is replaced, but not by a file that does not fit.

    Raises
    ------
    InputError
        There is no such file.
    CheckpointError
        It is not one of the published files and not trusted, is damaged, or does not fit.
    OutputError
        The folder cannot be written.
    """
    official = read_official(file, "generator", trust=trust)
    network = published_generator(official)
    require_writable(out_folder)
    card = published_card(epoch=official.epoch, blob=official.blob)
    model = RelAPublished(shape=card.shape, diffusion=DIFFUSION, sampler=SAMPLER, **PUBLISHED)
    model.network = network
    return save_checkpoint(out_folder, model, card)


def _loaded(content: bytes, file: Path) -> object:
    try:
        # The published tensors were saved from a GPU.
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged or hostile bytes make torch raise almost anything
        raise CheckpointError(
            f"{file} is not a PyTorch file of tensors ({type(error).__name__}): it is damaged, "
            "or holds objects or code, which are not read. Copy it again from where it came from."
        ) from error


def _checked(content: object, file: Path) -> tuple[Mapping[str, Tensor], int]:
    """Return weights and epoch of the official layout, which has these two keys and no others."""
    if found := _layout_problem(content):
        raise CheckpointError(
            f"{file} holds {found}; the official layout is {{'model_state_dict': "
            "{name: tensor}, 'epoch': int} and nothing else. Give a file of that layout."
        )
    return content["model_state_dict"], content["epoch"]  # type: ignore[index]


def _layout_problem(content: object) -> str | None:
    """Say what is there instead of the official layout, if anything is."""
    if not isinstance(content, dict):
        return f"an object of type {type(content).__name__}"
    if content.keys() != {"model_state_dict", "epoch"}:
        shown = ", ".join(repr(key) for key in list(content)[:5])
        return f"a dictionary of {len(content)} ({shown}{', ...' * (len(content) > 5)})"
    weights, epoch = content["model_state_dict"], content["epoch"]
    if type(epoch) is not int:  # a bool is an int to isinstance
        return f"an epoch of type {type(epoch).__name__}"
    if not isinstance(weights, dict):
        return f"a model_state_dict of type {type(weights).__name__}"
    for name, value in weights.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            return f"{name!r}: {type(value).__name__} in model_state_dict"
    return None


def _fill(network: nn.Module, official: OfficialFile, name_in_file: Callable[[str], str]) -> None:
    """Fill every tensor of the network; none is left as it was, none is left over."""
    want = {name_in_file(name): tensor for name, tensor in network.state_dict().items()}
    if wrong := _misfits(official.weights, want):
        shown = "\n  ".join(wrong[:5])
        raise CheckpointError(
            f"{official.path}: {len(wrong)} tensors do not fit the published network, first:\n"
            f"  {shown}"
        )
    network.load_state_dict(
        {name: official.weights[name_in_file(name)] for name in network.state_dict()}
    )


def _misfits(have: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> list[str]:
    wrong = [f"missing {name}" for name in want if name not in have]
    wrong += [f"unexpected {name}" for name in have if name not in want]
    for name in [name for name in want if name in have]:
        found, needed = _kind(have[name]), _kind(want[name])
        if found != needed:
            wrong.append(f"{name} is {found}, needs {needed}")
        elif not have[name].isfinite().all():
            wrong.append(f"{name} holds values that are not finite")
    return wrong


def _kind(tensor: Tensor) -> str:
    """Dtype and shape; layout and device where they are not the usual ones."""
    kind = f"{tensor.dtype} {tuple(tensor.shape)}"
    if (tensor.layout, tensor.device.type) != (torch.strided, "cpu"):
        kind += f" {tensor.layout} on {tensor.device.type}"
    return kind.replace("torch.", "")


def _grid() -> tuple[tuple[int, int, int], tuple[tuple[float, ...], ...]]:
    """Shape and affine (4, 4) of what the cut leaves; 1 mm, axes towards R, A, S."""
    i, j, k = (side - start - end for side, (start, end) in zip(WHOLE_SHAPE, CUT, strict=True))
    x, y, z = (mm + start for mm, (start, _) in zip(WHOLE_ORIGIN_MM, CUT, strict=True))
    return (i, j, k), (
        (1.0, 0.0, 0.0, x), (0.0, 1.0, 0.0, y), (0.0, 0.0, 1.0, z), (0.0, 0.0, 0.0, 1.0)
    )  # fmt: skip
