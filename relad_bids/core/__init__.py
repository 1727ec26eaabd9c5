"""Arrays in, arrays out: NumPy and pandas only, no files, no torch, no Nipype."""
