"""Experiments: their files, their configuration, and running or resuming them."""
