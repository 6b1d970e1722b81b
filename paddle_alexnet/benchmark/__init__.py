"""How fast a network computes and how fast images are loaded, on this machine."""
