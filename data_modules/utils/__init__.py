"""Utilities for files, processes and progress that all rooms use."""
