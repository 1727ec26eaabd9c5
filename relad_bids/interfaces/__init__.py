"""Thin Nipype steps: load, call, save."""
