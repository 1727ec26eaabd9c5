"""A digital phantom: heads with known anatomy, known uptake and simulated scanners."""
