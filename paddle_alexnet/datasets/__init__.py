"""Data sets before training: preparing and inspecting them."""
