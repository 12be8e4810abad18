"""Batches whose frames are in another order, or are all the same one: what a model makes of time."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from data_modules.loading.batch import WITHOUT_FRAMES, ClipBatch


def _shuffled(batch: ClipBatch, row: int, real: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(batch.clip_id[row].encode()))
    return real[torch.randperm(len(real), generator=generator)]


def _apex(batch: ClipBatch, row: int, real: Tensor) -> Tensor:
    assert batch.intensity is not None, "offered only where the intensity is known"
    return real[batch.intensity[row].cpu()[real].nan_to_num(-1).argmax()].expand(len(real))


ORDERS: Mapping[str, Callable[[ClipBatch, int, Tensor], Tensor]] = {
    "shuffled": _shuffled,
    "reversed": lambda batch, row, real: real.flip(0),
    "middle": lambda batch, row, real: real[len(real) // 2].expand(len(real)),
    "apex": _apex,
}
"""Name -> function of a batch, a sample and the places of its real frames: the frames that are seen in these places."""


def in_order(batch: ClipBatch, name: str) -> ClipBatch:
    """Returns a batch whose sampled frames are seen in another order; padding, audio and labels stay.

    Args:
        batch: a batch without cached features, some of which are computed of several frames.
        name: one of `ORDERS`. The order of `shuffled` depends on the clip alone; `apex` needs known intensities.
    """
    order = torch.arange(batch.mask.shape[1]).repeat(len(batch), 1)  # (B, T)
    for row, mask in enumerate(batch.mask.cpu()):
        real = mask.nonzero().flatten()
        if len(real):
            order[row, real] = ORDERS[name](batch, row, real)
    order = order.to(batch.mask.device)
    rows = torch.arange(len(batch), device=order.device)[:, None]
    values = {each.name: getattr(batch, each.name) for each in fields(batch) if each.name not in WITHOUT_FRAMES}
    moved: dict[str, Any] = {name: value[rows, order] for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **moved)
