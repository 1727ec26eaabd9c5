"""Measured PET before it becomes a ratio: frames and timing, motion, coregistration, SUV."""
