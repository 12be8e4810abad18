"""Face crops, landmarks, audio and cached features on disk, keyed by what made them."""
