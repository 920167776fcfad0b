"""Samplers of a log density: density in, draws out."""
