"""Modalities: one object for each field of `ClipBatch` that a model can request."""
