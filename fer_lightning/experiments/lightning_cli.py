"""Lightning's command line for this suite. The constructors' arguments are the schema of the configuration."""

import json
import sys
from argparse import ArgumentError
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.plugins.layer_sync import LayerSync

from data_modules.loading.batch_size import divide_batch
from data_modules.loading.datamodule import VideoDataModule
from data_modules.utils.files import atomic_write
from fer_lightning.experiments.launchers import refuse_other_processes
from fer_lightning.experiments.misspelt import suggested
from fer_lightning.experiments.resume import has_begun
from fer_lightning.experiments.system import ExperimentInfo
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.labels import RunLabels
from fer_lightning.training.batch_norm import SynchronizedBatchNorm
from fer_lightning.training.callbacks import (
    DataWait,
    EpochSeed,
    OwnSignals,
    PredictionWriter,
    ProgressLines,
    StopWhereDiverged,
    TrainingTime,
)
from fer_lightning.training.checkpoints import checkpoints, chosen_checkpoint, with_atomic_checkpoints
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.feature_caching import FeatureCaching
from fer_lightning.training.precision import fastest_precision, quiet_lightning
from fer_lightning.training.watching import WatchedEpochs


def plain_values(parser: LightningArgumentParser, config: Any) -> dict[str, Any]:
    """Returns a parsed configuration as dictionaries, lists, strings and numbers."""
    # Parsing has validated it, and JSON is read several times as fast as YAML.
    values: dict[str, Any] = json.loads(parser.dump(config, format="json", skip_none=False, skip_validation=True))
    return values


class SaveConfig(SaveConfigCallback):
    """Saves the resolved configuration in the run's folder and passes it to the model, which adds it to checkpoints."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Passes the configuration to the model before any other hook runs."""
        super().setup(trainer, pl_module, stage)
        if isinstance(pl_module, VideoClassifier):
            pl_module.configuration = plain_values(self.parser, self.config)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes the file atomically. Lightning calls this in the first process only."""
        text: str = self.parser.dump(self.config, skip_none=False, skip_validation=True)
        atomic_write(Path(trainer.default_root_dir, self.config_filename), text.encode())


class FerCLI(LightningCLI):
    """Configures any `VideoClassifier` on the `VideoDataModule`; class names, clip count and seed are stated once.

    All command lines without subcommands have one parser: building it, and those of the classes that it meets, takes
    two fifths of the time in which a configuration is read.

    Args:
        arguments: the command line; None for that of the process.
        run: whether to run the subcommand that the command line names.
        labels: of the run, for its logger of Weights & Biases; the selection is filled in.
    """

    _built: ClassVar[LightningArgumentParser | None] = None

    def __init__(self, arguments: list[str] | None = None, run: bool = True, labels: RunLabels | None = None) -> None:
        quiet_lightning()
        self.labels = labels or RunLabels()
        super().__init__(
            VideoClassifier,
            VideoDataModule,
            subclass_mode_model=True,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},  # `save_config` writes the file
            args=arguments,
            run=run,
            auto_configure_optimizers=False,
            parser_kwargs={"exit_on_error": False, "allow_abbrev": False},  # also of the subcommands' parsers
        )

    def setup_parser(self, add_subcommands: bool, *arguments: Any) -> None:
        """Takes the parser of the command lines before, if there are no subcommands; the first one builds it."""
        if add_subcommands:
            super().setup_parser(add_subcommands, *arguments)
            return
        if FerCLI._built is None:
            super().setup_parser(add_subcommands, *arguments)
            FerCLI._built = self.parser
        self.parser = FerCLI._built

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Reads the command line and the experiment's files.

        Raises:
            ValueError: a key does not exist or a value does not fit.
        """
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            raise ValueError(suggested(error, parser)) from error

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links the arguments that data and model share, so that each is stated once."""
        parser.add_class_arguments(ExperimentInfo, "experiment")
        parser.link_arguments("data.class_names", "model.init_args.class_names", apply_on="instantiate")
        parser.link_arguments("data.num_clips", "model.init_args.num_clips", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.set_defaults({"data.watch_test": True})  # where `WatchedEpochs` keeps what is evaluated

    def instantiate_classes(self) -> None:
        """Builds model, data module and trainer; the data module loads what the model reads.

        Raises:
            ValueError: the model cannot be trained with the data module's selection, or the devices do not divide the
                batch evenly.
        """
        super().instantiate_classes()
        self.model.refuse_selection(self.datamodule.selection)
        self.datamodule.inputs = self.model.inputs
        self._divide_batch()

    def _divide_batch(self) -> None:
        """Tells the data module the trainer's devices, and the configuration what follows from them.

        Raises:
            ValueError: the devices do not divide the batch evenly, or are not as many as the processes.
        """
        data, trainer, config = self.datamodule, self.trainer, self.own_config
        data.trainer = trainer
        if self.subcommand in (None, "fit"):
            refuse_other_processes(trainer)
            divide_batch(data.step_batch_size, trainer.world_size, trainer.accumulate_grad_batches)
        config.data.batch_size = data.batch_size = data.step_batch_size
        config.data.transform_on = data.transform_on = data.place
        config.trainer.precision = str(trainer.precision)  # for a processor, Lightning replaces fp16 by bf16

    @property
    def own_config(self) -> Any:
        """The configuration of the subcommand, or all of it if there is none."""
        return self.config.get(str(self.subcommand), self.config) if self.subcommand else self.config

    def plain_config(self) -> dict[str, Any]:
        """Returns the resolved configuration as dictionaries, lists, strings and numbers."""
        return plain_values(self.parser, self.config)

    def before_instantiate_classes(self) -> None:
        """Fills in the settings that depend on the machine and on the run's folder."""
        trainer = self.own_config.trainer
        self.labels = replace(self.labels, selection=self.own_config.data.selection)
        trainer.default_root_dir = str(trainer.default_root_dir or Path("runs", "manual"))
        self.run_folder = RunFolder(Path(trainer.default_root_dir))
        if self.subcommand:
            self._spare_run()
        self.chooses_precision = trainer.precision is None
        if trainer.precision is None:
            trainer.precision = fastest_precision()
        if trainer.accelerator == "cpu" or not torch.cuda.is_available():  # torch has it on GPUs alone
            trainer.sync_batchnorm = False
        if not sys.stdout.isatty():  # `ProgressLines` prints a line per epoch instead
            trainer.enable_progress_bar = False
        for logger in trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]:
            arguments: Any = getattr(logger, "init_args", {})  # Lightning takes True and False, too
            if "save_dir" in arguments:
                arguments.save_dir = trainer.default_root_dir
            if "labels" in arguments:
                arguments.labels = asdict(self.labels)

    def _spare_run(self) -> None:
        """Has Lightning's own commands change nothing that a run has, and evaluate a trained model.

        What is evaluated is the run's chosen checkpoint unless another one is named; what is written about it goes into
        a folder of the command's name inside that of the run.

        Raises:
            FileNotFoundError: the run has no checkpoint to evaluate.
            ValueError: the run to fit has begun.
        """
        run, config, command = self.run_folder, self.own_config, str(self.subcommand)
        if command == "fit":
            if has_begun(run):
                state = "is finished" if run.finished else "has checkpoints"
                raise ValueError(
                    f"{run.path} has begun: it {state}, which `fer fit` would train over. `fer train` goes on with it; "
                    "for another training, give a folder of its own with --trainer.default_root_dir"
                )
            return
        if config.ckpt_path is None:
            chosen = chosen_checkpoint(run, config.data.selection)
            if not chosen.is_file():
                raise FileNotFoundError(
                    f"{chosen}: there is no such file, so there is no trained model to {command}. Train it with "
                    "`fer train`, or name a checkpoint with --ckpt_path"
                )
            config.ckpt_path = str(chosen)
        config.trainer.default_root_dir = str(run.path / command)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the callbacks of every run and atomic checkpoints.

        Raises:
            ValueError: a callback or a `ReduceLROnPlateau` monitors the inner split, but there is none.
        """
        config = self.own_config
        own: list[Callback] = [
            FeatureCaching(),
            DataWait(),
            TrainingTime(),
            PredictionWriter(),
            WatchedEpochs(),
            EpochSeed(config.data.seed),
            StopWhereDiverged(),
            OwnSignals(),
            *checkpoints(self.run_folder.path, config.data.selection, config.experiment.monitor),
        ]
        self.trainer_defaults["callbacks"] = own if sys.stdout.isatty() else [*own, ProgressLines()]
        built = self.config_init[self.subcommand] if self.subcommand else self.config_init
        plugins = with_atomic_checkpoints(built.trainer.plugins)
        if config.trainer.sync_batchnorm and not any(isinstance(plugin, LayerSync) for plugin in plugins):
            plugins.append(SynchronizedBatchNorm())
        trainer = super().instantiate_trainer(plugins=plugins, **kwargs)
        if config.data.selection == "last":
            callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
            monitored = {type(callback).__name__: getattr(callback, "monitor", None) for callback in callbacks}
            scheduler = config.model.init_args.get("scheduler")
            if scheduler and scheduler.class_path.endswith("ReduceLROnPlateau"):
                monitored["ReduceLROnPlateau"] = config.model.init_args.monitor
            refuse_inner_split(monitored)
        return trainer


def refuse_inner_split(monitored: dict[str, str | None]) -> None:
    """Refuses to monitor the inner split if all clips are trained on.

    Args:
        monitored: class of a callback or schedule -> the value that it monitors.

    Raises:
        ValueError: one of them monitors a value of the inner split.
    """
    for name, value in monitored.items():
        if value and value.startswith("inner/"):
            raise ValueError(
                f"{name} monitors {value}, but with `selection: last` there is no inner split; let it monitor "
                "train/loss, remove it, or use --data.selection inner"
            )
