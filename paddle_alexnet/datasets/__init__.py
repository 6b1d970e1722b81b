"""Preparation and inspection of data sets before training."""
