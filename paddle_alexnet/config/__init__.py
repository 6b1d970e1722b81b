"""Recipes and their typed configuration."""
