"""Preparation of data sets from class folders, tables and archives."""
