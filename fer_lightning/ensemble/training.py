"""Trains an ensemble for `fer train`: first the members that are missing, then their combination."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning.utilities import rank_zero_only

from data_modules.datasets.dataset import VideoDataset
from fer_lightning.ensemble.combine import combine
from fer_lightning.ensemble.experiment import EnsembleExperiment, model_requests, read_ensemble
from fer_lightning.ensemble.members import read_members
from fer_lightning.ensemble.result import print_ensemble, write_ensemble
from fer_lightning.ensemble.wandb_run import send_ensemble
from fer_lightning.evaluation.calibration_file import calibration_line
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.labels import labels_of
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import (
    print_on_rank_zero,
    print_result,
    refuse_other_data,
    refuse_other_settings,
    train_in_subprocess,
)
from fer_lightning.experiments.shapes import ShapeCheck
from fer_lightning.runs.folder import RunFolder

MODEL_ARGUMENTS = ("root", "workers", "faces")  # arguments of a data set in which members may differ
SHARED_ARGUMENTS = ("selection", "inner_share")  # arguments of the data module in which members must not differ


def resolved(request: ExperimentRequest) -> dict[str, Any]:
    """Returns the complete configuration of a model or an ensemble as lists, strings and numbers.

    Raises:
        ValueError: a key does not exist or a value is not valid.
    """
    return read_ensemble(request).plain if request.is_ensemble else read_model(request)


def refuse_models_data(request: ExperimentRequest) -> None:
    """Refuses to go on with runs whose data has changed, for all models of a request.

    Raises:
        ValueError: a run was begun with other clips, see `refuse_other_data`.
    """
    for model in model_requests(request):
        if model.run.clips.exists():
            parser = ArgumentParser(exit_on_error=False)
            parser.add_subclass_arguments(VideoDataset, "dataset")
            parsed = parser.parse_object({"dataset": read_model(model)["data"]["dataset"]})
            refuse_other_data(model.run, parser.instantiate_classes(parsed).dataset)


def train_ensemble(request: ExperimentRequest) -> RunFolder:
    """Trains the members that are missing, combines all members, and writes the ensemble's run with its report.

    All settings are checked before anything is trained.

    Raises:
        FileNotFoundError: a member's experiment does not exist.
        ValueError: a setting is not valid, the members' data differ, or the training of a member failed.
    """
    ensemble, run = read_ensemble(request), request.run
    refuse_other_settings(run, ensemble.plain)
    refuse_models_data(request)
    members = ensemble.requests()
    if is_current(request):
        print_on_rank_zero(f"{run.path} is finished")
        print_result(run)
        return run
    check_configurations(ensemble)
    for number, member in enumerate(members, start=1):
        if not member.run.finished or member.is_ensemble:
            print_on_rank_zero(f"{request.experiment}, member {number} of {len(members)}: {member.run.path}")
            if train_in_subprocess(member):
                raise ValueError(
                    f"{member.run.path} did not finish; see its messages above. Repeat the command to go on from there"
                )
    fuse(ensemble)
    return run


def changed_since(run: RunFolder, members: Sequence[RunFolder]) -> bool:
    """Checks whether a member was evaluated after the ensemble was written; deleted members are ignored."""
    written = run.report.stat().st_mtime_ns
    tables = [member.predictions("test") for member in members]
    return any(table.is_file() and table.stat().st_mtime_ns > written for table in tables)


def is_current(request: ExperimentRequest) -> bool:
    """Checks whether a run is finished; an ensemble, whether no member at any depth was made since then.

    Deleted members are ignored.
    """
    if not request.run.finished or not request.is_ensemble:
        return request.run.finished
    members = read_ensemble(request).requests()
    stale = any(member.run.finished and not is_current(member) for member in members)
    return not stale and not changed_since(request.run, [member.run for member in members])


def check_configurations(ensemble: EnsembleExperiment) -> None:
    """Checks that the configurations of all models, at any depth, are valid and fit together.

    Raises:
        FileNotFoundError: a member's experiment does not exist.
        ValueError: a setting is not valid or differs from that of a begun run, the members' data differ, a method
            that is fitted on the inner split has a member that is trained on it, or weights do not fit a member.
    """
    first: tuple[Path, dict[str, Any]] | None = None
    shapes = ShapeCheck()
    searches = ensemble.settings.method.searches and ensemble.settings.selection == "inner"
    for request in model_requests(ensemble.request):
        config, where = read_model(request), request.run.path
        refuse_other_settings(request.run, config)
        if not request.run.finished:
            shapes.check(where.parent.name, config)
        data = data_of(config)
        if searches and data["selection"] != "inner":
            raise ValueError(
                f"{where} would be trained with selection {data['selection']}: a search on the inner split takes "
                "members with --data.selection inner. Average and FixedWeights search nothing"
            )
        first = first or (where, data)
        differing = sorted(key for key in data.keys() | first[1].keys() if data.get(key) != first[1].get(key))
        if differing:
            key = differing[0]
            raise ValueError(
                f"members of an ensemble share their data, but {key} is {data.get(key)} in {where} and "
                f"{first[1].get(key)} in {first[0]}; --data NAME (DATA=) puts all on one data set"
            )


def data_of(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that determine the clips on which a model is trained, selected and evaluated."""
    data = config["data"]
    arguments = {name: value for name, value in data["dataset"]["init_args"].items() if name not in MODEL_ARGUMENTS}
    return {name: data[name] for name in SHARED_ARGUMENTS if name in data} | {
        "dataset": data["dataset"]["class_path"],
        **arguments,
    }


@rank_zero_only
def fuse(ensemble: EnsembleExperiment) -> None:
    """Combines finished members, prints the results, and writes the ensemble's run."""
    settings, run = ensemble.settings, ensemble.request.run
    paths = [member.run.path for member in ensemble.requests()]
    members = read_members(paths, [entry.label for entry in settings.members])
    published = [entry.published for entry in settings.members]
    result = combine(members, settings.method, settings.selection).with_published(published, settings.published)
    print_ensemble(result)
    print_on_rank_zero(f"report: {write_ensemble(result, run.path, ensemble.plain)}")
    print_on_rank_zero(calibration_line(run))
    send_ensemble(result, run.path, labels_of(ensemble.request))
