"""What a training run is made of: optimisers, learning-rate schedules, callbacks."""
