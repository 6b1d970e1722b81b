"""Other frameworks' weights, in and out."""
