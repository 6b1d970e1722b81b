"""Questions about a network or a recipe: its structure, and how far it is from the AlexNet of 2012."""
