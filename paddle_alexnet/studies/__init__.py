"""Ablation studies, and fidelity to the AlexNet of 2012."""
