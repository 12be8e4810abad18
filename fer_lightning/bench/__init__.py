"""Benchmarks of speed and memory, each against an alternative measured in the same run."""
