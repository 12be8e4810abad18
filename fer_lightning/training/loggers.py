"""Curves that a resumed run continues: a CSV table in the run's folder, and Weights & Biases."""

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
    """Columns and rows of `metrics.csv`; none where it does not exist.

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
                    raise ValueError(f"expected as many cells as columns and a number of steps, found {row}")
                rows.append(row)
        except (ValueError, csv.Error) as error:
            raise ValueError(
                f"{table}, line {max(reader.line_num, 1)} is damaged ({error}); take the line out, or move the file "
                "away: the run goes on without its earlier curves"
            ) from error
        return list(reader.fieldnames or []), rows


def _write(table: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    write_csv(table, columns, ([row.get(column, "") for column in columns] for row in rows), protect=False)


class _ContinuedWriter(ExperimentWriter):
    """Lightning's writer deletes the table of an earlier session, and may be killed with half a row written; this one
    goes on with the table and writes it whole.
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
        """Adds a row; values that the step has already are written over, as `write_curves` logs them first."""
        for earlier in reversed(self._rows):
            if int(earlier["step"]) != row["step"]:
                break
            if _values(earlier) & _values(row):
                earlier.update(row)
                return
        self._rows.append(row)


def _values(row: dict[str, Any]) -> set[str]:
    """What a row holds beside its place."""
    return {name for name, value in row.items() if value != ""} - {"epoch", "step"}


class CurvesLogger(CSVLogger):
    """`metrics.csv` in the run's folder. It goes first among the loggers: it sets the folder of the checkpoints.

    Args:
        save_dir: the run's folder; the command line sets it.
        flush_logs_every_n_steps: how often the table is written.
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
    """Takes out of `metrics.csv` what was logged after a checkpoint: the resumed run will log it again."""
    columns, rows = _read(table)
    if rows:
        _write(table, columns, [row for row in rows if int(row["step"]) < step])


def write_curves(trainer: Trainer) -> None:
    """Writes an epoch's `train/*` and learning rate into its curves, ahead of Lightning, which logs them last of all.

    Called in all processes, as reading what was logged may join their values. What learns nothing by steps is left to
    Lightning.
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


def _spared(send: Sender) -> Sender:
    """Lets a method that sends something to W&B fail without an end of the training."""

    @wraps(send)
    def sent(self: "RunWandbLogger", *args: Any, **kwargs: Any) -> None:
        if not self.lost:
            try:
                send(self, *args, **kwargs)
            except Exception as error:  # W&B raises its own, the system's, and those of its connection
                self.give_up(error)

    return cast(Sender, sent)


class RunWandbLogger(WandbLogger):
    """Weights & Biases, offline unless there is a key; a resumed run goes on with its W&B run.

    Whatever fails of W&B is said once, and the training goes on without it: its curves are in `metrics.csv` too.

    Args:
        save_dir: the run's folder; the command line sets it.
        project: in W&B.
        mode: `auto` is WANDB_MODE where it is set, else online with a key and offline without.
        selection: of epochs, a tag of the W&B run; the command line sets it.
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
            self._wandb_init.pop("anonymous", None)  # Lightning still passes it on, and W&B warns of it each time
        except Exception as error:  # such as a key that is none, or a variable WANDB_* that W&B does not take
            super().__init__(save_dir=save_dir, project=project)
            self.give_up(error)

    @rank_zero_only
    def give_up(self, error: Exception) -> None:
        """Says that W&B is lost, once; from now on nothing is sent there."""
        if self.lost:
            return
        self.lost = True
        if isinstance(error, ConnectionError):  # its process is dead: waiting for it at the end would be a traceback
            with suppress(Exception):
                wandb.teardown()
        print(
            f"W&B failed ({type(error).__name__}: {first_line(error)}): the run goes on without it. Its curves are in "
            f"{Path(str(self.save_dir), 'metrics.csv')}; WANDB_MODE=offline needs no connection, WANDB_MODE=disabled "
            "leaves W&B out",
            file=sys.stderr,
            flush=True,
        )

    @property
    def experiment(self) -> Any:
        """W&B's run; one that takes everything and does nothing, where W&B is lost."""
        if not self.lost:
            try:
                return super().experiment
            except Exception as error:  # such as no network, or no key where WANDB_MODE is online
                self.give_up(error)
        return _DummyExperiment()

    @_spared
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Sends values of a step."""
        super().log_metrics(metrics, step)

    @_spared
    def log_hyperparams(self, params: Any) -> None:
        """Sends the configuration."""
        super().log_hyperparams(params)

    @rank_zero_only
    def log_report(self, run: RunFolder) -> None:
        """Sends a run's report: pictures and the classes' table as panels, the page and the tables as an artifact."""
        figures = sorted((run.report.parent / "figures").glob("*.png"))
        table = PredictionTable.read(run.predictions("test"))
        measured = scores(table)
        columns = (table.class_names, measured.support, measured.class_accuracy, measured.precision, measured.f1)
        rows = [[name, int(clips), *map(float, values)] for name, clips, *values in zip(*columns, strict=True)]
        self._send_report(figures, rows, [run.report, run.config, run.predictions("inner"), run.predictions("test")])

    @_spared
    def _send_report(self, figures: list[Path], classes: list[list[Any]], files: list[Path]) -> None:
        self.experiment.log({f"report/{figure.stem}": wandb.Image(str(figure)) for figure in figures})
        columns = ["class", "clips", "recall", "precision", "F1"]
        self.experiment.log({"report/classes": wandb.Table(columns, data=classes)})
        artifact = wandb.Artifact(f"report-{self.experiment.id}", type="report")
        for path in files:
            artifact.add_file(str(path))
        self.experiment.log_artifact(artifact)


def _run_id(folder: Path) -> str:
    """The W&B id of a run, made once and kept in its folder."""
    file = folder / "wandb_id.txt"
    if not file.exists():
        atomic_write(file, secrets.token_hex(4).encode())
    return file.read_text()
