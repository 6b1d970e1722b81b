"""Inspection of a data set's content and faults before training."""
