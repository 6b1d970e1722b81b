"""Compile kernels for this machine: the layers of a network, and so its training, faster on a CPU.

`model.kernels=auto`, the default, takes them where they are built. They are kept in the user's cache, for each Paddle
and each processor. It takes a C++ compiler and the headers of oneDNN: pip install "paddle-alexnet[fast]".
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: what is built follows from the machine."""


def run(arguments: argparse.Namespace) -> None:
    from paddle_alexnet.network.kernels.library import build, whole

    there = whole()
    path = build()
    print(f"{'there already' if there else 'built'}: {path}")
