"""Compiled kernels: C++ operators that replace Paddle's for training on a CPU."""
