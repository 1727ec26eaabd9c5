"""Losses, closed-form fits, splits, recipes and the loop."""
