"""Train: the classifier that every system is, callbacks, loggers, checkpoints."""
