"""All participants together: tables and statistics from the derivatives alone, without torch."""
