"""The networks: presets as a table, one Layer that builds them, local response normalisation, initial weights."""
