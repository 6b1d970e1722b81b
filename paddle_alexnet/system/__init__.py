"""The machine and Paddle: process settings, devices, core and memory limits, files, progress, errors."""
