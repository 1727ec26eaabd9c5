import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from relad_bids.errors import CheckpointError, InputError, OutputError
from relad_bids.model import published
from relad_bids.model.checkpoint import load_checkpoint, verify_checkpoint
from relad_bids.model.kinds.rela_published import RelAPublished
from relad_bids.model.networks.critic import PublishedCritic
from relad_bids.model.networks.diffusion_unet import PUBLISHED, ConditionalDiffusionUNet
from relad_bids.model.published import (
    BLOBS,
    UNDECLARED_TSPO,
    git_blob_id,
    import_published,
    official_name,
    published_card,
    published_discriminator,
    published_generator,
    read_official,
)
from relad_bids.tables import tracers

TRUSTED = {"trust": True}
EPOCH_99 = "f1d4f2b39a6bf960381d01dc7b141a8cdf13dd4f"


class Intruder:
    """What a hostile file may hold: an object that makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def generator():
    """The published architecture with random weights, none of them zero."""
    network = ConditionalDiffusionUNet(**PUBLISHED).eval()
    chance = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.1, generator=chance)
    return network


@pytest.fixture(scope="module")
def weights(generator):
    """Its tensors by their names before the blocks moved into MONAI."""
    return OrderedDict(
        (name.replace(".out_proj.", ".to_out.0.").replace(".postconv.", ".conv."), tensor)
        for name, tensor in generator.unet.state_dict().items()
    )


@pytest.fixture(scope="module")
def official_file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("official") / "epoch7_checkpoint.pt"
    torch.save({"model_state_dict": weights, "epoch": 7}, path)
    return path


@pytest.fixture
def light(weights):
    """The same names and shapes, one number each: a file of it is small."""
    return OrderedDict((name, torch.ones(()).expand(w.shape)) for name, w in weights.items())


@pytest.fixture
def critic():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return PublishedCritic().eval()


@pytest.fixture
def critic_content(critic):
    return {"model_state_dict": critic.state_dict(), "epoch": 3}


@pytest.fixture
def write(tmp_path):
    def write(content, **how):
        path = tmp_path / "file.pt"
        torch.save(content, path, **how)
        return path

    return write


@pytest.fixture
def known(monkeypatch):
    """Make a file count as one of those published."""

    def know(path, part="generator", epoch=7):
        blobs = {**BLOBS, part: {git_blob_id(path.read_bytes()): epoch}}
        monkeypatch.setattr(published, "BLOBS", blobs)

    return know


# The blob of nothing is known to every git user; the other is an example of the Git book, 10.2.
@pytest.mark.parametrize(
    ("content", "blob"),
    [
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"test content\n", "d670460b4b4aece5915caf5c68d12f560a9fe3e4"),
    ],
)
def test_git_blob_id(content, blob):
    assert git_blob_id(content) == blob


def test_names_that_changed(generator):
    """Of 367 names 28, by method.md 2.8: 24 output projections and 4 upsampling convolutions."""
    blocks = [
        "down_blocks.2.attentions.0", "down_blocks.2.attentions.1", "middle_block.attention",
        "up_blocks.0.attentions.0", "up_blocks.0.attentions.1", "up_blocks.0.attentions.2",
    ]  # fmt: skip
    expected = {
        f"{block}.transformer_blocks.0.attn{n}.to_out.0.{kind}"
        for block in blocks
        for n in (1, 2)
        for kind in ("weight", "bias")
    } | {
        f"up_blocks.{n}.upsampler.conv.conv.{kind}" for n in (0, 1) for kind in ("weight", "bias")
    }
    names = list(generator.unet.state_dict())
    former = [official_name(name) for name in names]
    assert set(former) - set(names) == expected
    assert sum(a != b for a, b in zip(names, former, strict=True)) == 28
    assert len(set(former)) == 367


def test_the_network_is_the_one_that_was_saved(generator, official_file):
    official = read_official(official_file, "generator", trust=True)
    network = published_generator(official)
    assert official.epoch == 7
    assert not network.training
    chance = torch.Generator().manual_seed(2)
    x = torch.randn((2, 3, 8, 4, 12), generator=chance)
    given = x[:, :1], x[:, 1:], torch.tensor([3, 900]), torch.tensor([2, 0])
    with torch.inference_mode():
        assert torch.equal(network(*given), generator(*given))


def test_discriminator(critic, critic_content, write):
    """Random statistics, too: they are no parameters and still belong to the file."""
    for name, buffer in critic.named_buffers():
        buffer.fill_(2 + len(name) % 3)
    official = read_official(write(critic_content), "discriminator", trust=True)
    loaded = published_discriminator(official)
    assert not loaded.training
    expected = critic.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(loaded.state_dict()[name], expected[name]) for name in expected)


def test_tensors_saved_from_a_gpu_come_to_the_cpu(critic_content, write, monkeypatch):
    """As the published ones were; the label is all that makes such a file."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    official = read_official(write(critic_content), "discriminator", trust=True)
    assert {tensor.device.type for tensor in official.weights.values()} == {"cpu"}


def test_import(generator, official_file, tmp_path):
    card = import_published(official_file, tmp_path / "out", trust=True)
    assert verify_checkpoint(tmp_path / "out") == card
    model, read = load_checkpoint(tmp_path / "out")
    assert read == card
    assert isinstance(model, RelAPublished)
    written, expected = model.network.state_dict(), generator.state_dict()
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)
    assert (model.sampler["name"], model.sampler["steps"]) == ("dpmpp2m", 20)
    assert model.schedule.prediction == "epsilon"


def test_card_of_an_import_says_from_which_file(official_file, known, tmp_path):
    blob = git_blob_id(official_file.read_bytes())
    trusted = import_published(official_file, tmp_path / "out", trust=True)
    known(official_file)
    card = import_published(official_file, tmp_path / "out")
    assert (trusted.name, card.name) == ("rela-unverified", "rela-published")
    for made in (trusted, card):
        assert (made.version, made.training["epoch"]) == ("epoch7", 7)
        assert made.training["git_blob"] == blob


def test_import_leaves_the_folder_alone_when_the_file_does_not_fit(light, write, tmp_path):
    del light["out.2.conv.bias"]
    with pytest.raises(CheckpointError, match="1 tensors do not fit"):
        import_published(
            write({"model_state_dict": light, "epoch": 7}), tmp_path / "out", **TRUSTED
        )
    assert not (tmp_path / "out").exists()


def test_import_into_what_is_no_folder(official_file, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match=r"the output folder .*out cannot be written"):
        import_published(official_file, tmp_path / "out", trust=True)


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_known_ids(part):
    assert list(BLOBS[part].values()) == [99, 100]
    assert all(len(blob) == 40 and int(blob, 16) for blob in BLOBS[part])


def test_a_known_file_needs_no_trust(official_file, known):
    known(official_file)
    assert read_official(official_file, "generator").epoch == 7


def test_an_unknown_file_is_refused(official_file):
    """The message: what was found, what is known, how to go on, and who bears it."""
    blob = git_blob_id(official_file.read_bytes())
    with pytest.raises(
        CheckpointError,
        match=rf"epoch7_checkpoint\.pt has the git blob id {blob}; the published generators have "
        rf"{EPOCH_99} \(epoch 99\), \w{{40}} \(epoch 100\)\. .*--trust .* your own risk",
    ):
        read_official(official_file, "generator")


def test_a_known_file_spoilt_by_one_bit_is_unknown(official_file, known, tmp_path):
    known(official_file)
    content = bytearray(official_file.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "spoilt.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="has the git blob id"):
        read_official(tmp_path / "spoilt.pt", "generator")


def test_a_discriminator_is_no_generator(critic_content, write, known):
    """Neither by its id, nor, if trusted, by its tensors."""
    path = write(critic_content)
    known(path, part="discriminator")
    assert read_official(path, "discriminator").epoch == 3
    with pytest.raises(CheckpointError, match="the published generators have"):
        read_official(path, "generator")
    with pytest.raises(CheckpointError, match=r"383 tensors do not fit .*\n  missing conv_in"):
        published_generator(read_official(path, "generator", trust=True))


@pytest.mark.parametrize("trust", [False, True])
def test_missing_file(tmp_path, trust):
    with pytest.raises(InputError, match=r"nowhere\.pt; nothing of that name is there\. Give"):
        read_official(tmp_path / "nowhere.pt", "generator", trust=trust)


@pytest.mark.parametrize("trust", [False, True])
def test_path_of_a_folder(tmp_path, trust):
    with pytest.raises(InputError, match=r"; a folder is there\. Give the path of the file"):
        import_published(tmp_path, tmp_path / "out", trust=trust)


def hostile_files(intruder, weights):
    """Bytes that make a file when they are read without care, by the way they hide it."""

    def saved(content, **how):
        buffer = io.BytesIO()
        torch.save(content, buffer, **how)
        return buffer.getvalue()

    whole = {"model_state_dict": weights, "epoch": 1}
    return {
        "plain pickle": pickle.dumps(intruder),
        "archive": saved(intruder),
        "former format": saved(intruder, _use_new_zipfile_serialization=False),
        "beside the tensors": saved({**whole, "note": intruder}),
        "among the tensors": saved({**whole, "model_state_dict": {**weights, "x": intruder}}),
        "as a name": saved({**whole, "model_state_dict": {intruder: torch.zeros(1)}}),
        "as the epoch": saved({**whole, "epoch": intruder}),
    }


HIDEOUTS = list(hostile_files(None, {}))


@pytest.mark.parametrize("hideout", HIDEOUTS)
@pytest.mark.parametrize("trust", [False, True])
def test_code_is_never_run(critic_content, tmp_path, hideout, trust):
    mark = tmp_path / "mark"
    files = hostile_files(Intruder(mark), critic_content["model_state_dict"])
    path = tmp_path / "hostile.pt"
    path.write_bytes(files[hideout])
    message = r"hostile.pt is not a PyTorch file of tensors \(UnpicklingError\).* are not read"
    with pytest.raises(CheckpointError, match=message if trust else "has the git blob id"):
        read_official(path, "discriminator", trust=trust)
    assert not mark.exists()


@pytest.mark.parametrize("hideout", HIDEOUTS)
def test_the_hostile_files_are_hostile(critic_content, tmp_path, hideout):
    """Read without care they do make the file, so that its absence above means something."""
    mark = tmp_path / "mark"
    content = hostile_files(Intruder(mark), critic_content["model_state_dict"])[hideout]
    if hideout == "plain pickle":
        pickle.loads(content)
    else:
        torch.load(io.BytesIO(content), weights_only=False)
    assert mark.exists()


def test_the_error_does_not_advise_to_read_without_care(tmp_path):
    """As torch's own message does."""
    (tmp_path / "hostile.pt").write_bytes(pickle.dumps(Intruder(tmp_path / "mark")))
    with pytest.raises(CheckpointError, match="damaged, or holds objects or code") as caught:
        read_official(tmp_path / "hostile.pt", "generator", trust=True)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("archive", [True, False])
def test_truncated_file(critic_content, write, archive):
    path = write(critic_content, _use_new_zipfile_serialization=archive)
    content = path.read_bytes()
    assert read_official(path, "discriminator", trust=True).epoch == 3
    for kept in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(CheckpointError, match=r"file\.pt is not a PyTorch file of tensors"):
            read_official(path, "discriminator", trust=True)


def test_file_of_another_kind(tmp_path):
    """An image, a text, an archive of something else."""
    path = tmp_path / "file.pt"
    np.save(path.open("wb"), np.zeros(5))
    kinds = [path.read_bytes(), b"weights\n" * 99]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.txt", "none")
    for content in [*kinds, path.read_bytes()]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not a PyTorch file of tensors"):
            read_official(path, "generator", trust=True)


def test_program_of_torchscript(tmp_path):
    torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)).save(tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match="is not a PyTorch file of tensors"):
        read_official(tmp_path / "file.pt", "generator", trust=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["model_state_dict"],
            r"a dictionary of 16 \('initial_conv.conv.weight', .*\)",
        ),
        (lambda c: {**c, "optimiser": {}}, "a dictionary of 3 .*'optimiser'"),
        (lambda c: {"model_state_dict": c["model_state_dict"]}, "a dictionary of 1 .*"),
        (lambda c: {"epoch": 3}, r"a dictionary of 1 \('epoch'\)"),
        (lambda c: {}, r"a dictionary of 0 \(\)"),
        (lambda c: [c], "an object of type list"),
        (lambda c: torch.zeros(3), "an object of type Tensor"),
        (lambda c: {**c, "epoch": "99"}, "an epoch of type str"),
        (lambda c: {**c, "epoch": True}, "an epoch of type bool"),
        (lambda c: {**c, "epoch": torch.tensor(99)}, "an epoch of type Tensor"),
        (lambda c: {**c, "model_state_dict": []}, "a model_state_dict of type list"),
        (
            lambda c: {**c, "model_state_dict": {5: torch.zeros(1)}},
            "5: Tensor in model_state_dict",
        ),
        (lambda c: {**c, "model_state_dict": {"x": 5}}, "'x': int in model_state_dict"),
    ],
)
def test_another_layout(critic_content, write, change, message):
    path = write(change(critic_content))
    with pytest.raises(
        CheckpointError, match=rf"holds {message}.*; the official layout is \{{'model_state_"
    ):
        read_official(path, "discriminator", trust=True)


NAME = "middle_block.attention.transformer_blocks.0.attn1.to_out.0.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({NAME: None}, f"missing {NAME}"),
        ({"stranger": torch.zeros(1)}, "unexpected stranger"),
        # Of two names for one tensor the file must have the former alone.
        ({official_name(NAME).replace("to_out.0", "out_proj"): torch.zeros(64)}, "unexpected mid"),
        ({NAME: torch.zeros(32)}, rf"{NAME} is float32 \(32,\), needs float32 \(64,\)"),
        ({NAME: torch.zeros(1, 64)}, r"is float32 \(1, 64\), needs float32 \(64,\)"),
        ({NAME: torch.zeros(64).half()}, r"is float16 \(64,\), needs float32 \(64,\)"),
        ({NAME: torch.zeros(64).double()}, r"is float64 \(64,\), needs float32 \(64,\)"),
        ({NAME: torch.zeros(64, device="meta")}, r"is float32 \(64,\) strided on meta, needs"),
        ({NAME: torch.zeros(64).to_sparse()}, r"is float32 \(64,\) sparse_coo on cpu, needs"),
        ({NAME: torch.full((64,), torch.nan)}, "holds values that are not finite"),
        ({NAME: torch.arange(64).float().log()}, "holds values that are not finite"),
    ],
)
def test_a_tensor_that_does_not_fit(light, write, change, message):
    content = {name: tensor for name, tensor in {**light, **change}.items() if tensor is not None}
    official = read_official(
        write({"model_state_dict": content, "epoch": 1}), "generator", **TRUSTED
    )
    with pytest.raises(CheckpointError, match=rf": 1 tensors do not fit .*first:\n  .*{message}"):
        published_generator(official)


def test_fitting_tensors_fit(light, write):
    """What the misfits above are made of is itself without fault."""
    official = read_official(
        write({"model_state_dict": light, "epoch": 1}), "generator", **TRUSTED
    )
    assert all(torch.all(w == 1) for w in published_generator(official).parameters())


def test_every_misfit_is_counted_and_five_are_named(light, write):
    del light["conv_in.conv.bias"]
    light["stranger"] = torch.zeros(1)
    content = {name: w.double() if name.startswith("out.") else w for name, w in light.items()}
    official = read_official(
        write({"model_state_dict": content, "epoch": 1}), "generator", **TRUSTED
    )
    with pytest.raises(CheckpointError, match=": 6 tensors do not fit") as caught:
        published_generator(official)
    assert len(str(caught.value).splitlines()) == 6


def test_monai_names_are_not_the_official_ones(generator, write):
    """28 names are missing and 28 are too many."""
    content = {"model_state_dict": generator.unet.state_dict(), "epoch": 1}
    with pytest.raises(CheckpointError, match=r": 56 tensors do not fit"):
        published_generator(read_official(write(content), "generator", trust=True))


def test_grid_of_the_card():
    """1 mm, R-A-S; what was cut off at both ends adds up to the grid of MNI152NLin6Asym."""
    card = published_card(epoch=99, blob=EPOCH_99)
    assert card.shape == (160, 180, 160)
    assert card.space == "MNI152NLin6Asym"
    np.testing.assert_array_equal(card.grid.affine[:3, :3], np.eye(3))
    corners = card.grid.corners_mm()
    np.testing.assert_array_equal(corners.min(0), [-79, -106, -72])
    # The whole grid ends at 90, 90, 108 mm.
    np.testing.assert_array_equal(corners.max(0), [90 - 10, 90 - 17, 108 - 21])


def test_contracts_of_the_card():
    card = published_card(epoch=99, blob=EPOCH_99)
    assert card.kind == "rela-published"
    assert (card.mri_contract.lower_percentile, card.mri_contract.upper_percentile) == (0, 100)
    assert card.mri_contract.background_counts  # masked first, scaled then
    assert card.pet_contract == "minmax"
    assert card.sequences == ("T1w", "FLAIR")
    assert not card.missing_flair
    assert {t.index: t.name for t in card.tracers} == {
        0: UNDECLARED_TSPO, 1: "pib", 2: "flortaucipir",
    }  # fmt: skip
    assert all(t.suvr_max is None for t in card.tracers)
    assert {t.name for t in card.tracers} <= set(tracers())
    assert not tracers()[UNDECLARED_TSPO].declared
    assert tracers()["pib"].declared
    assert tracers()["flortaucipir"].declared


def test_noise_schedule_of_the_card():
    """Signal left at the timesteps of method.md 2.3, where they stand with three digits."""
    diffusion = published_card(epoch=99, blob=EPOCH_99).diffusion
    assert diffusion["name"] == "scaled_linear_float32"
    assert (diffusion["prediction"], diffusion["clip"]) == ("epsilon", True)
    assert not diffusion["zero_terminal_snr"]
    ends = np.sqrt([diffusion["beta_start"], diffusion["beta_end"]])
    left = np.cumprod(1 - np.linspace(*ends, diffusion["n_steps"]) ** 2)
    np.testing.assert_allclose(
        left[[100, 300, 500, 700, 900]], [0.922, 0.599, 0.226, 0.0396, 0.00257], rtol=3e-3
    )
    assert len(left) == 1000


def test_statement_says_what_a_reader_must_know():
    statement = published_card(epoch=99, blob=EPOCH_99).statement
    for said in (
        "Published RelA-Diffusion weights",
        "research only",
        "football",
        "absolute scale",
    ):
        assert said in statement


@pytest.mark.parametrize(
    ("blob", "name", "claim"),
    [
        (EPOCH_99, "rela-published", "Published RelA-Diffusion weights"),
        ("0" * 40, "rela-unverified", "not known to be the published ones"),
        # The discriminator of the same epoch.
        ("9c211268fe74f7a37a346c702a5829a669d7a2d0", "rela-unverified", "training data not known"),
    ],
)
def test_only_published_weights_are_called_so(blob, name, claim):
    card = published_card(epoch=99, blob=blob)
    assert card.name == name
    assert claim in card.statement
    assert "research only" in card.statement
    assert card.training["git_blob"] == blob
    assert card.version == "epoch99"
