"""What the command line of ``relad-bids`` accepts; the names are those of the NiPreps."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _ArgumentGroup
from pathlib import Path
from typing import NoReturn

from relad_bids import __version__
from relad_bids.cli.group_flags import add_group_flags

USAGE = 64
UNSUPPORTED_LEVEL = 17

LEVELS = ("participant", "group")


class Parser(ArgumentParser):
    """argparse, with the exit codes of the BIDS execution specification."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def build_parser() -> ArgumentParser:
    parser = Parser(
        prog="relad-bids",
        description="Synthetic PET from T1w + FLAIR, and regional SUVr tables.",
        formatter_class=RawDescriptionHelpFormatter,
        epilog=(
            "exit codes: 0 ok, 1 failure, 16 not BIDS, 17 unsupported level, 18 filters select\n"
            "nothing, 19 conflicting arguments, 64 usage, 65 unusable data, 66 missing input,\n"
            "73 output folder not writable, 74 work folder not usable, 75 more memory needed,\n"
            "or a worker was killed, 143 stopped by a scheduler"
        ),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("bids_dir", type=Path, help="raw BIDS dataset (for group: not read)")
    parser.add_argument("output_dir", type=Path, help="folder of the derivatives")
    parser.add_argument("analysis_level", help="participant or group")
    _selection(parser.add_argument_group("which images"))
    _synthesis(parser.add_argument_group("synthesis and quantification"))
    _measured(parser.add_argument_group("measured PET"))
    labels = parser.add_argument_group("labels")
    _labels(labels)
    _suit(labels)
    add_group_flags(parser.add_argument_group("level group"))
    _resources(parser.add_argument_group("resources"))
    _running(parser.add_argument_group("running"))
    return parser


def _selection(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--participant-label", "--participant_label", "--participant-labels",
        "--participant_labels", "--subject-label", dest="participants", nargs="+", action="extend",
        default=[], metavar="LABEL",
        help="participants, with or without sub-, or a .txt file with one label per line",
    )  # fmt: skip
    group.add_argument(
        "--session-label", "--session-id", "--session_id", dest="sessions", nargs="+",
        action="extend", default=[], metavar="LABEL", help="sessions, with or without ses-",
    )  # fmt: skip
    group.add_argument(
        "--bids-filter-file", type=Path, metavar="FILE",
        help='JSON such as {"t1w": {"run": "1"}, "flair": {"acquisition": "3D"}}',
    )  # fmt: skip
    group.add_argument(
        "--skip-bids-validation", "--skip_bids_validation", "--skip_bids_validator",
        action="store_true", help="accepted; only what is needed of the dataset is checked",
    )  # fmt: skip
    group.add_argument(
        "--missing-flair", choices=["skip", "t1w-only", "error"], default="skip",
        help="a session without FLAIR: not synthesised, with a row in the QC table (default; its "
        "measured PET is quantified), run with the network's 'no FLAIR' input, or an error",
    )  # fmt: skip
    group.add_argument(
        "--run-choice", choices=["first", "quality"], default="first",
        help="which run of a T1w or FLAIR that was repeated in a session: the first (default), or "
        "that of the thinnest slices, among equals of the lowest entropy focus (motion raises it)",
    )  # fmt: skip


def _synthesis(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--synth-tracers", nargs="+", default=[], metavar="TRACER",
        help="such as tau, tspo, pib or 18FAV1451; default: all the checkpoint knows; none: "
        "measured PET alone, without a network and without FLAIR",
    )  # fmt: skip
    group.add_argument(
        "--model-dir", type=Path, metavar="DIR", help="checkpoint folder; default: the bundled one"
    )
    group.add_argument(
        "--ref-region", nargs="+", default=[], metavar="TRACER=NAME",
        help="another reference region than the tracer's default",
    )  # fmt: skip
    group.add_argument(
        "--pvc", "--pvc-method", choices=["none", "gtm", "rbv", "mg", "iy"], default="none",
        type=str.lower, help="partial volume correction, in rows of its own beside the "
        "uncorrected ones, which stay the primary values (default none)",
    )  # fmt: skip
    group.add_argument(
        "--centiloid-voi-dir", "--gaain-voi-dir", dest="centiloid_dir", type=Path, metavar="DIR",
        help="masks of GAAIN (voi_ctx_2mm.nii, voi_WhlCbl_2mm.nii ...): rows of their own, with "
        "Centiloid where there is an equation",
    )  # fmt: skip
    group.add_argument(
        "--centaur-voi-dir", dest="centaur_dir", type=Path, metavar="DIR",
        help="masks of CenTauR (CenTauR.nii, voi_CerebGry_tau_2mm.nii ...): the same for tau",
    )  # fmt: skip
    group.add_argument(
        "--min-coverage", type=float, default=0.5, metavar="SHARE",
        help="least share of a VOI inside the field of view; below it n/a (default 0.5)",
    )  # fmt: skip
    group.add_argument(
        "--skull-strip", "--skull-strip-t1w", choices=["auto", "skip", "force"], default="auto",
        help="auto finds out whether the T1w is stripped already",
    )  # fmt: skip
    group.add_argument(
        "--skull-strip-engine", choices=["template", "hd-bet", "synthstrip"], default="template",
        help="who finds the brain of a whole head: this program (default), or HD-BET 2 or "
        "SynthStrip where their commands are on PATH; all masks pass the same checks",
    )  # fmt: skip
    group.add_argument(
        "--n-samples", type=int, default=1, metavar="K",
        help="draws of the network averaged into each image (default 1); from 8 on tables and a "
        "map say how far they differ",
    )  # fmt: skip
    group.add_argument(
        "--sampling-steps", type=int, metavar="N",
        help="calls of the network for each draw; default: what the checkpoint says",
    )  # fmt: skip
    group.add_argument("--random-seed", type=int, default=0, metavar="N", help="default 0")
    group.add_argument(
        "--device", default="auto", metavar="{auto,cpu,cuda,cuda:N}",
        help="where the network runs; decided once at the start, and an error where it is not "
        "there",
    )  # fmt: skip


def _measured(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--real-pet", choices=["auto", "ignore", "require"], default="auto",
        help="measured PET of a session: quantified where it can be (default), ignored, or the "
        "session fails without",
    )  # fmt: skip
    for what in ("tracer", "rec", "run"):
        group.add_argument(
            f"--{what}-label", f"--{what}_label", dest=f"{what}_labels", nargs="+",
            action="extend", default=[], metavar="LABEL", help=f"only PET of these {what}s",
        )  # fmt: skip
    group.add_argument(
        "--pet-window", nargs="+", default=[], metavar="TRACER=FIRST-LAST",
        help="minutes after injection to average, for example pib=40-60; default: the tracer's",
    )  # fmt: skip
    group.add_argument(
        "--pet-scan-start-min", nargs="+", default=[], metavar="TRACER=MINUTES",
        help="when the scan started after injection, where the sidecar does not know",
    )  # fmt: skip
    group.add_argument(
        "--pet-fwhm", type=float, choices=[6, 8], metavar="{6,8}",
        help="smooth to this common resolution in mm, from the known one of each scan "
        "(FullWidthHalfMaximum in its sidecar, or --pet-psf-tsv); default: as it is",
    )  # fmt: skip
    group.add_argument(
        "--pet-psf-tsv", "--pvc-psf-tsv", type=Path, metavar="FILE",
        help="resolution of the scans: participant_id, psf_x, psf_y, psf_z in mm, and where "
        "needed session_id, trc_label",
    )  # fmt: skip
    group.add_argument(
        "--pvc-fwhm", "--pvc-psf", type=float, metavar="MM",
        help="point spread assumed by --pvc; default: the known resolution of each scan. For a "
        "synthetic image it is always that of the network's training",
    )  # fmt: skip
    group.add_argument(
        "--pet2anat-method", choices=["auto", "identity"], default="auto",
        help="rigid registration to the T1w (default), or the headers as they are",
    )  # fmt: skip


def _labels(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--fs-subjects-dir", type=Path, metavar="DIR",
        help="FreeSurfer or FastSurfer output; its labels of a T1w go before the packaged ones",
    )  # fmt: skip
    group.add_argument(
        "-d", "--derivatives", nargs="+", action="extend", default=[], metavar="NAME=PATH",
        help="derivatives of sMRIPrep, fMRIPrep or PETPrep: desc-aparcaseg labels, desc-preproc "
        "T1w, desc-brain mask and transforms to the checkpoint's space go before own steps; "
        "label-lesion masks are heeded",
    )  # fmt: skip
    group.add_argument(
        "--reuse", choices=["all", "labels"], default="all",
        help="what of --derivatives is taken: all that is there (default), or labels alone",
    )  # fmt: skip
    group.add_argument(
        "--atlases", nargs="+", action="extend", default=[], metavar="NAME[:DESC]",
        help="more tables, of atlases of TemplateFlow such as Schaefer2018:100Parcels7Networks; "
        "fetched where TEMPLATEFLOW_HOME does not hold them",
    )  # fmt: skip
    group.add_argument(
        "--atlas-dataset", nargs="+", action="extend", default=[], metavar="NAME=PATH",
        help="more tables, of a *_dseg.nii.gz or a BIDS atlas dataset; labels in a .tsv beside "
        "it with index and name, MNI152NLin2009cAsym or MNI152NLin6Asym in its name",
    )  # fmt: skip
    group.add_argument(
        "--atlas-cut", choices=["gm", "none"], default="gm",
        help="what of these atlases counts: where the T1w has grey matter (default), or all",
    )  # fmt: skip


def _suit(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--suit-atlas", type=Path, metavar="PATH",
        help="SUIT's cerebellar lobules (34 labels, space- in the name): inferior cerebellar grey "
        "matter is drawn by them, as UCSF does, not by a plane; --atlas-dataset suit=PATH does "
        "that, too",
    )  # fmt: skip


def _resources(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--nprocs", "--nthreads", "--n_cpus", "--n-cpus", "--ncpus", type=int, metavar="N",
        help="CPUs in all; default: what this job was given (affinity, cgroup, Slurm, PBS, LSF)",
    )  # fmt: skip
    group.add_argument(
        "--omp-nthreads", type=int, metavar="N",
        help="CPUs of the network's step, which makes so many tracers at once; default 1; the "
        "result is the same with any number",
    )  # fmt: skip
    group.add_argument(
        "--mem", "--mem-mb", "--mem_mb", metavar="MB", help="plain number: MB; 8G is allowed"
    )


def _running(group: _ArgumentGroup) -> None:
    group.add_argument(
        "-w", "--work-dir", type=Path, default=Path("work"), metavar="DIR", help="default ./work"
    )
    group.add_argument(
        "--clean-workdir", action="store_true", help="remove this run's folders when all went well"
    )
    group.add_argument("--stop-on-first-crash", action="store_true")
    group.add_argument(
        "--list-missing", nargs="?", const="participant", choices=["participant", "session"],
        metavar="participant|session",
        help="compute nothing: print whom this call would still have to do, one a line, for an "
        "array of jobs (singularity/slurm); why is told on stderr",
    )  # fmt: skip
    group.add_argument(
        "--nipype-plugin-file", "--use-plugin", type=Path, metavar="FILE",
        help="JSON or YAML with Nipype's plugin and plugin_args, such as SLURM; default: one "
        "process at a time, or MultiProc",
    )  # fmt: skip
    group.add_argument("--sloppy", action="store_true", help="coarse registration; for tests only")
    group.add_argument(
        "--write-graph",
        action="store_true",
        help="draw the graph into the work folder (needs graphviz) and go on",
    )
    group.add_argument("--notrack", action="store_true", help="accepted; nothing is ever tracked")
    group.add_argument(
        "--fs-license-file", type=Path, metavar="FILE", help="accepted; FreeSurfer is not used"
    )
    group.add_argument("-v", "--verbose", action="count", default=0)


def parse(argv: list[str] | None) -> Namespace:
    """Parse, and refuse a level that does not exist with code 17."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.analysis_level not in LEVELS:
        parser.exit(
            UNSUPPORTED_LEVEL,
            f"relad-bids: the analysis level {args.analysis_level!r} is not supported; "
            f"use {' or '.join(LEVELS)}.\n",
        )
    return args
