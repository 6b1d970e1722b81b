"""The machine and Paddle: environment set before Paddle is imported, devices, limits, files, progress, errors."""
