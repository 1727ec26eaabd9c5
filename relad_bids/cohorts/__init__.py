"""Whom a network learns from and who is asked: phantoms, real pairs, and who is on which side."""
