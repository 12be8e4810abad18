"""The section with the model's size, operations and running times."""

from collections.abc import Sequence

from fer_lightning.report.elements import EvaluatedRun, Section, Table


def section(run: EvaluatedRun) -> Section:
    """Shows parameters, multiply-adds, and the times of a forward pass and of the training."""
    info = run.info
    unknown = "not measured"
    operations = unknown if info.multiply_adds is None else f"{info.multiply_adds / 1e9:.2f} G per clip"
    seconds = unknown if info.seconds_per_clip is None else f"{1000 * info.seconds_per_clip:.2f} ms per clip"
    conditions = [info.device, info.precision, f"batches of {info.batch_size}" if info.batch_size else ""]
    if info.seconds_per_clip is not None:
        seconds += f" ({', '.join(condition for condition in conditions if condition)})"
    rows = (
        ("parameters", f"{info.parameters / 1e6:.2f} M"),
        ("multiply-adds", operations),
        ("time of a forward pass", seconds),
        ("training", _duration(info.seconds) if info.seconds else unknown),
    )
    return Section("cost", "Cost", tables=(Table("A multiply-add counts as one operation.", (), rows, numbers=False),))


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    parts: Sequence[tuple[int, str]] = ((hours, "h"), (minutes, "min"), (left, "s"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "under a second"
