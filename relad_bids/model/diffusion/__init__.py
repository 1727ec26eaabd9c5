"""Noise schedules, samplers and draws."""
