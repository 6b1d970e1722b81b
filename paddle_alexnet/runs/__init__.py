"""Run folders, checkpoints, metadata and training states."""
