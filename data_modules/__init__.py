"""From a video file to a batch."""
