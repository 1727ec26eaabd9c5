"""All of the door in a row, on the sidecars of the simulated dataset."""

import json
from types import SimpleNamespace

import pytest

from relad_bids.pet.activity import read_decay, read_units, suv_scale
from relad_bids.pet.fields import Fields
from relad_bids.pet.selection import PETScan, require_single, select_scans
from relad_bids.pet.timing import place_window, read_timing
from relad_bids.pet.tracer import tracer_of
from relad_bids.phantom.protocol import PROTOCOLS
from relad_bids.phantom.sidecars import pet_sidecar


def sidecar(protocol):
    """As the file holds it; of the scan only what its sidecar tells."""
    scanner = SimpleNamespace(fwhm_mm=6.0, counts=20.0)
    pet = SimpleNamespace(protocol=protocol, injected_mbq=protocol.injected_mbq, scanner=scanner)
    return json.loads(json.dumps(pet_sidecar(pet)))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_simulated_scan_goes_through_the_door(name):
    """Its frames fill its tracer's window; body SUV 1 is dose over weight."""
    protocol = PROTOCOLS[name]
    fields = Fields(sidecar(protocol), "pet.json")
    tracer = tracer_of(fields, trc=protocol.label)
    assert tracer.name == name
    timing = read_timing(fields, n_frames=protocol.n_frames)
    window = place_window(timing, tracer)
    assert (window.status, window.coverage, window.flags) == ("ok", 1.0, ())
    assert (window.start_min, window.end_min) == tracer.window_min
    decay, units = read_decay(fields, timing, tracer), read_units(fields)
    assert decay.factors.tolist() == [1.0] * protocol.n_frames
    scale = suv_scale(fields, units, decay, timing=timing, window=window, weight_kg=75.0)
    body = protocol.injected_mbq * 1e6 / 75e3
    assert scale.factor * units.scale * body == pytest.approx(1.0, rel=1e-12)


def test_a_session_of_three_tracers_and_a_reconstruction_to_leave_out():
    entities = {"subject": "01", "session": "a"}
    scans = [
        PETScan(f"{name}.nii.gz", {**entities, "tracer": protocol.label}, name)
        for name, protocol in PROTOCOLS.items()
    ]
    plain = PETScan("n.nii.gz", {**entities, "reconstruction": "nacstat"}, "pib")
    kept = select_scans([*scans, plain])
    assert kept == tuple(scans)
    require_single(kept)
