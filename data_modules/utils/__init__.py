"""Files, processes and progress: what every room needs."""
