"""Weights & Biases: a logger that a resumed run continues and whose failure ends no training."""

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import lazy_loader
from lightning_fabric.loggers.logger import _DummyExperiment
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from data_modules.datasets.synthetic import Synthetic, SyntheticStills
from data_modules.utils.files import NotWritableError, atomic_write
from data_modules.utils.messages import first_line
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.calibration_file import calibration_values
from fer_lightning.evaluation.metrics import scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.paths import runs_root
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.labels import RunLabels, project_name
from fer_lightning.training.wandb_tables import (
    ShownTable,
    class_table,
    clip_table,
    confusion_table,
    cost_values,
    score_values,
)

if TYPE_CHECKING:
    import wandb
else:
    wandb = lazy_loader.load("wandb")  # a training without this logger need not have it

RENDERED = (Synthetic.name, SyntheticStills.name)
"""The data sets whose faces are of nobody."""
SHOW_FACES = ("index.html", "activation-", "relations-")
"""How the names of a report's files begin that show crops of faces; its page embeds the figures."""

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
    `wandb_summary` makes one for a run that sums up others, without a training.

    Args:
        save_dir: the run's folder; the command line sets it.
        project: name of the W&B project, see `project_name`.
        mode: `auto` takes the variable WANDB_MODE if it is set, and is otherwise online with an API key and offline
            without one.
        labels: the run's group, kind and tags; the command line sets them.
    """

    def __init__(
        self,
        save_dir: str = ".",
        project: str | None = None,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
        labels: RunLabels | None = None,
    ) -> None:
        project = project_name(project)
        folder, labels, self.lost = Path(save_dir), labels or RunLabels(), False
        sums_up = labels.job_type in ("cv", "ensemble", "evaluate", "table")
        self._kept = f"results are in {folder}" if sums_up else f"curves are in {RunFolder(folder).curves}"
        try:
            if mode == "auto":
                mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")  # type: ignore[assignment]
            super().__init__(
                name=_run_name(folder),
                save_dir=save_dir,
                project=project,
                id=_run_id(RunFolder(folder)),
                resume="allow" if mode == "online" else None,
                group=labels.group or None,
                job_type=labels.job_type,
                tags=labels.tags,
                config={"labels": asdict(labels) | {"row": labels.row}},
                mode=mode,
                settings=wandb.Settings(console="off", silent=mode != "online"),
            )
            self._wandb_init.pop("anonymous", None)  # Lightning still passes it on, and W&B warns about it
        except NotWritableError:  # no failure of W&B: the training is about to say it
            super().__init__(save_dir=save_dir, project=project)
            self.lost = True
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
            f"W&B failed ({type(error).__name__}: {first_line(error)}): the run continues without it. Its "
            f"{self._kept}; WANDB_MODE=offline needs no connection, WANDB_MODE=disabled turns W&B off",
            file=sys.stderr,
            flush=True,
        )

    @property
    def experiment(self) -> Any:
        """The W&B run, whose curves are over epochs, or a dummy that ignores everything if W&B has failed."""
        if not self.lost:
            try:
                begins, run = self._experiment is None, super().experiment
                if begins:
                    run.define_metric("epoch")
                    run.define_metric("*", step_metric="epoch", overwrite=True)  # Lightning's is over steps
                return run
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
    @_without_failing
    def use_models(self, runs: Mapping[str, RunFolder]) -> None:
        """Records whose models this run uses, and has W&B draw the lineage where it is online.

        The configuration of the W&B run has them as `uses`, with the names of their artifacts.

        Args:
            runs: what a run is called here, such as `run:stills_synthetic` -> the run whose model is used.
        """
        artifacts = {name: model_artifact(run) for name, run in runs.items()}
        if artifacts:
            self.experiment.config.update({"uses": artifacts}, allow_val_change=True)
        if self._wandb_init.get("mode") == "online":
            for name, artifact in artifacts.items():
                self._draw_lineage(name, artifact)

    def _draw_lineage(self, name: str, artifact: str | None) -> None:
        """Has W&B draw that this run uses an artifact; says so if W&B does not have it."""
        try:
            if artifact is None:
                raise ValueError("the run was trained without W&B")
            self.experiment.use_artifact(f"{artifact}:latest", type="model")
        except Exception as error:  # such as a run that was trained offline and not synchronised
            print(
                f"W&B draws no line from {name} to this run ({type(error).__name__}: {first_line(error)}); "
                "`wandb sync` sends a run that was trained offline",
                file=sys.stderr,
                flush=True,
            )

    @rank_zero_only
    def log_report(self, run: RunFolder, model: Sequence[Path]) -> None:
        """Sends the results of an evaluated run and ends the W&B run.

        The summary holds the scores with both ends of their intervals, calibration, and the model's cost. Figures and
        tables are panels; the report with the prediction tables is one artifact, the model another, `model-ID`.
        Pictures of faces are sent only if they are rendered, see `without_faces`.

        Args:
            run: the run, with its report.
            model: the files of its model.

        Raises:
            FileNotFoundError: the run is not evaluated.
        """
        table, inner = PredictionTable.read(run.predictions("test")), run.predictions("inner")
        result = scores(table)
        values = score_values(result, bootstrap(table), "test")
        if inner.is_file() and len(chosen := PredictionTable.read(inner)):
            values |= score_values(scores(chosen), bootstrap(chosen), "chosen")
        values |= cost_values(run.read_info()) | calibration_values(run)
        tables = (class_table(table), confusion_table(table.class_names, result), clip_table(table))
        self.log_results(values, tables)
        about = describe(run)
        self._log_figures(without_faces(sorted((run.report.parent / "figures").glob("*.png")), about["dataset"]))
        files = without_faces((run.report, run.config, inner, run.predictions("test")), about["dataset"])
        self._log_files("report", [path for path in files if path.is_file()])
        self._log_files("model", model, about | values, [path.stem for path in model if path.suffix == ".ckpt"])
        self.close()

    @rank_zero_only
    @_without_failing
    def log_results(self, values: Mapping[str, float], tables: Sequence[ShownTable]) -> None:
        """Writes values into the summary of the W&B run, and shows tables.

        Args:
            values: name -> value, such as `test/war`.
            tables: the tables.
        """
        self.experiment.summary.update(dict(values))
        shown = {table.name: wandb.Table(columns=list(table.columns), data=table.rows) for table in tables}
        self.experiment.log(shown)

    @_without_failing
    def _log_figures(self, figures: Sequence[Path]) -> None:
        if figures:
            self.experiment.log({f"report/{figure.stem}": wandb.Image(str(figure)) for figure in figures})

    @_without_failing
    def _log_files(
        self, kind: str, files: Sequence[Path], about: Mapping[str, Any] | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """Sends files as an artifact. A checkpoint, which is large and not written again, is not copied for that."""
        artifact = wandb.Artifact(f"{kind}-{self.experiment.id}", type=kind, metadata=dict(about or {}))
        for path in files:
            artifact.add_file(str(path), policy="immutable" if path.suffix == ".ckpt" else "mutable", skip_cache=True)
        self.experiment.log_artifact(artifact, aliases=["latest", *aliases])

    @rank_zero_only
    @_without_failing
    def close(self) -> None:
        """Ends the W&B run, so that another one can begin in this process."""
        self.experiment.finish()


def without_faces(files: Sequence[Path], dataset: str) -> list[Path]:
    """Leaves out what shows faces of a data set that is not rendered: licences do not allow to pass them on.

    Args:
        files: figures and the page of a report, and other files of a run.
        dataset: name of the data set.
    """
    return [path for path in files if dataset in RENDERED or not path.name.startswith(SHOW_FACES)]


def describe(run: RunFolder) -> dict[str, Any]:
    """Returns what identifies the model of an evaluated run, as the metadata of its artifact.

    Raises:
        FileNotFoundError: the run is not evaluated.
    """
    info = run.read_info()
    names = ("experiment", "model", "dataset", "fold", "seed", "selection", "epoch", "parameters", "commit")
    return {name: getattr(info, name) for name in names} | {"class_names": list(info.class_names)}


def model_artifact(run: RunFolder) -> str | None:
    """Returns the name of the artifact that holds a run's model; None for a run that never was in W&B."""
    return f"model-{run.wandb_id.read_text()}" if run.wandb_id.is_file() else None


def _run_name(folder: Path) -> str:
    """Returns the path of a folder below the folder of all runs, or else its last two parts."""
    path, root = folder.resolve(), runs_root().resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else "/".join(path.parts[-2:])


def _run_id(run: RunFolder) -> str:
    """Returns the W&B id of a run, which is created once, or taken from its sweep, and kept in the run's folder."""
    if not run.wandb_id.exists():
        from_sweep = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        atomic_write(run.wandb_id, (from_sweep or secrets.token_hex(4)).encode())
    return run.wandb_id.read_text()
