"""Figures: curves, charts, confusion matrices, filters."""
