"""HTTP service with predictions, explanations and a web page."""
