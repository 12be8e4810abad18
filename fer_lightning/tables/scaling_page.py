"""The tables of the guide to scaling: what was measured here beside the model, and what bounds each paper's model."""

import json
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from fer_lightning.tables.gpu_table import EMPTY as NO_GPU
from fer_lightning.tables.gpu_table import read_checks, rows_of
from fer_lightning.tables.results import results_root
from fer_lightning.tables.run_time import TRAINING, Machine, Training, efficiency, fitted, run_of, step_of

FORMAT = "fer_lightning scaling 1"
PLACES = ((1, 1), (2, 1), (4, 1), (8, 1), (16, 2), (32, 4))  # processes, machines
HOUR = 3600.0
EMPTY = "Empty: `fer bench scaling --out results/scaling.json` has not run yet.\n"

ASSUMED = Machine(speed=5e13, frames=8 * 6700.0, link=4.5e11, network=5e10, disk=1e9, devices=8, overlap=0.5)
"""A machine with eight H100, none of which was measured. NVIDIA's data sheet has 989e12 operations a second in dense
bf16, which are half as many multiply-adds, of which a tenth is assumed; 900 GB/s of NVLink for both ways together; and
400 Gbit/s of InfiniBand NDR. Eight cores a device load 6700 frames of 128 x 128 a second each, as `fer bench loader`
has measured on a processor (191 clips of 35 frames)."""

CLIPS, EVALUATED = 10_000, 2_500
"""Clips that are trained on and evaluated in an epoch, as many for each paper whatever its own data."""


@dataclass(frozen=True)
class PaperModel:
    """A paper's model at its size, as `fer bench models` counts it, with the batch and epochs of its experiment."""

    system: str
    training: Training


def _model(system: str, giga: float, parameters: int, trained: int, frames: int, batch: int, epochs: int) -> PaperModel:
    return PaperModel(system, Training(giga * 1e9, parameters, trained, frames, batch, CLIPS, EVALUATED, epochs))


PAPERS = (
    _model("ceflnet", 63.5, 12_919_625, 12_919_625, frames=35, batch=8, epochs=120),
    _model("vshnn", 88.0, 317_776_526, 60_860_430, frames=16, batch=32, epochs=30),
    _model("context_pyramid", 4975.1, 70_122_382, 31_885_319, frames=256, batch=8, epochs=40),
    _model("ecnn_fsa", 132.9, 63_758_151, 63_758_151, frames=5, batch=48, epochs=40),
    _model("bimodal_resnet18", 29.1, 38_463_559, 25_185_799, frames=16, batch=16, epochs=30),
    _model("av", 30.9, 24_731_278, 24_731_278, frames=16, batch=16, epochs=30),
)


def measured_table(path: Path | None = None) -> str:
    """Returns the clips a second of `fer bench scaling` beside those of the model, as Markdown; or that there are none.

    The model is fitted to one process alone, in two batches; that processes share cores, it is told.

    Args:
        path: the file of `fer bench scaling --out`.

    Raises:
        ValueError: the file has another format.
    """
    path = path or results_root() / "scaling.json"
    if not path.is_file():
        return EMPTY
    content: dict[str, Any] = json.loads(path.read_bytes())
    if content.get("format") != FORMAT:
        raise ValueError(f"{path} has the format {content.get('format')!r}; expected {FORMAT!r}: make it anew")
    rows = content["rows"]
    overhead, slope = fitted(
        [(row["clips"], row["clips"] / row["clips_per_second"]) for row in rows if row["processes"] == 1]
    )
    machine = Machine(TRAINING / slope, inf, inf, inf, inf, content["devices"], overhead)
    lines = [
        "| processes | clips of a step | clips a second, measured | by the model | ratio |",
        "|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        seconds = step_of(Training(1.0, 0, 0, 0, row["clips"]), machine, row["processes"]).seconds
        found, expected = row["clips_per_second"], row["clips"] / seconds
        lines.append(f"| {row['processes']} | {row['clips']} | {found:.2f} | {expected:.2f} | {found / expected:.2f} |")
    hardware = f"{content['devices']} x {content['hardware']}"
    lines += [
        "",
        f"Measured by `fer bench scaling` with `{content['experiment']}` at {content['size']}², on {hardware}.",
    ]
    return "\n".join(lines) + "\n"


def gpu_steps_table(models: tuple[PaperModel, ...], machine: Machine = ASSUMED) -> str:
    """Returns each model's step on one GPU as it was measured, beside that on one device of a machine, as Markdown.

    Args:
        models: of the papers.
        machine: whose figures are assumed.

    Raises:
        ValueError: the file of the GPU's measurements has another format.
    """
    content = read_checks()
    if content["device"]["type"] != "cuda":
        return f"{NO_GPU.capitalize()}.\n"
    rows = {row["system"]: row for row in rows_of(content, "steps") if "error" not in row}
    lines = [
        f"| system | batch | ms on {content['device']['name']} | ms as assumed | multiply-adds a second as measured |",
        "|---|---:|---:|---:|---:|",
    ]
    for model in models:
        row, training = rows.get(model.system), model.training
        if row is None or (row["clips"], row["frames"]) != (training.batch, training.frames):
            continue
        found, assumed = row["milliseconds"], 1000 * step_of(training, machine, 1).computing
        tera = TRAINING * training.multiply_adds * training.batch / found * 1e-9
        lines.append(f"| `{model.system}` | {training.batch} | {found:.0f} | {assumed:.0f} | {tera:.0f}e12 |")
    return "\n".join(lines) + "\n"


def papers_table(models: tuple[PaperModel, ...], machine: Machine = ASSUMED) -> str:
    """Returns what each model's training would take on a machine, as Markdown.

    Args:
        models: of the papers.
        machine: whose figures are assumed.
    """
    heads = [f"efficiency on {n}" + f" of {nodes} machines" * (nodes > 1) for n, nodes in PLACES[1:]]
    columns = ("system", "multiply-adds", "gradients", "batch", "hours on one", *heads, "then bound by")
    lines = [
        f"| {' | '.join(columns)} |",
        "|---|---:|---:|---:|---:|" + "---:|" * len(heads) + "---|",
    ]
    for model in models:
        training = model.training
        places = [place for place in PLACES if training.batch % place[0] == 0]
        shares = [f"{efficiency(training, machine, *each):.0%}" if each in places else "" for each in PLACES[1:]]
        lines.append(
            f"| `{model.system}` | {training.multiply_adds / 1e9:.0f} G | {training.trained * 4e-6:.0f} MB | "
            f"{training.batch} | {run_of(training, machine, 1).seconds / HOUR:.1f} | {' | '.join(shares)} | "
            f"{step_of(training, machine, *places[-1]).bound} |"
        )
    return "\n".join(lines) + "\n"
