"""Training: optimizers, learning-rate schedules, callbacks, resuming, several processes."""
