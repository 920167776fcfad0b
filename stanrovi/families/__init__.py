"""Families of distributions on unconstrained space."""
