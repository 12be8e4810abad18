"""Load batches: samples of clips, augmentation, balanced batches, the data module."""
