"""Batches of clips from worker processes: they are waited for only so long, and have room to hand them over."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

from data_modules.loading.batch import ClipBatch, ClipSample, collate
from data_modules.loading.batch_sampler import Draw
from data_modules.loading.clip_dataset import ClipDataset

PREFETCHED = 2
"""Batches that each worker makes ahead of the training; torch's own default."""
SHARED_MEMORY = Path("/dev/shm")
OF_WORKERS = ("DataLoader timed out", "DataLoader worker (pid", "shared memory", "No space left on device")
"""What stands in torch's errors where workers ended, hang, or found no room for a batch."""


class WorkerError(ValueError):
    """The processes that load batches ended, do not answer, or find no shared memory; the message says what to do."""


class ClipLoader(DataLoader[ClipSample]):
    """A `DataLoader` of a `ClipDataset`, whose workers are given up after `timeout` seconds without a batch.

    Torch's own errors name neither the data nor a way out, and a worker that hangs would keep the program from ending.
    """

    def __iter__(self) -> "Iterator[ClipBatch]":  # type: ignore[override]
        """The batches; workers begin at once, not when the first batch is asked for.

        Raises:
            WorkerError: while iterating, where the workers fail.
        """
        return self._told(super().__iter__())

    def _told(self, batches: _BaseDataLoaderIter) -> Iterator[ClipBatch]:
        try:
            yield from batches
        except RuntimeError as error:
            if not self.num_workers or not any(part in str(error) for part in OF_WORKERS):
                raise
            _end_workers(batches)
            raise WorkerError(self._what_to_do(str(error))) from error

    def _what_to_do(self, error: str) -> str:
        assert isinstance(self.dataset, ClipDataset)
        split, free = self.dataset.clips[0].record.split, free_shared_memory()
        timed_out = error.startswith("DataLoader timed out")
        found = f"sent no batch for {self.timeout:.0f} s" if timed_out else f"failed: {error.strip().splitlines()[-1]}"
        room = "" if free is None else f" ({SHARED_MEMORY} has {_mib(free)} free)"
        longer = "; on a slow disk raise --data.worker_timeout" if timed_out else ""
        return (
            f"the {self.num_workers} worker processes that load the {split} split {found}. One may be stopped, killed, "
            f"waiting for a disk, or out of memory or shared memory{room}. Run the same command again, with "
            f"--data.num_workers 0 where it fails again{longer}"
        )


def _end_workers(batches: _BaseDataLoaderIter) -> None:
    """Ends workers, those too that do not listen."""
    assert isinstance(batches, _MultiProcessingDataLoaderIter)
    batches._shutdown_workers()
    for worker in batches._workers:
        if worker.is_alive():
            worker.kill()


def free_shared_memory() -> int | None:
    """Bytes that are free where workers leave their batches; None where the system has no such place to look at."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None


def refuse_little_shared_memory(data: ClipDataset, item: Draw | int, batch_size: int, workers: int) -> None:
    """Refuses to load with workers whose batches would not fit into shared memory: they would hang or be killed.

    Args:
        data: the clips.
        item: the first one that is to be loaded; the others are taken to be as large.
        batch_size: clips in a batch.
        workers: of all processes of the training on this machine.

    Raises:
        WorkerError: there is not enough room.
    """
    free = free_shared_memory()
    needed = PREFETCHED * workers * batch_size * sum(value.nbytes for value in _tensors(data[item]))
    if free is not None and needed > free:
        raise WorkerError(
            f"{workers} worker processes keep about {_mib(needed)} of batches in shared memory, but {SHARED_MEMORY} "
            f"has {_mib(free)} free; load with fewer (--data.num_workers 0 needs none), in smaller batches "
            "(--data.batch_size), or make it larger (a container's --shm-size)"
        )


def hand_over(samples: Sequence[ClipSample]) -> ClipBatch:
    """Joins clips; in a worker, into shared memory.

    Torch would move them there in a thread whose errors reach nobody: with no room the batch would never come.
    """
    batch = collate(samples)
    if get_worker_info() is not None:
        for value in _tensors(batch):
            value.share_memory_()  # type: ignore[no-untyped-call]
    return batch


def begin_worker(worker: int) -> None:
    """Called in each worker as it begins: one thread, as workers share the processors, and batches in named files.

    By default torch fetches a batch's handle from the worker when it is received, without a time limit: one that was
    stopped just after it had sent a batch would hold up the training for good.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    torch.multiprocessing.set_sharing_strategy("file_system")  # type: ignore[no-untyped-call]


def _tensors(values: ClipBatch | ClipSample) -> list[Tensor]:
    found = [getattr(values, field.name) for field in fields(values)]
    return [value for value in found if isinstance(value, Tensor)]


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
