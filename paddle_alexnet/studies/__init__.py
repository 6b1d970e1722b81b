"""Studies of a network or a recipe: ablations, fidelity to the AlexNet of 2012."""
