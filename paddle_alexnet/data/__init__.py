"""Data sets: prepare and draw them before training, read them during it."""
