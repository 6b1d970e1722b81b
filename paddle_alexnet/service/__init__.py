"""A model over HTTP: answers to images, explanations, and a page to try both."""
