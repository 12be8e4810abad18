"""Runs whose weights another one starts from: on the same data, they have its clips and folds."""

from dataclasses import replace
from typing import Any

from data_modules.datasets.dataset import DatasetNotFoundError, VideoDataset
from data_modules.loading.split_faults import some
from data_modules.manifest import VideoRecord, read_manifest
from data_modules.utils.text import counted
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.datasets import dataset_of
from fer_lightning.experiments.overrides import Override
from fer_lightning.experiments.request import ExperimentRequest, same_people

OWN = ("fold", "faces", "workers")
"""Arguments of a data set that a run does not share with what it starts from; the fold is part of the run's name."""
KINDS = {"clip": "clip_id", "person": "subject", "film": "group"}
"""What must not be both seen and tested -> its column of the manifest."""


def required_request(name: str, user: ExperimentRequest, config: dict[str, Any]) -> ExperimentRequest:
    """Returns the request for a run whose weights another one needs; on the same data set, with its clips and folds.

    Args:
        name: of the run that is needed.
        user: the request of the run that needs it.
        config: the resolved configuration of that run.

    Raises:
        FileNotFoundError: it is a variant that is not trained yet, whose arguments are not known here.
    """
    request = ExperimentRequest.from_run_name(name)
    if request.run.finished:
        return request
    arguments = data_arguments(request, config) if request.dataset == user.dataset else ()
    if request.name:
        raise FileNotFoundError(
            f"run:{name} is not trained yet. It is a variant of {request.experiment}, so its arguments are not known "
            f"here; train it first: fer train {request.experiment} --name {request.name} --fold {request.fold} "
            f"--seed {request.seed}{''.join(f' {argument}' for argument in arguments)} and what it changes"
        )
    return replace(request, arguments=arguments)


def data_arguments(request: ExperimentRequest, config: dict[str, Any]) -> tuple[str, ...]:
    """Returns the arguments of `fer train` that give a run the clips and folds of another one on its data set.

    Args:
        request: of the run.
        config: the resolved configuration of the other one.
    """
    own, wanted = (each["data"]["dataset"]["init_args"] for each in (read_model(request), config))
    differing = {name: value for name, value in wanted.items() if name not in OWN and value != own.get(name)}
    overrides = [Override(f"data.dataset.init_args.{name}", value) for name, value in differing.items()]
    return tuple(argument for override in overrides for argument in override.arguments)


def refuse_seen(request: ExperimentRequest, user: ExperimentRequest, dataset: VideoDataset) -> None:
    """Refuses to start from a run that has seen what is tested; only runs on data of the same people are compared.

    What the run itself is trained on is not compared, as official splits may have people and films in common.

    Args:
        request: of the run to start from.
        user: the request of the run that starts from it.
        dataset: that of `user`, prepared.

    Raises:
        ValueError: the run was, or would be, trained or chosen on clips, people or films that are tested.
    """
    if not same_people(request.dataset, user.dataset):
        return
    before, records = _records(request), dataset.records()
    for kind, column in KINDS.items():
        seen, own = ({getattr(each, column) for each in part if each.split != "test"} for part in (before, records))
        tested = {getattr(each, column) for each in records if each.split == "test"}
        if shared := sorted(tested & seen - own - {""}):
            raise ValueError(
                f"{user.run.path} cannot start from {request.run.path}, which has other clips or folds: it is trained "
                f"or chosen on {counted(len(shared), kind)} that would be tested ({some(shared)}). Train a variant of "
                f"it with these clips and folds, fer train {request.experiment} --name NAME --fold {user.fold} and the "
                "settings of the data set, and start from that; or delete that folder"
            )


def _records(request: ExperimentRequest) -> list[VideoRecord]:
    """Returns the clips of a run, with their splits; those that it would have if it has not begun."""
    run = request.run
    if run.clips.exists():
        return read_manifest(run.clips)
    config = run.read_config() if run.config.exists() else read_model(request)
    dataset = dataset_of(config["data"]["dataset"])
    try:
        return dataset.records() if dataset else []
    except DatasetNotFoundError:  # a finished run does not need its data, and another one says so when it is trained
        return []
