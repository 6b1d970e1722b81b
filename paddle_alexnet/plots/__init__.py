"""Plots: curves, charts, confusion matrices and filters."""
