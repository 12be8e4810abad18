"""Tests of `fer_lightning.export`."""
