"""Compile kernels for this machine, which make training on a CPU faster.

`model.kernels=auto`, the default, uses them once they are built. The user's cache keeps one build for each version of
Paddle and each processor. Requires a C++ compiler and the headers of oneDNN: pip install "paddle-alexnet[fast]".
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: the machine determines the build."""


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.network.kernels.library import build, whole

    there = whole()
    path = build()
    print(f"{'already exists' if there else 'built'}: {path}")
