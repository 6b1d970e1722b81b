"""Metrics, and evaluation of a model on a split."""
