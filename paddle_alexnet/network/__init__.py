"""Networks: presets as a table, one Layer that builds them, local response normalization, initial weights."""
