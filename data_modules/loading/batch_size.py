"""Divide the batch of an optimisation step over processes and accumulated batches."""


def divide_batch(batch_size: int, processes: int = 1, accumulated: int = 1) -> int:
    """Return how many clips one process loads at once, so that a step sees `batch_size` clips altogether.

    Args:
        batch_size: clips in an optimisation step.
        processes: number of processes, one for each device.
        accumulated: batches whose gradients are added up before each step, Lightning's `accumulate_grad_batches`.

    Raises:
        ValueError: the clips cannot be divided evenly; the message names batch sizes that can.
    """
    parts = processes * accumulated
    if batch_size % parts == 0 and batch_size > 0:
        return batch_size // parts
    below = batch_size // parts * parts
    fitting = f"{below} or {below + parts}" if below > 0 else str(parts)
    raise ValueError(
        f"data.batch_size = {batch_size} is the batch of all devices together, and cannot be divided evenly over "
        f"{processes} processes and {accumulated} accumulated batches: expected a multiple of {parts}. Set "
        f"--data.batch_size to {fitting}, use other --trainer.devices or --trainer.accumulate_grad_batches, or set "
        "--data.per_device_batch_size, with which the batch, and so the result, depends on the number of devices"
    )
