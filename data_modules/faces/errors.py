"""What can be missing: a detector's package or weights."""


class DetectorNotFoundError(RuntimeError):
    """A detector's package or weights are missing; the message says how to get them."""


class WeightsError(DetectorNotFoundError):
    """Weights are missing, damaged, of another kind, or refused; the message names the file and says what to do."""
