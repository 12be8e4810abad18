"""Samples that a process keeps in memory because they are the same in every epoch."""

from collections.abc import Callable, Hashable

from data_modules.loading.batch import ClipSample

KEPT_BYTES = 256 * 2**20
"""How many bytes of samples each process keeps for a split."""


class KeptSamples:
    """Samples on cached features, as many as fit into `KEPT_BYTES`.

    None is given up for another: an epoch asks for all of them, so that the one that was asked for first is needed
    next. A sample that does not fit is loaded again.
    """

    def __init__(self) -> None:
        self._free = KEPT_BYTES
        self._samples: dict[Hashable, ClipSample] = {}

    def get(self, key: Hashable, load: Callable[[], ClipSample]) -> ClipSample:
        """Return the sample of a key; `load` is called if it is not kept."""
        kept = self._samples.get(key)
        if kept is not None:
            return kept
        sample = load()
        size = sum(tensor.nbytes for tensor in sample.tensors())
        if size <= self._free:
            self._samples[key] = sample
            self._free -= size
        return sample
