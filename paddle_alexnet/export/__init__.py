"""Writing a network for use without this package: written, verified, put in place."""
