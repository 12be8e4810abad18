"""Evaluates a trained model on another data set's reported split; classes are matched by name."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytorch_lightning as L
from torch import Tensor

from data_modules.datasets.dataset import VideoDataset
from data_modules.datasets.splits import shared_with_reported
from data_modules.labels import class_list
from data_modules.loading.clip_dataset import Clip
from data_modules.loading.datamodule import VideoDataModule
from data_modules.loading.split_faults import some
from data_modules.manifest import VideoRecord, read_manifest
from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.calibration import CalibrationEffect
from fer_lightning.evaluation.calibration_file import effect_line
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.collect import clip_outputs, prediction_table
from fer_lightning.evaluation.metrics import scores
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.datasets import build_dataset, dataset_of
from fer_lightning.experiments.faces import difference_to_training, faces_as_trained
from fer_lightning.report.page import OTHER_DATA, write_report
from fer_lightning.report.summary import result_lines
from fer_lightning.runs.folder import RunFolder, RunInfo, run_folder
from fer_lightning.runs.labels import RunLabels
from fer_lightning.training.calibration import UnknownTemperatureError, calibration_of
from fer_lightning.training.cost import count_parameters
from fer_lightning.training.loading import TrainedModel, load_trained
from fer_lightning.training.precision import fastest_precision, quiet_lightning
from fer_lightning.training.wandb_summary import summary_logger
from fer_lightning.training.wandb_tables import class_table, clip_table, confusion_table, score_values


@dataclass(frozen=True)
class ClassMapping:
    """Maps the class names of a data set to those of a model."""

    renamed: dict[str, str]  # name in the data -> name in the model, given by the user
    model: tuple[str, ...]
    data: tuple[str, ...]

    def name(self, emotion: str) -> str | None:
        """Returns the model's name for an emotion of the data, or None if the model does not have that class."""
        name = self.renamed.get(emotion, emotion)
        return name if name in self.model else None

    @property
    def common(self) -> tuple[str, ...]:
        """The classes that model and data have in common, by the model's names."""
        return class_list(name for name in map(self.name, self.data) if name is not None)

    def clip(self, clip: Clip) -> Clip | None:
        """Returns the clip with the model's name of its class, or None if the model does not have that class."""
        name = self.name(clip.record.emotion)
        return None if name is None else replace(clip, record=replace(clip.record, emotion=name))

    def predictions(self, part: ClipPredictions) -> ClipPredictions:
        """Restricts probabilities over the model's C classes, (M, C), and those of its streams to the common classes.

        The remaining probabilities are divided by their sum.
        """
        streams = None if part.streams is None else self._restricted(part.streams)
        return replace(part, probabilities=self._restricted(part.probabilities), streams=streams)

    def _restricted(self, probabilities: Tensor) -> Tensor:
        common = probabilities[..., [self.model.index(name) for name in self.common]].clamp_min(1e-12)
        return common / common.sum(dim=-1, keepdim=True)


@dataclass(frozen=True)
class EvaluationRequest:
    """The arguments of `fer test` with a trained model."""

    checkpoint: Path  # of a run's folder, or a checkpoint
    data: str  # name of the data set
    fold: str | None  # None for that of the run on its own data set, elsewhere fold 1
    renamed: dict[str, str]  # class in the data -> in the model, where names differ
    workers: int  # number of loading processes
    out: Path | None  # the prediction table; None for the run's folder
    root: str | None = None  # folder of the data set; None for that of its name
    options: tuple[str, ...] = ()  # that override the data set's file, such as `--dataset.faces.margin 0.5`


def evaluate_on_other_data(request: EvaluationRequest) -> None:
    """Writes the prediction table and the report, and prints the metrics.

    Raises:
        FileNotFoundError: the data set is not on this machine.
        ValueError: model and data have fewer than two classes in common.
    """
    trained = load_trained(request.checkpoint)
    dataset = dataset_for(trained, request)
    data = VideoDataModule(
        dataset,
        trained.sampler,
        size=trained.size,
        augmentation=trained.augmentation,
        selection="last",
        num_workers=request.workers,
        seed=trained.configuration.get("seed_everything", 0),  # that of the predictions is that of the training
        audio=trained.audio,
    )
    data.inputs = trained.model.inputs
    mapping = ClassMapping(request.renamed, trained.class_names, data.class_names)
    table, outputs = evaluate(trained, data, mapping)
    run = RunFolder(run_folder(trained.checkpoint))
    out = request.out or run.path / "on" / f"{request.data}-{dataset.fold}.csv"
    table.write(out)
    print(f"classes: {', '.join(mapping.common)}")
    difference = difference_to_training(trained.faces, dataset.faces, trained.model.inputs, dataset.name)
    notes = tuple(note for note in (difference, left_out_note(data, mapping, len(table))) if note)
    if own := data_of_same_people(trained, dataset):
        tested = [clip.record for clip in data.split("test")]
        notes = (*overlap_faults(tested, run, dataset.name, own.fold), *notes)
    for note in notes:
        print(note)
    for line in result_lines(table):
        print(line)
    print(confidence_line(trained, table))
    print(f"prediction table: {out}")
    report = RunFolder(out.with_suffix(""))
    table.write(report.predictions("test"))
    outputs.write(report.outputs("test"))
    report.write_info(evaluation_info(trained, data, mapping, notes))
    print(f"report: {write_report(report)}")
    send_evaluation(run, table, out, request.data, dataset.fold)


def dataset_for(trained: TrainedModel, request: EvaluationRequest) -> VideoDataset:
    """Returns the data set to evaluate a model on, with faces as the model saw them in training.

    On the data set of the training, faces are found as they were there, too. On data of the same people, such as
    RAVDESS's videos for a model of its sound alone, the fold is that of the run. Options of the request come first.

    Raises:
        ValueError: an option does not exist or does not fit.
    """
    root = () if request.root is None else ("--dataset.init_args.root", request.root)
    options = [*root, *request.options]
    stated = build_dataset(request.data, options)
    own = data_of_same_people(trained, stated)
    as_there = own is not None and own.store_name == stated.store_name
    faces = own.faces if own and as_there else faces_as_trained(trained.faces, stated.faces, trained.model.inputs)
    fold = request.fold or (own.fold if own else "1")
    return build_dataset(request.data, ["--dataset.faces", json.dumps(asdict(faces)), "--dataset.fold", fold, *options])


def data_of_same_people(trained: TrainedModel, dataset: VideoDataset) -> VideoDataset | None:
    """Returns the data set of a model's training, with its fold and faces, if the given one is it or has its people.

    Otherwise None. Folders of other names may hold other people under the same name of a data set.
    """
    own = None if trained.dataset is None else dataset_of(trained.configuration["data"]["dataset"])
    if own is None:
        return None
    other_part = own.name != dataset.name and own.split_name == dataset.split_name
    return own if other_part or own.store_name == dataset.store_name else None


def overlap_faults(tested: Sequence[VideoRecord], run: RunFolder, dataset: str, fold: str) -> tuple[str, ...]:
    """Says which of the clips, persons and films that are evaluated a run was trained or chosen on.

    Args:
        tested: the clips of the evaluated split, of the data set of the run or of one of the same people.
        run: the run; one that keeps no list of its clips is not compared.
        dataset: name of the data set.
        fold: of the run.

    Raises:
        ValueError: the list of the run's clips is damaged.
    """
    seen = [each for each in read_manifest(run.clips) if each.split != "test"] if run.clips.exists() else []
    records = [*tested, *seen]
    names = {
        "clip": [record.clip_id for record in records],
        "person": [record.subject for record in records],
        "film": [record.group for record in records],
    }
    shared = {kind: shared_with_reported(records, each) for kind, each in names.items()}
    return tuple(
        f"{dataset}: the evaluated split shares {counted(len(each), kind)} with what the model was trained or chosen "
        f"on ({some(each)}): accuracy is too high. The run's own fold is {fold}"
        for kind, each in shared.items()
        if each
    )


def left_out_note(data: VideoDataModule, mapping: ClassMapping, evaluated: int) -> str:
    """Says how many clips of the reported split are left out, as the model lacks their classes; empty if none is."""
    left_out = len(data.split("test")) - evaluated
    unknown = [name for name in data.class_names if mapping.name(name) is None]
    text = f"left out: {counted(left_out, 'clip')} of {', '.join(unknown)}, which are not classes of the model"
    return text if left_out else ""


def evaluation_info(
    trained: TrainedModel, data: VideoDataModule, mapping: ClassMapping, notes: tuple[str, ...]
) -> RunInfo:
    """Returns what the report of an evaluation says about the model and the data.

    Args:
        trained: the model.
        data: the other data set, after the evaluation.
        mapping: of its classes.
        notes: sentences for the top of the report.
    """
    assert data.store is not None  # set up by the evaluation
    folder = RunFolder(run_folder(trained.checkpoint))
    try:
        own = folder.read_info()
    except (FileNotFoundError, ValueError):  # a model's file has no run beside it
        own = RunInfo(
            experiment=trained.checkpoint.stem,
            model=type(trained.model).__name__,
            dataset="",
            class_names=(),
            fold="",
            seed=0,
            selection=OTHER_DATA,
            epoch=-1,
            store="",
            parameters=count_parameters(trained.model),
        )
    return replace(
        own,
        dataset=data.dataset.name,
        class_names=mapping.common,
        fold=data.dataset.fold,
        selection=OTHER_DATA,
        epoch=-1,  # the report has no learning curves
        store=str(data.store.folder.absolute()),
        faces="",
        exclusive_in="",
        classes_from_stills=data.dataset.classes_from_stills,
        split_faults=notes,
    )


def confidence_line(trained: TrainedModel, table: PredictionTable) -> str:
    """Says what the temperature of a model changes on these clips, or why it has none.

    The table keeps the probabilities of the model. Restricted to the common classes, they may be divided by the
    temperature as well as before: the logarithms of their ratios are the same.

    Raises:
        ValueError: the file with the temperature is damaged.
    """
    try:
        calibration = calibration_of(trained)
    except UnknownTemperatureError as error:
        return f"confidence: not calibrated: {error}"
    effect = CalibrationEffect.on(calibration, table)
    return effect_line(calibration, effect.values if effect else {})


def send_evaluation(run: RunFolder, table: PredictionTable, out: Path, data: str, fold: str) -> None:
    """Makes a run of Weights & Biases for an evaluation, in the group of the run whose model was evaluated.

    Args:
        run: the run whose model was evaluated.
        table: the predictions.
        out: the file of the table; what W&B keeps lies in a folder of that name beside it.
        data: name of the data set.
        fold: fold of its protocol.
    """
    kept = RunLabels.read(run) or RunLabels()
    group = kept.group or run.path.resolve().parent.name
    labels = replace(kept, group=group, job_type="evaluate", data=data, fold=fold)
    logger = summary_logger(out.with_suffix(""), labels, {"/".join(run.path.resolve().parts[-2:]): run})
    if logger is not None:
        result = scores(table)
        tables = (class_table(table), confusion_table(table.class_names, result), clip_table(table))
        logger.log_results(score_values(result, bootstrap(table), "test"), tables)
        logger.close()


def evaluate(
    trained: TrainedModel, data: VideoDataModule, mapping: ClassMapping
) -> tuple[PredictionTable, ClipOutputs]:
    """Predicts every clip of the reported split whose class the model has, over the common classes.

    It is computed in the precision of the run; where the model's file does not say it, in the fastest one.

    Raises:
        ValueError: model and data have fewer than two classes in common.
    """
    if len(mapping.common) < 2:
        raise ValueError(
            f"the model has the classes {', '.join(mapping.model)}, the data {', '.join(mapping.data)}: fewer than two "
            "in common; match classes with different names by --classes DATA=MODEL"
        )
    quiet_lightning()
    precision = trained.configuration.get("trainer", {}).get("precision") or fastest_precision()
    trainer = L.Trainer(logger=False, enable_checkpointing=False, precision=precision, devices=1)
    batches = trainer.predict(trained.model, datamodule=data) or []
    parts = [mapping.predictions(part) for part in batches if isinstance(part, ClipPredictions)]
    clips = [clip for clip in map(mapping.clip, data.split("test")) if clip is not None]
    return prediction_table(clips, parts, mapping.common, data.seed), clip_outputs(clips, parts)
