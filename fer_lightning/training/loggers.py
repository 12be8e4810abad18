"""Loggers that a resumed run continues: a CSV table in the run's folder, and Weights & Biases."""

import csv
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import wandb
from lightning_fabric.loggers.logger import _DummyExperiment, rank_zero_experiment
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

from data_modules.utils.csv_tables import write_csv
from data_modules.utils.files import atomic_write
from data_modules.utils.messages import first_line
from fer_lightning.evaluation.metrics import scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.folder import RunFolder


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


Sender = TypeVar("Sender", bound=Callable[..., None])


def _without_failing(send: Sender) -> Sender:
    """Keeps the training alive if a method that sends something to W&B fails."""

    @wraps(send)
    def guarded(self: "RunWandbLogger", *args: Any, **kwargs: Any) -> None:
        if not self.lost:
            try:
                send(self, *args, **kwargs)
            except Exception as error:  # W&B raises its own, the system's, and those of its connection
                self.give_up(error)

    return cast(Sender, guarded)


class RunWandbLogger(WandbLogger):
    """Logs to Weights & Biases; a resumed run continues its W&B run.

    If W&B fails, one message says so and the training continues without it; its curves are in `metrics.csv` too.

    Args:
        save_dir: the run's folder; the command line sets it.
        project: name of the W&B project.
        mode: `auto` takes the variable WANDB_MODE if it is set, and is otherwise online with an API key and offline
            without one.
        selection: how the epoch is chosen, a tag of the W&B run; the command line sets it.
    """

    def __init__(
        self,
        save_dir: str = ".",
        project: str = "fer_lightning",
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
        selection: str = "inner",
    ) -> None:
        folder, self.lost = Path(save_dir), False
        try:
            if mode == "auto":
                mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")  # type: ignore[assignment]
            super().__init__(
                name="/".join(folder.parts[-2:]),
                save_dir=save_dir,
                project=project,
                id=_run_id(folder),
                resume="allow" if mode == "online" else None,
                tags=[f"selection: {selection}"],
                mode=mode,
                settings=wandb.Settings(console="off", silent=mode != "online"),
            )
            self._wandb_init.pop("anonymous", None)  # Lightning still passes it on, and W&B warns about it
        except Exception as error:  # such as an invalid API key or WANDB_* variable
            super().__init__(save_dir=save_dir, project=project)
            self.give_up(error)

    @rank_zero_only
    def give_up(self, error: Exception) -> None:
        """Prints once that W&B failed, and sends nothing more."""
        if self.lost:
            return
        self.lost = True
        if isinstance(error, ConnectionError):  # W&B's process is dead; waiting for it at exit would raise
            with suppress(Exception):
                wandb.teardown()
        print(
            f"W&B failed ({type(error).__name__}: {first_line(error)}): the run continues without it. Its curves are "
            f"in {Path(str(self.save_dir), 'metrics.csv')}; WANDB_MODE=offline needs no connection, "
            "WANDB_MODE=disabled turns W&B off",
            file=sys.stderr,
            flush=True,
        )

    @property
    def experiment(self) -> Any:
        """The W&B run, or a dummy that ignores everything if W&B has failed."""
        if not self.lost:
            try:
                return super().experiment
            except Exception as error:  # such as no network, or no key where WANDB_MODE is online
                self.give_up(error)
        return _DummyExperiment()

    @_without_failing
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Sends the values of a step."""
        super().log_metrics(metrics, step)

    @_without_failing
    def log_hyperparams(self, params: Any) -> None:
        """Sends the configuration."""
        super().log_hyperparams(params)

    @rank_zero_only
    def log_report(self, run: RunFolder) -> None:
        """Sends a run's report: figures and the table of classes as panels, the page and the tables as an artifact."""
        figures = sorted((run.report.parent / "figures").glob("*.png"))
        table = PredictionTable.read(run.predictions("test"))
        result = scores(table)
        columns = (table.class_names, result.support, result.class_accuracy, result.precision, result.f1)
        rows = [[name, int(clips), *map(float, values)] for name, clips, *values in zip(*columns, strict=True)]
        self._send_report(figures, rows, [run.report, run.config, run.predictions("inner"), run.predictions("test")])

    @_without_failing
    def _send_report(self, figures: list[Path], classes: list[list[Any]], files: list[Path]) -> None:
        self.experiment.log({f"report/{figure.stem}": wandb.Image(str(figure)) for figure in figures})
        columns = ["class", "clips", "recall", "precision", "F1"]
        self.experiment.log({"report/classes": wandb.Table(columns, data=classes)})
        artifact = wandb.Artifact(f"report-{self.experiment.id}", type="report")
        for path in files:
            artifact.add_file(str(path))
        self.experiment.log_artifact(artifact)


def _run_id(folder: Path) -> str:
    """Returns the W&B id of a run, which is created once and kept in the run's folder."""
    file = folder / "wandb_id.txt"
    if not file.exists():
        atomic_write(file, secrets.token_hex(4).encode())
    return file.read_text()
