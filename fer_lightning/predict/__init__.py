"""Recognition of expressions over time in videos, as `fer predict` does it."""
