"""The JSON beside each simulated file."""

from __future__ import annotations

from typing import Any

from relad_bids.phantom.protocol import FRAME_S
from relad_bids.phantom.scans import PetScan, Scan, slice_thickness_mm

SIMULATED = (
    "Simulated data: a digital head phantom with made-up subjects. No person was scanned; "
    "for testing software only, without scientific or clinical meaning."
)
_SCANNER: dict[str, Any] = {
    "Manufacturer": "none (simulated)",
    "ManufacturersModelName": "relad phantom",
    "InstitutionName": "none (simulated)",
    "DeviceSerialNumber": "0",
    "SoftwareVersions": "1",
}
_MR: dict[str, Any] = {
    **_SCANNER,
    "Modality": "MR",
    "MagneticFieldStrength": 3,
    "NonlinearGradientCorrection": True,
    "MRAcquisitionType": "3D",
    "ReceiveCoilName": "simulated",
    "BodyPart": "HEAD",
}


def t1w_sidecar() -> dict[str, Any]:
    return {
        **_MR,
        "SeriesDescription": SIMULATED,
        "ScanningSequence": "GR\\IR",
        "PulseSequenceType": "MPRAGE",
        "RepetitionTime": 2.3,
        "EchoTime": 0.003,
        "InversionTime": 0.9,
        "FlipAngle": 9,
    }


def flair_sidecar(scan: Scan) -> dict[str, Any]:
    return {
        **_MR,
        "SeriesDescription": SIMULATED,
        "ScanningSequence": "SE\\IR",
        "PulseSequenceType": "FLAIR",
        "RepetitionTime": 9.0,
        "EchoTime": 0.09,
        "InversionTime": 2.5,
        "FlipAngle": 150,
        "SliceThickness": slice_thickness_mm(scan),
    }


def pet_sidecar(pet: PetScan) -> dict[str, Any]:
    """Return every key PET-BIDS requires; times in seconds from injection (TimeZero)."""
    protocol = pet.protocol
    starts = protocol.frame_starts_s().tolist()
    mass_ug = protocol.injected_mass_ug
    return {
        **_SCANNER,
        "Modality": "PT",
        "SeriesDescription": SIMULATED,
        "BodyPart": "HEAD",
        "Units": "Bq/mL",
        "TracerName": protocol.name,
        "TracerRadionuclide": protocol.radionuclide,
        "RadionuclideHalfLife": protocol.half_life_s,
        "InjectedRadioactivity": round(pet.injected_mbq, 3),
        "InjectedRadioactivityUnits": "MBq",
        "InjectedMass": mass_ug,
        "InjectedMassUnits": "ug",
        "SpecificRadioactivity": round(pet.injected_mbq / mass_ug, 6),
        "SpecificRadioactivityUnits": "MBq/ug",
        "ModeOfAdministration": "bolus",
        **_pet_times(starts),
        **_reconstruction(pet),
    }


def _pet_times(starts: list[float]) -> dict[str, Any]:
    return {
        "TimeZero": "10:00:00",
        "ScanStart": starts[0],
        "InjectionStart": 0,
        "FrameTimesStart": starts,
        "FrameDuration": [FRAME_S] * len(starts),
        "ImageDecayCorrected": True,
        "ImageDecayCorrectionTime": 0,
    }


def _reconstruction(pet: PetScan) -> dict[str, Any]:
    return {
        "AcquisitionMode": "list mode",
        "ReconMethodName": "simulated (Gaussian point spread, Poisson counts)",
        "ReconMethodParameterLabels": ["FWHM", "counts"],
        "ReconMethodParameterUnits": ["mm", "none"],
        "ReconMethodParameterValues": [
            round(pet.scanner.fwhm_mm, 4),
            round(pet.scanner.counts, 4),
        ],
        "ReconFilterType": "none",
        "ReconFilterSize": 0,
        "AttenuationCorrection": "none needed (simulated without attenuation)",
    }


def dataset_description(*, preset: str, seed: int) -> dict[str, Any]:
    return {
        "Name": f"relad-bids digital phantom, preset {preset}, seed {seed}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["relad-bids phantom (simulated)"],
        "GeneratedBy": [{"Name": "relad-bids", "Description": SIMULATED}],
    }


def truth_description(*, preset: str, seed: int) -> dict[str, Any]:
    return {
        **dataset_description(preset=preset, seed=seed),
        "Name": f"Truth of the relad-bids digital phantom, preset {preset}, seed {seed}",
        "DatasetType": "derivative",
        "SourceDatasets": [{"URL": "../../"}],
    }


README = f"""# Digital head phantom

{SIMULATED}

T1w, FLAIR and PET (18F-AV1451, 11C-PIB, 11C-PBR28) of simulated heads. The truth (labels,
masks, tissue shares, transforms, regional SUVR) is in `derivatives/truth`.

Anatomy: MNI152NLin2009cAsym template, deformed. Uptake: published group means, see the
documentation of relad-bids.
"""

PARTICIPANTS: dict[str, Any] = {
    "participant_id": {"Description": "Label of the simulated subject"},
    "age": {"Description": "Simulated age", "Units": "year"},
    "sex": {"Description": "Simulated sex", "Levels": {"M": "male", "F": "female"}},
    "weight": {"Description": "Simulated body weight", "Units": "kg"},
    "apoe4": {
        "Description": "Carries an APOE e4 allele",
        "Levels": {"yes": "carrier", "no": "no carrier"},
    },
    "rs6971": {
        "Description": "TSPO binding class; lowers PBR28 SUV, cancels in the SUVR",
        "Levels": {"HAB": "high affinity", "MAB": "mixed affinity"},
    },
    "mmse": {"Description": "Simulated Mini-Mental score, falls with tau", "Units": "points"},
}

LATENTS: dict[str, Any] = {
    "participant_id": {"Description": "Label of the simulated subject"},
    "amyloid": {"Description": "Amyloid load; mean of the positives is 1"},
    "amyloid_positive": {"Description": "Drawn from the positive group"},
    "tau_stage": {"Description": "Place on the latent tau axis"},
    "tau_positive": {"Description": "Drawn from the positive group"},
    "tau_meta": {"Description": "Tau load of Braak III-IV; mean of the positives is 1"},
    "atrophy": {"Description": "Mean share of cortical grey matter lost"},
    "ventricle_mm": {"Description": "Shift of the ventricle wall", "Units": "mm"},
    "wmh_ml": {
        "Description": "White matter hyperintensity volume in template space",
        "Units": "mL",
    },
    "icv_scale": {"Description": "Intracranial volume relative to the mean head"},
    "fwhm_mm": {"Description": "Point spread of the PET scanner", "Units": "mm"},
    "counts": {"Description": "Expected F-18 counts at SUVR 1 in 8 mm3 over the window"},
}

TRUTH_TABLE: dict[str, Any] = {
    "tracer": {"Description": "Canonical tracer name"},
    "family": {"Description": "Family of the region; 'label' for single labels"},
    "voi": {"Description": "Region"},
    "labels": {"Description": "FreeSurfer label numbers of the region"},
    "ref_region": {"Description": "Reference region"},
    "suvr_true": {
        "Description": "Mean label uptake weighted by true volume over that of the reference "
        "region; no point spread, no noise",
        "Units": "ratio",
    },
    "suvr_psf": {
        "Description": "Same ratio of the noise-free image after the point spread, over the "
        "voxels in which the region prevails on the T1w grid",
        "Units": "ratio",
    },
    "volume_mm3": {"Description": "True volume from voxel shares", "Units": "mm^3"},
}
