"""The preparation's own steps, each in a child process whose CPU seconds and memory are read."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # before ants is imported

import numpy as np
from nipype import logging
from nipype.interfaces.base import SimpleInterface
from nipype.pipeline.engine import Node

from relad_bids.data.template import ATLAS_SPACE, SPACE
from relad_bids.interfaces.atlas import AlignAtlas, WarpParcellation
from relad_bids.interfaces.base import load_labels
from relad_bids.interfaces.mri import (
    CheckImage,
    CorrectBias,
    ExtractBrain,
    RegisterFlair,
    RegisterTemplate,
    SegmentTissue,
)

logging.getLogger("nipype.workflow").setLevel("ERROR")


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    peak_mb: float
    """Largest resident memory of the step, imports included."""


@dataclass
class Prepared:
    """Files of one prepared T1w, and what each step took."""

    files: dict[str, str]
    costs: dict[str, Cost] = field(default_factory=dict)

    @property
    def cpu_s(self) -> float:
        return sum(cost.cpu_s for cost in self.costs.values())


def in_child(work: Callable[[], object]) -> Cost:
    """Do ``work`` in a forked process and return what it took; its result is its files."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (a child must not go on with its parent's work)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status, used = os.wait4(pid, 0)
    if status:
        sys.exit(f"a step ended with status {status}; its message stands above.")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


class Kitchen:
    """Runs interfaces below one folder; a step that was done there before is not done again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, name: str, interface: SimpleInterface) -> tuple[dict[str, str], Cost]:
        """Run one interface; return the files it made, by field, and its cost."""
        node = Node(interface, name=name, base_dir=self.folder)
        cost = in_child(node.run)
        outputs = node.run().outputs.get()  # read back from the child's cache
        return outputs, cost

    def alignment(self) -> str:
        """The way of the packaged labels to the space of the template, made once."""
        step = AlignAtlas(space=SPACE, atlas_space=ATLAS_SPACE, cache_dir=str(self.folder))
        return self.run("align_atlas", step)[0]["xfm"]

    def t1w(self, name: str, t1w: Path, *, sloppy: bool = False) -> Prepared:
        """Prepare a T1w up to its labels."""
        made = Prepared({"source": str(t1w)})
        room = Kitchen(self.folder / name)

        def step(key: str, interface: SimpleInterface, **fields: str) -> None:
            outputs, made.costs[key] = room.run(key, interface)
            made.files |= {ours: outputs[theirs] for ours, theirs in fields.items()}

        step("check", CheckImage(in_file=str(t1w)), checked="out_file")
        step("correct_bias", CorrectBias(in_file=made.files["checked"]), t1w="out_file")
        step(
            "extract_brain",
            ExtractBrain(in_file=made.files["t1w"]),
            mask="mask",
            affine="t1w_to_mni_affine",
        )
        brain = {key: made.files[key] for key in ("t1w", "mask")}
        step("segment_tissue", SegmentTissue(**brain), csf="csf", gm="gm", wm="wm")
        step(
            "register_template",
            RegisterTemplate(**brain, initial=made.files["affine"], space=SPACE, sloppy=sloppy),
            forward="forward",
            inverse="inverse",
        )
        tissue = {key: made.files[key] for key in ("csf", "gm", "wm")}
        step(
            "warp_parcellation",
            WarpParcellation(
                **brain, **tissue, mni_to_t1w=made.files["inverse"], atlas_to_mni=self.alignment()
            ),
            dseg="dseg",
        )
        return made

    def flair(self, name: str, flair: Path, t1w: Prepared) -> Prepared:
        """Bring a FLAIR to its prepared T1w."""
        made = Prepared({"source": str(flair)})
        room = Kitchen(self.folder / name)
        checked, made.costs["check"] = room.run("check_flair", CheckImage(in_file=str(flair)))
        outputs, made.costs["correct_bias"] = room.run(
            "correct_flair", CorrectBias(in_file=checked["out_file"])
        )
        made.files["flair"] = outputs["out_file"]
        step = RegisterFlair(
            flair=made.files["flair"], t1w=t1w.files["t1w"], mask=t1w.files["mask"]
        )
        outputs, made.costs["register_flair"] = room.run("register_flair", step)
        made.files["xfm"], made.files["start"] = outputs["xfm"], outputs["facts"]["init"]
        return made


def voi_volumes(dseg: str, vois: Mapping[str, list[int]]) -> dict[str, float]:
    """Volume of each VOI (label numbers) in mL."""
    labels, grid = load_labels(dseg)
    counts = np.bincount(labels.ravel(), minlength=4000)
    return {
        name: float(counts[members].sum()) * grid.voxel_volume_mm3 / 1000
        for name, members in vois.items()
    }


def dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum() + other.sum())
    return 2 * float((one & other).sum()) / total if total else float("nan")
