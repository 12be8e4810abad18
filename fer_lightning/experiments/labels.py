"""The labels of a run that is asked for, by which Weights & Biases groups and finds it."""

from dataclasses import replace

from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import has_begun
from fer_lightning.runs.labels import RunLabels


def labels_of(request: ExperimentRequest) -> RunLabels:
    """Returns the labels of a request's run; a run that has begun keeps its group and its kind.

    The selection is left empty: it is known when the configuration has been read.

    Raises:
        FileNotFoundError: no experiment has that name.
        ValueError: the run's `labels.json` is damaged.
    """
    kept = RunLabels.read(request.run) if has_begun(request.run) else None
    labels = RunLabels(
        group=request.group or request.experiment,
        job_type=request.job_type,
        system=request.system,
        data=request.dataset,
        size=request.size or request.default_size,
        fold=request.fold,
        seed=request.seed,
        variant=request.name,
    )
    return replace(labels, group=kept.group, job_type=kept.job_type) if kept else labels
