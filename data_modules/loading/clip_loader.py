"""Load batches in worker processes, with a time limit and a check that shared memory suffices."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

from data_modules.loading.batch import ClipBatch, ClipSample
from data_modules.loading.batch_sampler import Draw
from data_modules.loading.clip_dataset import ClipDataset
from data_modules.utils.signals import leave_signals_to_parent

PREFETCH_FACTOR = 2
"""Batches that each worker loads in advance; torch's default."""
SHARED_MEMORY = Path("/dev/shm")
WORKER_ERRORS = ("DataLoader timed out", "DataLoader worker (pid", "shared memory", "No space left on device")
"""Parts of torch's error messages for workers that ended, hang, or found no space for a batch."""


class WorkerError(ValueError):
    """The worker processes ended, do not respond, or lack shared memory; the message says what to do."""


class ClipLoader(DataLoader[ClipSample]):
    """A `DataLoader` of a `ClipDataset` whose workers are ended after `timeout` seconds without a batch.

    Torch's own errors name neither the data nor a solution, and a hanging worker would keep the program from ending.
    """

    waited: float = 0.0
    """Seconds for which batches were waited for, those of all iterations together."""

    def __iter__(self) -> "Iterator[ClipBatch]":  # type: ignore[override]
        """Iterate over the batches; workers start immediately, not when the first batch is requested.

        Raises:
            WorkerError: a worker fails while batches are loaded.
            OSError: the system lets this process load no further batch, as it has too many open files.
        """
        return self._explain_errors(super().__iter__())

    def _explain_errors(self, batches: _BaseDataLoaderIter) -> Iterator[ClipBatch]:
        try:
            while True:
                start = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - start
                if batch is None:
                    return
                yield batch
        except RuntimeError as error:
            hidden = error.__context__ if isinstance(error.__context__, OSError) else None
            if not self.num_workers or not (hidden or any(part in str(error) for part in WORKER_ERRORS)):
                raise
            _end_workers(batches)
            if hidden:  # the system's error, such as that of too many open files
                raise hidden from None
            raise WorkerError(self._message(str(error))) from error

    def _message(self, error: str) -> str:
        assert isinstance(self.dataset, ClipDataset)
        split, free = self.dataset.clips[0].record.split, free_shared_memory()
        timed_out = error.startswith("DataLoader timed out")
        failure = (
            f"sent no batch for {self.timeout:.0f} s" if timed_out else f"failed: {error.strip().splitlines()[-1]}"
        )
        memory = "" if free is None else f" ({SHARED_MEMORY} has {_mib(free)} free)"
        timeout = "; on a slow disk, raise --data.worker_timeout" if timed_out else ""
        return (
            f"the worker processes ({self.num_workers}) that load the {split} split {failure}. One may be stopped, "
            f"killed, waiting for a disk, or out of memory or shared memory{memory}. Run the same command again; if it "
            f"fails again, use --data.num_workers 0{timeout}"
        )


def _end_workers(batches: _BaseDataLoaderIter) -> None:
    """End all workers, including those that do not respond."""
    assert isinstance(batches, _MultiProcessingDataLoaderIter)
    batches._shutdown_workers()
    for worker in batches._workers:
        if worker.is_alive():
            worker.kill()


def free_shared_memory() -> int | None:
    """Return the free bytes of shared memory; None if the system does not show them, as on macOS."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None


def check_shared_memory(data: ClipDataset, item: Draw | int, batch_size: int, workers: int) -> None:
    """Check that the batches of the workers fit into shared memory; otherwise workers would hang or be killed.

    Args:
        data: the clips.
        item: the first item to be loaded; the others are assumed to be as large.
        batch_size: clips in a batch.
        workers: number of workers of all training processes on this machine.

    Raises:
        WorkerError: there is not enough shared memory.
    """
    free = free_shared_memory()
    needed = PREFETCH_FACTOR * workers * batch_size * sum(value.nbytes for value in data[item].tensors())
    if free is not None and needed > free:
        raise WorkerError(
            f"{workers} worker processes need about {_mib(needed)} of shared memory for their batches, but "
            f"{SHARED_MEMORY} has {_mib(free)} free; use fewer workers (--data.num_workers 0 needs none), load a batch "
            "in parts (--trainer.accumulate_grad_batches 2), or increase shared memory (--shm-size of a container)"
        )


def share_batch(batch: ClipBatch) -> ClipBatch:
    """Return a batch of `ClipDataset.load`; in a worker, all of it in shared memory, where its pictures are already.

    Torch would move the batch there in a thread whose errors are lost: without space it would never arrive.
    """
    if get_worker_info() is not None:
        for value in batch.tensors():
            value.share_memory_()  # type: ignore[no-untyped-call]
    return batch


def init_worker(worker: int) -> None:
    """Set up a worker: a single thread, because workers share the processors, and batches in named files.

    By default, torch fetches the handle of a received batch from the worker without a time limit: a worker that was
    stopped just after sending a batch would block training forever.
    """
    leave_signals_to_parent()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    torch.multiprocessing.set_sharing_strategy("file_system")  # type: ignore[no-untyped-call]


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.1f} MiB"
