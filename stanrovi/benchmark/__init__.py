"""Benchmarks: posteriors by methods by seeds, graded against references."""
