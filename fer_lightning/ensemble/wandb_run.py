"""The run of Weights & Biases for an ensemble, in the group of its members."""

from dataclasses import replace
from pathlib import Path

from fer_lightning.ensemble.result import Ensemble
from fer_lightning.evaluation.metrics import METRICS, Scores, scores
from fer_lightning.runs.ensemble_record import fusion_path, path_of
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.labels import RunLabels
from fer_lightning.training.wandb_summary import summary_logger
from fer_lightning.training.wandb_tables import ShownTable, spread_values


def send_ensemble(ensemble: Ensemble, out: Path, asked: RunLabels) -> None:
    """Keeps the labels of a written ensemble, and makes a W&B run of it if its members have one.

    Args:
        ensemble: the ensemble.
        out: its run's folder.
        asked: its labels; what they leave open is filled in from the members.
    """
    run, labels = RunFolder(out), labels_of_ensemble(ensemble, out, asked)
    labels.write(run)
    logger = summary_logger(out, labels, {member.name: member.run for member in ensemble.members})
    if logger is None:
        return
    logger.log_hyperparams(run.read_config())
    results = {member.name: scores(member.test) for member in ensemble.members}
    logger.log_results(spread_values(list(results.values()), "members"), [members_table(ensemble, results)])
    logger.log_report(run, [path for path in (path_of(run), fusion_path(run)) if path.is_file()])


def labels_of_ensemble(ensemble: Ensemble, out: Path, asked: RunLabels) -> RunLabels:
    """Returns the labels of an ensemble; what is not asked for is what its members have in common."""
    kept = (RunLabels.read(member.run) for member in ensemble.members)
    shared, info = RunLabels.shared(each for each in kept if each), ensemble.members[0].info
    experiment = out.resolve().parent.name
    return replace(
        asked,
        group=asked.group or shared.group or experiment,
        job_type="ensemble",
        system=asked.system or experiment,
        data=asked.data or shared.data or info.dataset,
        size=asked.size or shared.size,
        fold=asked.fold or info.fold,
        seed=int(ensemble.test.seed[0]) if asked.seed is None else asked.seed,
        selection=ensemble.selection,
    )


def members_table(ensemble: Ensemble, results: dict[str, Scores]) -> ShownTable:
    """Returns a row for each member: its share of the ensemble, its selection and its metrics."""
    parts = map(ensemble.part, ensemble.members)
    rows = [
        [part.name, part.share, part.selection, *(results[part.name][metric] for metric in METRICS)] for part in parts
    ]
    return ShownTable("report/members", ("member", "share", "selection", *(metric.name for metric in METRICS)), rows)
