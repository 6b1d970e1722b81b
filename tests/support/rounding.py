"""Tolerances, from the number format, the number of operations and the scale of the result.

A float32 operation rounds by up to 2^-24 of its result. A sum of n products is rounded n times, by errors of either
sign: it is off by about sqrt(n) roundings, relative to the root mean square of what sums of such terms come to. Layers
that follow each other add their errors in the same way. Other processors and libraries sum in another order, and so
differ by as much. A comparison with another tolerance than these states its own reason.
"""

FLOAT32 = 2.0**-24

# A few operations on single numbers: up to 16, each off by as much in the same direction.
FEW = 16 * FLOAT32  # 1e-6

# A pixel through a few operations on numbers up to 255, then divided by 255 and by a deviation of 0.2 or more.
PIXELS = FEW / 0.2  # 5e-6

# Logits, as a share of the largest, or of 1 if all are smaller. The outputs of the eight layers of `caffenet` sum 363,
# 1,200, 2,304, 1,728, 1,728, 9,216, 4,096 and 4,096 products: sqrt(24,731) = 157 roundings. The export itself has the
# same tolerance.
LOGITS = 1e-5

# Probabilities of logits up to 1, as those of untrained networks are: with each logit off by e, a probability p is off
# by up to 2 p (1 - p) e, and so by half of e.
PROBABILITIES = LOGITS / 2

# A mean cross-entropy, relative to a loss of 1 or more, from logits that are as large: an image's is off by up to 2 e.
LOSS = 2 * LOGITS

# What is written with six significant digits: half a unit of the last of 1.00000, and a rounding.
SIX_DIGITS = 5e-6 + FEW

# Logits in other precisions, as a share of their norm. A number that is rounded to steps of s is off by s / sqrt(12).
# - int8: weights and activations have 127 steps up to the largest, which is about four times the root mean square:
#   4 / 127 / sqrt(12) = 0.9 % of it, and without VNNI, where weights have 63 steps, 1.8 %. Weights and activations of
#   eight layers: sqrt(16) * 1.8 % = 7 %, and 15 % if the largest is eight times the root mean square. A sum that is cut
#   at 16 bits is off by more than 30 %.
# - bfloat16: steps of 2^-8 to 2^-7 of the number, 0.11 to 0.23 %. Weights, inputs and outputs of eight layers:
#   sqrt(24) * 0.23 % = 1.1 %.
NOISE = {"int8": 0.25, "bfloat16": 0.02}
