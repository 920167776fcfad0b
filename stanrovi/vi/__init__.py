"""Variational inference: the fits, on NumPy and SciPy alone."""
