"""Compiled kernels: operators in C++ that take the place of Paddle's where a network is trained on a CPU."""
