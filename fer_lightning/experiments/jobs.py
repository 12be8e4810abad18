"""Runs in processes of their own: one after another, or one for each GPU. `cluster.py` has jobs of a cluster."""

import os
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import train_in_subprocess

VISIBLE = "CUDA_VISIBLE_DEVICES"


def train_all(requests: Sequence[ExperimentRequest]) -> list[ExperimentRequest]:
    """Trains each run in its own process, one at a time or one per GPU; returns the requests that failed."""
    gpus = torch.cuda.device_count()
    if not gpus:
        return [request for request in requests if train_in_subprocess(request, os.environ)]
    visible = os.environ.get(VISIBLE)  # numbers or names of the GPUs that this command may use itself
    names = [name.strip() for name in visible.split(",")] if visible else [str(gpu) for gpu in range(gpus)]
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in names[:gpus]:
        free.put(name)

    def train_on_free_gpu(request: ExperimentRequest) -> int:
        gpu = free.get()
        try:
            return train_in_subprocess(request, os.environ | {VISIBLE: gpu})
        finally:
            free.put(gpu)

    with ThreadPoolExecutor(gpus) as pool:
        statuses = list(pool.map(train_on_free_gpu, requests))
    return [request for request, status in zip(requests, statuses, strict=True) if status]
