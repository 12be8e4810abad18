"""Training: the base class of all systems, callbacks, loggers and checkpoints."""
