"""`calibration.json`, which keeps the temperature of a run with what `fer predict` needs to choose a threshold."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.utils.files import atomic_write
from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.calibration import LIMIT, Calibration, CalibrationEffect
from fer_lightning.evaluation.confidence import ECE, NLL
from fer_lightning.runs.folder import RunFolder

NAME = "calibration.json"
FORMAT = "fer_lightning calibration 1"
LOGGED = {"inner": "chosen", "test": "test"}  # what a split is called in logs


def write_calibration(calibration: Calibration, effects: dict[str, CalibrationEffect], run: RunFolder) -> None:
    """Writes `calibration.json` into a run's folder: temperature, effect on each split, answers of the inner split.

    The answers, of which thresholds are made for any risk, have neither the names of the clips nor those of subjects.

    Args:
        calibration: of the run.
        effects: name of a split -> the effect there.
        run: the folder.
    """
    inner = calibration.inner
    content = {
        "format": FORMAT,
        "temperature": calibration.temperature,
        "problem": calibration.problem,
        "class_names": list(calibration.class_names),
        "epoch": calibration.epoch,
        "clips": len(inner),
        "measures": {split: effect.values for split, effect in effects.items()},
        "inner": {"confidence": inner.confidence.tolist(), "correct": inner.correct.astype(int).tolist()},
    }
    atomic_write(run.path / NAME, json.dumps(content).encode())


def read_calibration(path: Path) -> Calibration:
    """Reads a `calibration.json`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged.
    """
    return _read(path)[0]


def calibration_values(run: RunFolder) -> dict[str, float]:
    """Returns the temperature of a run and its measures by the names of logs, such as `test/ece_calibrated`.

    The inner split at the chosen epoch is called `chosen`, as in `metrics.csv`. Runs that were evaluated by a version
    without calibration have none of this.

    Raises:
        ValueError: the file is damaged.
    """
    path = run.path / NAME
    if not path.exists():
        return {}
    calibration, measures = _read(path)
    values = {} if calibration.temperature is None else {"calibration/temperature": calibration.temperature}
    values["calibration/clips"] = len(calibration.inner)
    for split, prefix in LOGGED.items():
        values |= {f"{prefix}/{name}": value for name, value in measures.get(split, {}).items()}
    return values


def calibration_line(run: RunFolder) -> str:
    """Returns the temperature of a run and what it changes on the reported split as one line; empty if unknown.

    Raises:
        ValueError: the file is damaged.
    """
    values = calibration_values(run)
    if not values:
        return ""
    measured = {name.removeprefix("test/"): value for name, value in values.items()}
    return effect_line(read_calibration(run.path / NAME), measured)


def effect_line(calibration: Calibration, values: dict[str, float]) -> str:
    """Returns a temperature, or why there is none, and what it changes as one line.

    Args:
        calibration: of the model.
        values: those of `CalibrationEffect`, by name; measures that are missing are left out.
    """
    line = f"confidence: {calibration.describe()}"
    for measure in (ECE, NLL):
        shown = [values[name] for name in (measure.name, f"{measure.name}_calibrated") if name in values]
        line += f"; {measure.short} " * bool(shown) + " -> ".join(f"{value:.3f}" for value in shown)
    return line


def parse_calibration(text: str, source: Path) -> Calibration:
    """Reads the content of a `calibration.json`, which files of `fer export` contain.

    Args:
        text: the content.
        source: the file that it is in, for messages.

    Raises:
        ValueError: the content is damaged.
    """
    return _parse(text, source)[0]


def _read(path: Path) -> tuple[Calibration, dict[str, dict[str, float]]]:
    """Reads a `calibration.json` and the measures in it, by split and name."""
    return _parse(path.read_text(), path)


def _parse(text: str, path: Path) -> tuple[Calibration, dict[str, dict[str, float]]]:
    try:
        content: dict[str, Any] = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT!r}")
        inner = content["inner"]
        answers = Answers(np.array(inner["confidence"], np.float64), np.array(inner["correct"], np.float64) == 1)
        temperature = None if content["temperature"] is None else float(content["temperature"])
        if temperature is not None and not 1 / LIMIT <= temperature <= LIMIT:
            raise ValueError(f"temperature {temperature}, expected {1 / LIMIT:g} to {LIMIT:g}")
        names = tuple(map(str, content["class_names"]))
        measures = {
            str(split): {str(name): float(value) for name, value in values.items()}
            for split, values in content["measures"].items()
        }
        return Calibration(names, int(content["epoch"]), temperature, str(content["problem"]), answers), measures
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}); `fer report RUN` writes that of a run again"
        ) from error
