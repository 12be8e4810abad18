"""Recognition of expressions as they happen, as `fer live` does it: a page on this machine, for this machine alone."""
