"""`fer train` of an ensemble: its members, then all of them as one."""

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
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import Request
from fer_lightning.experiments.resume import (
    refuse_other_data,
    refuse_other_settings,
    say,
    say_result,
    train_in_subprocess,
)
from fer_lightning.runs.folder import RunFolder

OF_THE_MODEL = ("root", "workers", "faces")  # arguments of a data set in which members may differ
COMPARED = ("selection", "inner_share")  # of the data module


class ReadCLI(FerCLI):
    """The configuration alone: nothing is made."""

    def instantiate_classes(self) -> None:
        """Leaves it at the configuration."""


def resolved(request: Request) -> dict[str, Any]:
    """The whole configuration of a request, a model's or an ensemble's, as lists, strings and numbers.

    Raises:
        ValueError: a key does not exist or a value does not fit.
    """
    return read_ensemble(request).plain if request.is_ensemble else read_model(request)


def read_model(request: Request) -> dict[str, Any]:
    """The configuration of a model's request.

    Raises:
        ValueError: as `resolved`; the message names the experiment.
    """
    try:
        return ReadCLI(request.command_line(), run=False).plain_config()
    except ValueError as error:
        raise ValueError(f"{request.experiment}: {error}") from error


def refuse_models_data(request: Request) -> None:
    """Keeps the runs of all models that a request comes down to, to the clips that they were begun with.

    Raises:
        ValueError: one was begun with other clips, see `refuse_other_data`.
    """
    for model in model_requests(request):
        if model.run.clips.exists():
            parser = ArgumentParser(exit_on_error=False)
            parser.add_subclass_arguments(VideoDataset, "dataset")
            stated = parser.parse_object({"dataset": read_model(model)["data"]["dataset"]})
            refuse_other_data(model.run, parser.instantiate_classes(stated).dataset)


def train_ensemble(request: Request) -> RunFolder:
    """Brings an ensemble to its report: trains the members that are missing, then makes them one.

    What does not fit is refused before anything is trained.

    Raises:
        FileNotFoundError: a member is no experiment.
        ValueError: a setting does not fit, members are of different data, or one did not finish.
    """
    ensemble, run = read_ensemble(request), request.run
    refuse_other_settings(run, ensemble.plain)
    refuse_models_data(request)
    members = ensemble.requests()
    if run.finished and not changed_since(run, [member.run for member in members]):
        say(f"{run.path} is finished")
        say_result(run)
        return run
    refuse_unfit(ensemble)
    for number, member in enumerate(members, start=1):
        if not member.run.finished or member.is_ensemble:
            say(f"{request.experiment}, member {number} of {len(members)}: {member.run.path}")
            if train_in_subprocess(member):
                raise ValueError(
                    f"{member.run.path} did not finish; its messages stand above. The same command goes on there"
                )
    fuse(ensemble)
    return run


def changed_since(run: RunFolder, members: Sequence[RunFolder]) -> bool:
    """Whether a member was evaluated after the ensemble was made; one that is no longer there changes nothing."""
    made = run.report.stat().st_mtime_ns
    tables = [member.predictions("test") for member in members]
    return any(table.is_file() and table.stat().st_mtime_ns > made for table in tables)


def refuse_unfit(ensemble: EnsembleExperiment) -> None:
    """Reads the configuration of every model below, so that all of them are known to make an ensemble.

    Raises:
        FileNotFoundError: a member is no experiment.
        ValueError: a setting of one is wrong or not that of its begun run; they are of different data; or a search on
            the inner split would have members that are trained on it.
    """
    first: tuple[Path, dict[str, Any]] | None = None
    searches = ensemble.settings.method.searches and ensemble.settings.selection == "inner"
    for request in model_requests(ensemble.request):
        config, where = read_model(request), request.run.path
        refuse_other_settings(request.run, config)
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
    """What of a model's configuration decides which clips it is trained, chosen and reported on."""
    data = config["data"]
    arguments = {name: value for name, value in data["dataset"]["init_args"].items() if name not in OF_THE_MODEL}
    return {name: data[name] for name in COMPARED if name in data} | {
        "dataset": data["dataset"]["class_path"],
        **arguments,
    }


@rank_zero_only
def fuse(ensemble: EnsembleExperiment) -> None:
    """Makes finished members one, prints what it comes to, and writes the run."""
    settings, run = ensemble.settings, ensemble.request.run
    paths = [member.run.path for member in ensemble.requests()]
    members = read_members(paths, [entry.label for entry in settings.members])
    published = [entry.published for entry in settings.members]
    made = combine(members, settings.method, settings.selection)
    made = made.with_published(published, settings.published)
    print_ensemble(made)
    say(f"report: {write_ensemble(made, run.path, ensemble.plain)}")
