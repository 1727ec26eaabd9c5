"""Synthetic PET from MRI, and regional SUVr tables, as a BIDS App."""

__version__ = "0.1.0"
