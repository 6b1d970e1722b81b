"""Benchmarks of networks, predictions and the data loader on this machine."""
