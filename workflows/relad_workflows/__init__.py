"""Builders of the Nipype graph (`init_*_wf`): assembly only, no arithmetic."""
