"""Derivatives of a simulated cohort, as tables alone: people, sessions, measured and synthetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from toys import tiny_card

from relad_bids.core.columns import MEASURED_STATEMENT, SYNTHETIC_STATEMENT, complete
from relad_bids.core.qc import qc_row
from relad_bids.files import write_table
from relad_bids.seen_list import HASH, SEEN, fingerprint_of
from relad_bids.tables import label_names, tracers
from relad_bids.vois import quantified_vois

KINPAR = {
    "synthetic": "atlas-DesikanKilliany_model-SUVR_desc-synth_kinpar",
    "real": "atlas-DesikanKilliany_model-SUVR_desc-measured_kinpar",
}
LEVEL = {"pib": 1.3, "flortaucipir": 1.2, "pbr28": 1.0}
KEPT = (
    "metatemporal", "braak1", "neocortex", "hippocampus", "thalamus", "lobe-frontal",
    "cerebellum-whole",
)  # fmt: skip
CHECKPOINT = "toy-1.0+0123abcd"


@dataclass
class Person:
    """What a simulated participant is."""

    label: str
    age: float
    female: bool
    site: str
    diagnosis: str
    burden: float
    """What raises the uptake of all regions, and lowers the volume of grey matter."""


def people(n, *, seed=1):
    rng = np.random.default_rng(seed)
    found = []
    for index in range(n):
        age = rng.normal(70, 7)
        ill = rng.random() < 0.4
        burden = (1.0 if ill else 0.0) + 0.02 * (age - 70) + rng.normal(0, 0.15)
        found.append(
            Person(
                f"{index + 1:03}", round(age, 1), bool(rng.random() < 0.5),
                "AB"[index % 2], "AD" if ill else "CU", burden,
            )
        )  # fmt: skip
    return found


def vois(*, small):
    every = quantified_vois(tuple(label_names()))
    if not small:
        return every
    wanted = {
        label.name for label in label_names().values() if label.index in (17, 53, 1006, 2006)
    }
    return tuple(
        voi for voi in every
        if (voi.family == "label" and voi.name in wanted)
        or (voi.family != "label" and (voi.name in KEPT or voi.name.startswith("amyloid-")))
    )  # fmt: skip


class Cohort:
    """Writes the tables of one participant after another."""

    def __init__(self, root, *, small=True, seed=1, skill=0.5):
        self.root, self.vois = root, vois(small=small)
        self.rng, self.skill = np.random.default_rng(seed), skill

    def session(
        self, person, tracer, *, session=None, sources=("synthetic", "real"), change=0.0,
        site_shift=0.0, checkpoint=CHECKPOINT, secondary=(), run=None, flags=(), noise=0.02,
    ):  # fmt: skip
        """Write the tables of one session and tracer; return the measured SUVr by row."""
        real = self._suvr(person, tracer, change, site_shift, noise)
        expected = LEVEL[tracer] + 0.3
        synthetic = expected + self.skill * (real - expected)
        synthetic = synthetic + self.rng.normal(0, 0.03, len(real))
        for source in sources:
            values = real if source == "real" else synthetic
            self._write(
                person, tracer, session, source, values, checkpoint, secondary, run, list(flags)
            )
        return real

    def qc(self, person, session=None):
        ids = _ids(person, session)
        row = qc_row({**ids, "status": "ok", "flags": "ok", "brain_volume_ml": 1400.0})
        head = _head(person, session)
        write_table(self._folder(head) / f"{head}_desc-relad_qc.tsv", row)

    def participants(self, who, **more):
        table = pd.DataFrame(
            [
                {"participant_id": f"sub-{p.label}", "age": p.age, "sex": "FM"[not p.female],
                 "site": p.site, "diagnosis": p.diagnosis}
                for p in who
            ]
        )  # fmt: skip
        write_table(self.root / "participants.tsv", table.assign(**more))

    def _suvr(self, person, tracer, change, site_shift, noise):
        gain = 0.05 if tracer == "pbr28" else 0.6
        own = np.array([1 + 0.3 * np.sin(index) for index in range(len(self.vois))])
        level = LEVEL[tracer] + gain * person.burden * own + change + site_shift
        return level + self.rng.normal(0, noise, len(level))

    def _write(
        self, person, tracer, session, source, values, checkpoint, secondary, run, flags
    ):  # fmt: skip
        known = tracers()[tracer]
        ids = _ids(person, session)
        context = {
            **ids, "run": run, "tracer": tracer, "trc_label": known.trc, "source": source,
            "atlas": "DesikanKilliany", "voi_source": "atlas-warped", "voi_space": "T1w",
            "unit": "SUVR", "pvc": "none", "ref_region": known.reference,
            "statement": SYNTHETIC_STATEMENT if source == "synthetic" else MEASURED_STATEMENT,
        }  # fmt: skip
        if source == "synthetic":
            context["checkpoint_id"] = checkpoint
        blocks = [self._table(person, values, context, flags)]
        for pvc, region, factor in secondary:
            second = [] if region == known.reference else ["second_reference"]
            changed = {**context, "pvc": pvc, "ref_region": region}
            blocks.append(self._table(person, values * factor, changed, [*flags, *second]))
        head = _head(person, session)
        name = f"{head}_trc-{known.trc}_{f'run-{run}_' if run else ''}{KINPAR[source]}.tsv"
        write_table(self._folder(head) / "pet" / name, pd.concat(blocks, ignore_index=True))

    def _table(self, person, values, context, flags):
        volume = np.array([4000 + 50 * (index % 7) for index in range(len(values))], dtype=float)
        own = np.random.default_rng(int(person.label)).normal(0, 0.08)
        shrunk = volume * (1 - 0.04 * person.burden + own) + 20 * np.sin(
            np.arange(len(values)) * hash_of(person.label)
        )
        rows = pd.DataFrame(
            {
                "family": [voi.family for voi in self.vois],
                "voi": [voi.name for voi in self.vois],
                "hemi": [voi.hemi for voi in self.vois],
                "n_voxels": np.round(shrunk).astype(int), "volume_mm3": np.round(shrunk),
                "fov_fraction": 1.0, "mean": values, "suvr_mean": values,
            }
        ).assign(flags=[[] for _ in values])  # fmt: skip
        return complete(rows, context, flags=flags)

    def _folder(self, head):
        return self.root.joinpath(*head.split("_"))


def hash_of(label):
    return 1 + int(label) * 0.618


def _ids(person, session):
    return {
        "participant_id": f"sub-{person.label}",
        "session_id": f"ses-{session}" if session else None,
    }


def _head(person, session):
    return f"sub-{person.label}" + (f"_ses-{session}" if session else "")


def write_checkpoint(folder, people, *, sha="a" * 64, source="derivatives", listed=True):
    """A folder with card and list; return the card's label."""
    training = {"data": {"source": source}, "seed": 1}
    if people is not None:
        training[HASH] = fingerprint_of(people)
    card = replace(tiny_card(), sha256=sha, training=training)
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(card.to_json())
    if people is not None and listed:
        lines = ["participant_id\tside", *(f"{who}\ttrain" for who in people)]
        (folder / SEEN).write_text("\n".join(lines) + "\n")
    return card.label
