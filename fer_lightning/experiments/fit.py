"""One run of a model, from its data to its report: train, resume, evaluate, measure."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from data_modules.loading.datamodule import VideoDataModule
from data_modules.loading.split_faults import refuse_empty_splits
from data_modules.utils.file_lock import file_lock
from fer_lightning.evaluation.calibration_file import calibration_values
from fer_lightning.evaluation.frame_order import ORDERS
from fer_lightning.evaluation.other_epochs import conclude_watching
from fer_lightning.experiments.faces import difference_to_papers_faces
from fer_lightning.experiments.labels import labels_of
from fer_lightning.experiments.launchers import started_processes, without_launcher
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.prerequisites import refuse_seen, required_request
from fer_lightning.experiments.request import ExperimentRequest, required_runs
from fer_lightning.experiments.resume import (
    print_on_rank_zero,
    print_result,
    refuse_other_data,
    refuse_other_settings,
    run_lock,
    training_command,
    write_clips,
)
from fer_lightning.experiments.shapes import ShapeCheck
from fer_lightning.paths import RUN
from fer_lightning.report.page import write_report
from fer_lightning.runs.folder import RunFolder, RunInfo
from fer_lightning.training.batch_norm import statistics_note
from fer_lightning.training.callbacks import TrainingTime
from fer_lightning.training.checkpoints import LAST, PREVIOUS, add_calibration, chosen_checkpoint, latest_checkpoint
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.cost import measure_cost
from fer_lightning.training.curves import CurvesLogger, drop_rows_after
from fer_lightning.training.temporal import predict_in_orders
from fer_lightning.training.wandb_logger import RunWandbLogger
from fer_lightning.weights import RANDOM, checkpoint_named, read_checkpoint

SWEEP_VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
"""Variables by which the agent of a W&B sweep makes a training one of the sweep's runs."""


class RunCLI(FerCLI):
    """Builds model, data module and trainer of a request's run, and nothing if the settings are another run's.

    Raises:
        FileNotFoundError: the data set does not exist.
        ValueError: a setting is wrong, or the settings state another run's fold, seed or folder.
    """

    def __init__(self, request: ExperimentRequest) -> None:
        self.request = request
        super().__init__(request.command_line(), run=False, labels=labels_of(request))

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Reads the settings; see the class for what is refused."""
        try:
            super().parse_arguments(parser, args)
            self.request.refuse_another_run(self.config)
        except ValueError as error:
            raise ValueError(f"{self.request.experiment}: {error}") from error


def fit_experiment(request: ExperimentRequest) -> RunFolder:
    """Trains, evaluates and reports the run of a model, starting from the run's latest checkpoint.

    Raises:
        FileNotFoundError: the data set or the weights that the experiment starts from do not exist.
        ValueError: a setting is wrong, or the run was started with other settings or other data.
    """
    run = request.run
    with leaving_nothing(run):
        cli = RunCLI(request)
        finished = is_finished(run, cli)
        if not finished:
            prepare_data_and_weights(cli, request)
    if not finished:
        with run_lock(run):
            if not is_finished(run, cli):  # another process may have finished the run while this one waited
                fit_and_test(cli, request)
    return run


@contextmanager
def leaving_nothing(run: RunFolder) -> Iterator[None]:
    """Removes the folder of a run that could not be begun: it has the id in W&B alone, of which no run was made."""
    existed = run.path.exists()
    try:
        yield
    except BaseException:
        if not existed and run.path.is_dir() and list(run.path.iterdir()) == [run.wandb_id]:
            run.wandb_id.unlink()
            with suppress(OSError):  # other runs of the experiment are there
                for folder in (run.path, run.path.parent):
                    folder.rmdir()
        raise


def faces_of(cli: FerCLI) -> str:
    """Says in what the run's faces differ from those of its system's paper."""
    return difference_to_papers_faces(cli.own_config.experiment.faces, cli.datamodule.dataset.faces)


def is_finished(run: RunFolder, cli: FerCLI) -> bool:
    """Whether the run has its report; if so, prints where it is.

    Raises:
        ValueError: the run was started with other settings or other data.
    """
    config = cli.plain_config()
    if run.finished and cli.chooses_precision:  # whatever the machine chose that trained it
        config["trainer"]["precision"] = None
    refuse_other_settings(run, config)
    refuse_other_data(run, cli.datamodule.dataset)
    if run.finished:
        print_on_rank_zero(f"{run.path} is finished")
        print_result(run)
    return run.finished


def prepare_data_and_weights(cli: FerCLI, request: ExperimentRequest) -> None:
    """Prepares the data set of a request and trains the experiments whose weights are needed.

    Files of weights, the shapes of weights that are not there yet and the data set come first: what is wrong with them
    should be reported before anything takes long. A line says in what the faces are not the paper's.

    Processes that Lightning starts find everything prepared. Those of torchrun and Slurm come here all at once: one
    prepares, and the others wait for its locks, which takes as long as it takes; PyTorch's barriers have time limits.

    Raises:
        FileNotFoundError: a file of weights does not exist, or a variant is not trained.
        ValueError: weights that are to be trained would not fit the model, or have seen what is tested.
    """
    if getattr(rank_zero_only, "rank", 0) and not started_processes():
        return
    config = cli.plain_config()
    refuse_missing_files(config)
    refuse_unfit_weights(config)
    if difference := faces_of(cli):
        print_on_rank_zero(difference)
    cli.datamodule.prepare_data()
    folder = Path(config["trainer"]["default_root_dir"])
    needed = {name: required_request(name, request, config) for name in required_runs(config)}
    for each in needed.values():
        refuse_seen(each, request, cli.datamodule.dataset)
    for name, each in needed.items():
        with file_lock(folder / "preparation.lock", f"another process trains {name}; waiting", print_on_rank_zero):
            train_required_run(each)


def refuse_missing_files(config: dict[str, Any]) -> None:
    """Refuses a model that would start from a file of weights that does not exist; a resumed one needs none.

    Raises:
        FileNotFoundError: the file does not exist; the message says what is there instead.
    """
    begun = any(RunFolder(Path(config["trainer"]["default_root_dir"])).checkpoints.glob("*.ckpt"))
    for path in [] if begun else weight_files(config["model"]):
        checkpoint_named(path)


def weight_files(settings: object) -> Iterator[str]:
    """Yields the files of weights that a model's settings name; those of `start_from` take the place of all others."""
    if not isinstance(settings, dict):
        return
    whole = settings.get("start_from", RANDOM)
    for source in (whole, settings.get("weights")):
        if isinstance(source, str) and not source.startswith(RUN) and Path(source).suffix:
            yield source
    for value in settings.values() if whole == RANDOM else ():
        yield from weight_files(value)


def refuse_unfit_weights(config: dict[str, Any]) -> None:
    """Refuses a model whose weights are yet to be trained and would not fit it; loading checks the others.

    Raises:
        ValueError: weights would not fit the model of the resolved configuration.
    """
    if not all(ExperimentRequest.from_run_name(name).run.finished for name in required_runs(config)):
        ShapeCheck().check(Path(config["trainer"]["default_root_dir"]).parent.name, config)


def train_required_run(request: ExperimentRequest) -> None:
    """Trains an experiment whose weights another one needs, in a process of its own, unless its run is finished."""
    if request.run.finished:
        return
    name = "/".join(request.run.path.parts[-2:])
    print_on_rank_zero(f"first: {name}, whose weights are needed")
    own = {name: value for name, value in without_launcher(os.environ).items() if name not in SWEEP_VARIABLES}
    subprocess.run(training_command(request), check=True, env=own)


def fit_and_test(cli: FerCLI, request: ExperimentRequest) -> None:
    """Trains from the latest checkpoint on, evaluates the chosen epoch, and writes the results."""
    run, start = request.run, time.perf_counter()
    model, data, trainer = cli.model, cli.datamodule, cli.trainer
    assert isinstance(model, VideoClassifier)
    assert isinstance(data, VideoDataModule)
    path, checkpoint = latest_checkpoint(run.checkpoints) or (None, {})
    if path:
        print_on_rank_zero(resume_message(run, path, checkpoint))
    if trainer.is_global_zero:
        cli.labels.write(run)
        write_clips(run, data.dataset)
        drop_rows_after(run.curves, int(str(checkpoint.get("global_step", 0))))
    for logger in wandb_loggers(cli):
        config = cli.plain_config()
        logger.log_hyperparams(config)
        logger.use_models(used_runs(config))
    device = f"{trainer.strategy.root_device}, {trainer.precision}"
    print_on_rank_zero(f"{run.path}: {type(model).__name__} on {data.dataset.name}, {device}")
    data.setup()
    refuse_empty_splits(data.clips, data.dataset.name)
    for fault in data.split_faults:
        print_on_rank_zero(fault)
    synchronized = bool(cli.own_config.trainer.sync_batchnorm)
    parts = (trainer.world_size, trainer.accumulate_grad_batches)
    if note := statistics_note(model, data.step_batch_size, *parts, synchronized):
        print_on_rank_zero(note)
    if cli.own_config.experiment.compile:
        model.compile()
    chosen = chosen_checkpoint(run, data.selection)
    try:
        if not was_stopped_early(checkpoint):
            trainer.fit(model, data, ckpt_path=str(path) if path else None, weights_only=True)
        trainer.test(model, data, ckpt_path=str(chosen), weights_only=True, verbose=False)
    except SystemExit as exit:  # Lightning turns Ctrl-C into this
        print_on_rank_zero(stop_message(run))
        stop = exit.__context__
        raise (stop if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt) from None
    if trainer.is_global_zero:
        write_results(cli, request, chosen, TrainingTime.seconds_in(checkpoint) + time.perf_counter() - start)


def used_runs(config: dict[str, Any]) -> dict[str, RunFolder]:
    """Returns the runs whose weights a resolved configuration uses, by its values `run:NAME`."""
    runs = {}
    for value in dict.fromkeys(f"{RUN}{name}" for name in required_runs(config)):
        with suppress(FileNotFoundError):  # a run that is resumed needs their checkpoints no more
            runs[value] = RunFolder(checkpoint_named(value).parent.parent)
    return runs


def log_calibration(cli: FerCLI, run: RunFolder) -> None:
    """Adds temperature and measures of confidence to the row of `metrics.csv` that has the chosen epoch's metrics."""
    trainer = cli.trainer
    for logger in trainer.loggers:
        if isinstance(logger, CurvesLogger):  # which adds to a row of the same step if they have a value in common
            values: dict[str, Tensor | float] = {
                **trainer.logged_metrics,
                **calibration_values(run),
                "epoch": trainer.current_epoch,
            }
            logger.log_metrics(values, trainer.global_step)
            logger.save()


def resume_message(run: RunFolder, path: Path, checkpoint: dict[str, object]) -> str:
    """Says after which epoch a run is resumed. People count epochs from 1, checkpoints from 0."""
    fallback = "" if path.name == LAST else f", from {path.name}: {LAST} is missing or damaged"
    return f"{run.path}: goes on after epoch {int(str(checkpoint['epoch'])) + 1}{fallback}"


def stop_message(run: RunFolder) -> str:
    """Says where a run that was stopped will go on."""
    latest = latest_checkpoint(run.checkpoints)
    where = f"after epoch {int(str(latest[1]['epoch'])) + 1}, its latest checkpoint" if latest else "at its beginning"
    return f"{run.path}: stopped; it will go on {where}"


def was_stopped_early(checkpoint: dict[str, Any]) -> bool:
    """Whether an `EarlyStopping` ended the training at this checkpoint; Lightning would train one more epoch."""
    states = checkpoint.get("callbacks", {}).values()
    return any(state.get("stopped_epoch") or state.get("wait_count", 0) >= state.get("patience", 1) for state in states)


def wandb_loggers(cli: FerCLI) -> list[RunWandbLogger]:
    """The loggers of a trainer that send a run to Weights & Biases."""
    return [logger for logger in cli.trainer.loggers if isinstance(logger, RunWandbLogger)]


def write_orders(cli: FerCLI, run: RunFolder) -> None:
    """Writes what the model predicts for the reported split with its frames in another order, if that is asked for."""
    for name in ORDERS:
        run.order_predictions(name).unlink(missing_ok=True)
    if cli.own_config.experiment.temporal:
        precision = str(cli.trainer.precision)
        for name, table in predict_in_orders(cli.model, cli.datamodule, precision).items():
            table.write(run.order_predictions(name))


def write_results(cli: FerCLI, request: ExperimentRequest, chosen: Path, seconds: float) -> None:
    """Measures the model's cost, writes `run.json`, calibration and the report, and prints the result.

    Args:
        cli: the trained model with its data and trainer.
        request: the experiment that was trained.
        chosen: the checkpoint of the epoch that was evaluated.
        seconds: how long training and evaluation took, in all sessions.
    """
    run, model, data, trainer = request.run, cli.model, cli.datamodule, cli.trainer
    cost = measure_cost(model, data, str(trainer.precision))
    run.write_info(
        RunInfo(
            experiment=run.path.parent.name,
            model=type(model).__name__,
            dataset=data.dataset.name,
            class_names=model.class_names,
            fold=request.fold,
            seed=request.seed,
            selection=data.selection,
            epoch=int(str(read_checkpoint(chosen, mapped=True)["epoch"])),
            store=str(data.store.folder.absolute()),
            parameters=cost.parameters,
            multiply_adds=cost.multiply_adds,
            seconds_per_clip=cost.seconds_per_clip,
            batch_size=cost.batch_size,
            device=cost.device,
            precision=str(trainer.precision),
            seconds=seconds,
            faces=faces_of(cli),
            exclusive_in=data.dataset.exclusive_in,
            classes_from_stills=data.dataset.classes_from_stills,
            split_faults=data.split_faults,
        )
    )
    conclude_watching(run, int(str(read_checkpoint(run.checkpoints / LAST, mapped=True)["epoch"])))
    write_orders(cli, run)
    write_report(run)
    add_calibration(chosen, run)
    log_calibration(cli, run)
    (run.checkpoints / PREVIOUS).unlink(missing_ok=True)  # a finished run is not resumed
    print_result(run)
    for logger in wandb_loggers(cli):  # waits until everything is sent
        logger.log_report(run, [chosen])
