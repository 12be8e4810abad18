"""Errors about missing packages and weights of detectors."""


class DetectorNotFoundError(RuntimeError):
    """A detector's package or weights are missing; the message says how to get them."""


class WeightsError(DetectorNotFoundError):
    """Weights are missing, damaged, for another model, or rejected; the message names the file and says what to do."""
