"""Experiments as files: resolve, configure, resume."""
