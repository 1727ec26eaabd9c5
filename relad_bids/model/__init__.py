"""torch and MONAI: networks, training, checkpoints, prediction. No file names of BIDS."""
