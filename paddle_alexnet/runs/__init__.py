"""What a run leaves on disk: its folder, its models, and the checks when they are read again."""
