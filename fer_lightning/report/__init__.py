"""Reports: one HTML page a run, and its figures."""
