"""The curves of a run: a CSV table in its folder that a resumed run continues."""

import csv
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from data_modules.utils.csv_tables import write_csv


def _read(table: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Reads the columns and rows of `metrics.csv`; both are empty if the file does not exist.

    Raises:
        ValueError: the file is damaged.
    """
    if not table.exists():
        return [], []
    with table.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = []
        try:
            for row in reader:
                if None in row or None in row.values() or not row.get("step", "").isdecimal():
                    raise ValueError(f"expected as many cells as columns and a whole number as step, found {row}")
                rows.append(row)
        except (ValueError, csv.Error) as error:
            raise ValueError(
                f"{table}, line {max(reader.line_num, 1)} is damaged ({error}); delete the line, or move the file away "
                "to resume the run without its earlier curves"
            ) from error
        return list(reader.fieldnames or []), rows


def _write(table: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    write_csv(table, columns, ([row.get(column, "") for column in columns] for row in rows), protect=False)


class _ContinuedWriter(ExperimentWriter):
    """Continues the table of an earlier session and writes it atomically.

    Lightning's own writer deletes that table, and leaves half a row if it is killed while writing.
    """

    def _check_log_dir_exists(self) -> None:
        self._rows = _read(Path(self.metrics_file_path))[1]

    def save(self) -> None:
        if self.metrics:
            for row in self.metrics:
                self._add(row)
            self.metrics = []
            columns = sorted({name for row in self._rows for name in row})
            _write(Path(self.metrics_file_path), columns, self._rows)

    def _add(self, row: dict[str, Any]) -> None:
        """Adds a row. Values that the step already has are replaced; `write_curves` logs some of them first."""
        for earlier in reversed(self._rows):
            if int(earlier["step"]) != row["step"]:
                break
            if _values(earlier) & _values(row):
                earlier.update(row)
                return
        self._rows.append(row)


def _values(row: dict[str, Any]) -> set[str]:
    """Returns the names of a row's values, without epoch and step."""
    return {name for name, value in row.items() if value != ""} - {"epoch", "step"}


class CurvesLogger(CSVLogger):
    """Writes `metrics.csv` into the run's folder.

    It must be the first logger of a trainer, because Lightning takes the folder of the checkpoints from it.

    Args:
        save_dir: the run's folder; the command line sets it.
        flush_logs_every_n_steps: number of steps after which the table is written.
    """

    def __init__(self, save_dir: str = ".", flush_logs_every_n_steps: int = 50) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The table's writer."""
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _ContinuedWriter(self.log_dir)
        return self._experiment  # type: ignore[return-value]


def drop_rows_after(table: Path, step: int) -> None:
    """Deletes the rows of `metrics.csv` from a checkpoint's step on, which the resumed run logs again."""
    columns, rows = _read(table)
    if rows:
        _write(table, columns, [row for row in rows if int(row["step"]) < step])


def write_curves(trainer: Trainer) -> None:
    """Writes `train/*` and the learning rate of an epoch before Lightning does, which logs them after the checkpoint.

    All processes must call it, because reading logged values may synchronise them. Models that are not trained by
    gradient steps are left to Lightning.
    """
    values = {
        name: value for name, value in trainer.logged_metrics.items() if name == "lr" or name.startswith("train/")
    }
    if trainer.optimizers:
        for logger in trainer.loggers:
            if isinstance(logger, CurvesLogger):
                logger.log_metrics({**values, "epoch": trainer.current_epoch}, trainer.global_step - 1)
                logger.save()
