"""Evaluate: predictions of clips, prediction tables, metrics and intervals."""
