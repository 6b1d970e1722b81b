"""Looking inside a trained network: what its layers answer, where it looks, which pictures are alike to it."""
