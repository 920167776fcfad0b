"""Draws on disk and in ArviZ's containers, files and folders."""
