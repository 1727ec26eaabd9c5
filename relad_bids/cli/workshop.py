"""The ``relad`` command: what a lab does beside running the app."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _ArgumentGroup
from collections.abc import Sequence
from pathlib import Path

from relad_bids import __version__
from relad_bids.cli.parser import Parser
from relad_bids.cli.run import quiet_environment, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the workshop."""
    args = build_parser().parse_args(list(argv) if argv is not None else None)
    quiet_environment()
    return run_command("relad", args.command, args)


def build_parser() -> ArgumentParser:
    parser = Parser(
        prog="relad",
        description="Phantoms, training and checkpoints for relad-bids.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    _phantom(commands.add_parser("phantom", help="write a simulated BIDS dataset with its truth"))
    _train(commands.add_parser("train", help="train a checkpoint by a recipe"))
    _evaluate(commands.add_parser("evaluate", help="hold checkpoints against PET and floors"))
    _models(commands.add_parser("models", help="look at model kinds and checkpoints"))
    assets = commands.add_parser(
        "assets", help="hold weights, templates and tables to their hashes"
    )
    assets.set_defaults(command=_run_assets)
    doctor = commands.add_parser(
        "doctor", help="print versions, limits, devices, hashes and folders, for a question"
    )
    doctor.add_argument(
        "--model-dir", type=Path, dest="folder", metavar="DIR", help="default: the bundled one"
    )
    doctor.set_defaults(command=_run_doctor)
    return parser


def _phantom(parser: ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="folder of the dataset to write")
    parser.add_argument("--n", type=int, default=8, help="participants (default 8)")
    parser.add_argument(
        "--preset", choices=["strong", "literature", "null"], default="strong",
        help="how much the MRI knows of the PET (default strong)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--voxel-mm", type=float, default=2.0, help="voxel size of the MRI (default 2)"
    )
    parser.add_argument(
        "--with-pet", type=int, metavar="N", help="participants that have PET (default: all)"
    )
    parser.set_defaults(command=_run_phantom)


def _train(parser: ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, help="TOML file, such as data/demo_recipe.toml")
    parser.add_argument("out", type=Path, help="folder of the checkpoint; a stopped run goes on")
    folds = parser.add_mutually_exclusive_group()
    folds.add_argument(
        "--fold", type=int, metavar="K",
        help="set aside fold K of the recipe's, from 1, and write OUT/fold-K",
    )  # fmt: skip
    folds.add_argument(
        "--folds", choices=["all"], help="each fold in turn (default: nobody is set aside)"
    )
    parser.add_argument(
        "--finetune", type=Path, metavar="CHECKPOINT",
        help="go on from the weights of this folder; what its card says the recipe may leave out",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.set_defaults(command=_run_train)


def _evaluate(parser: ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="folder of the tables and the page")
    parser.add_argument(
        "--models", nargs="+", metavar="FOLDER",
        help="checkpoints, or folders of a cross-validation (fold-1, fold-2, ...), whose "
        "checkpoints answer for those they have not seen; mean and ridge stand for the floors "
        "of the first (default: the bundled checkpoint)",
    )  # fmt: skip
    _evaluate_whom(parser.add_argument_group("whom they are asked about"))
    parser.add_argument(
        "--n-samples", type=int, default=1, metavar="K",
        help="samples of each model that draws; 8 for a spread, 20 for intervals (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, help="network calls for each sample (default: as the card says)"
    )
    parser.add_argument(
        "--n-training", type=int, default=40, metavar="N",
        help="training participants looked at again, for the floor of age and sex and for what "
        "inputs were seen; 0: neither (default 40)",
    )  # fmt: skip
    parser.add_argument(
        "--write-card", action="store_true",
        help="write conformal factors and input statistics into the cards of the checkpoints",
    )  # fmt: skip
    parser.add_argument(
        "--n-draws", type=int, default=2000, metavar="N",
        help="draws of the bootstrap and of permutations (default 2000)",
    )  # fmt: skip
    parser.add_argument("--random-seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.set_defaults(command=_run_evaluate)


def _evaluate_whom(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--phantoms", type=int, metavar="N", help="simulated participants (default 30)"
    )
    group.add_argument(
        "--preset", choices=["strong", "literature", "null"], default="strong",
        help="how much the phantoms' MRI knows of their PET (default strong)",
    )  # fmt: skip
    group.add_argument("--seed", type=int, default=0, help="of the phantoms (default 0)")
    group.add_argument(
        "--pairs", type=Path, metavar="DERIVATIVES",
        help="instead: people with measured PET, in an output folder of relad-bids",
    )  # fmt: skip
    group.add_argument(
        "--participant-label", dest="participants", nargs="+", action="extend", default=[],
        metavar="LABEL", help="only these people, with or without sub-, or a .txt file of labels",
    )  # fmt: skip
    group.add_argument(
        "--held-out", action="store_true",
        help="only people who were held out of the training of all models",
    )  # fmt: skip
    group.add_argument(
        "--participants-tsv", type=Path, metavar="FILE",
        help="age and sex of the people (default DERIVATIVES/participants.tsv, if it is there)",
    )  # fmt: skip


def _models(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", parser_class=Parser)
    listing = actions.add_parser("list", help="model kinds this version can build")
    listing.add_argument("--kinds", action="store_true", help="print their keys alone")
    listing.set_defaults(command=_run_list)
    show = actions.add_parser("show", help="verify a checkpoint and print its card")
    show.add_argument("folder", type=Path, nargs="?", help="default: the bundled checkpoint")
    show.set_defaults(command=_run_show)
    bring = actions.add_parser(
        "import", help="turn the published RelA-Diffusion weights into a checkpoint"
    )
    bring.add_argument("file", type=Path, help="epoch99_checkpoint.pt of the official repository")
    bring.add_argument("out", type=Path, help="folder of the checkpoint")
    bring.add_argument(
        "--trust", action="store_true",
        help="accept a file that is not one of those published; still nothing in it is run",
    )  # fmt: skip
    bring.set_defaults(command=_run_import)


def _run_phantom(args: Namespace) -> int:
    from tqdm import tqdm

    from relad_bids.phantom.dataset import write_dataset

    with tqdm(total=args.n, unit="participant", desc="phantom", file=sys.stderr) as bar:
        write_dataset(
            args.out,
            n=args.n,
            preset=args.preset,
            seed=args.seed,
            voxel_mm=args.voxel_mm,
            pet_participants=args.with_pet,
            progress=lambda done, total: bar.update(),
        )
    print(args.out)
    return 0


def _run_train(args: Namespace) -> int:
    import torch

    from relad_bids.cli.train import run_train

    torch.set_num_threads(args.threads)
    run_train(args)
    return 0


def _run_evaluate(args: Namespace) -> int:
    import torch

    from relad_bids.cli.evaluate import run_evaluate

    torch.set_num_threads(args.threads)
    run_evaluate(args)
    return 0


def _run_list(args: Namespace) -> int:
    from relad_bids.model.registry import KINDS

    for key, kind in KINDS.items():
        print(key if args.kinds else f"{key}\t{(kind.__doc__ or '').strip().splitlines()[0]}")
    return 0


def _run_import(args: Namespace) -> int:
    from relad_bids.model.published import import_published

    card = import_published(args.file, args.out, trust=args.trust)
    print(f"{args.out}: {card.label}\n{card.statement}")
    return 0


def _run_assets(args: Namespace) -> int:
    from relad_bids.assets import own_files, packaged_images, require_assets
    from relad_bids.cli.settings import BUNDLED
    from relad_bids.model.checkpoint import verify_checkpoint

    images, own = list(packaged_images()), list(own_files())
    require_assets([*images, *own])
    for asset in images:
        print(f"{asset.digest}  {asset.name}")
    card = verify_checkpoint(BUNDLED)
    print(f"{card.sha256}  checkpoint {card.label}")
    print(
        f"{len(own)} files of relad-bids itself" if own else "relad-bids itself: no wheel to ask"
    )
    return 0


def _run_doctor(args: Namespace) -> int:
    from relad_bids.cli.doctor import run_doctor

    return run_doctor(args)


def _run_show(args: Namespace) -> int:
    from relad_bids.cli.settings import BUNDLED
    from relad_bids.model.checkpoint import verify_checkpoint

    print(verify_checkpoint(args.folder or BUNDLED).to_json(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
