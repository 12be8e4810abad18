"""Memory for the pictures of a batch, which a worker fills where the training process reads them."""

from math import prod

import torch
from torch import Tensor
from torch.utils.data import get_worker_info


def empty_bytes(*shape: int) -> Tensor:
    """Return an uninitialised uint8 tensor, in a worker process in shared memory: handing it over copies nothing.

    Raises:
        RuntimeError: there is not enough shared memory.
    """
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    # as torch's own `default_collate` does
    storage = torch.UntypedStorage._new_shared(prod(shape))  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage, 0, shape)  # type: ignore[call-overload,no-any-return]
