"""MRI preparation on antspyx: bias field, brain mask, registration, resampling.

Importing this package pins ITK to one thread and one seed, so that every module in it can
import ``ants`` at its top. Images are ``ants.ANTsImage``: ITK's LPS+ millimetres inside, the
NIfTI files they come from and go to in RAS+.
"""

from relad_bids.mri.determinism import pin_itk

pin_itk()
