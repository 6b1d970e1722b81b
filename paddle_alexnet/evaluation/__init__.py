"""Metrics and the evaluation of a trained network on a split."""
