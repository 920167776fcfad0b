"""Fits against a reference: distances, mode table, verdicts."""
