"""Modes of a log density: where the mass is."""
