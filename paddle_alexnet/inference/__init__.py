"""Inference engines behind one interface, and the predictor."""
