"""Networks from MONAI behind one call each, and the regional regression."""
