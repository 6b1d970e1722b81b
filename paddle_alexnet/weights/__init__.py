"""Readers and writers of other frameworks' weights."""
