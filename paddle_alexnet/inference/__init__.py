"""Engines that compute logits with a finished model, side by side behind one interface."""
