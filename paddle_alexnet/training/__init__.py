"""What a training run is made of: optimizers, learning-rate schedules, callbacks."""
