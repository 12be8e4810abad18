"""The result of an ensemble: printed, and written as a run like that of a single model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from data_modules.utils.files import atomic_write
from data_modules.utils.text import counted
from fer_lightning.ensemble.members import EnsembleMember, ensemble_table, probabilities_of
from fer_lightning.ensemble.methods import Fitted, JointFusion, Method
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.comparison import PairedDifference, difference_line, paired_difference
from fer_lightning.evaluation.metrics import METRICS, scores
from fer_lightning.evaluation.predictions import NONE, PredictionTable
from fer_lightning.report.page import write_report
from fer_lightning.report.summary import metric_cells, metric_header, result_lines, summary_line
from fer_lightning.runs.ensemble_record import Part, Record, fusion_path, path_of, per_cent
from fer_lightning.runs.folder import RunFolder, RunInfo

NO_EPOCH = -1  # an ensemble is not trained in epochs
WIDTH = 160


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A combination of several runs with its predictions."""

    members: tuple[EnsembleMember, ...]
    method: Method
    selection: str  # inner, last or best_on_test; see `members.combined_selection`
    fitted: Fitted
    test: PredictionTable
    inner: PredictionTable | None  # cross-fitted if the method is fitted: without the clip's film or subject
    on_searched: PredictionTable | None  # the clips on which the method was fitted, with optimistic results
    problem: str  # why there is no inner table
    published: float | None = None  # the ensemble's accuracy in the paper, per cent

    def with_published(self, members: Sequence[float | None], ensemble: float | None) -> "Ensemble":
        """Returns a copy with the published accuracies, in per cent, of the members and of the ensemble."""
        pairs = zip(self.members, members, strict=True)
        return replace(
            self,
            members=tuple(replace(member, published=published) for member, published in pairs),
            published=ensemble,
        )

    @cached_property
    def best_member(self) -> EnsembleMember:
        """The most accurate member on the reported split; the first by name if several are equally accurate."""
        return min(self.members, key=lambda member: (-int(member.test.correct.sum()), member.name))

    @property
    def gain(self) -> PairedDifference:
        """The difference between the ensemble and its best member on the reported split."""
        return paired_difference(self.test, self.best_member.test)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The members' names in the groups of a joint late fusion; empty for other methods."""
        names = [member.name for member in self.members]
        return self.method.named_groups(names) if isinstance(self.method, JointFusion) else ()

    @cached_property
    def branches(self) -> list[tuple[str, PredictionTable]]:
        """The names and predictions of the branches of a joint late fusion on the reported split."""
        if self.fitted.fusion is None:
            return []
        tables = {member.name: member.test for member in self.members}
        branches = self.fitted.fusion.predict_branches(probabilities_of(tables))
        return [
            (f"branch of group {number}", ensemble_table({name: tables[name] for name in group}, probabilities))
            for number, (group, probabilities) in enumerate(zip(self.groups, branches, strict=True), start=1)
        ]

    def part(self, member: EnsembleMember) -> Part:
        """Returns a member's entry in `ensemble.json`."""
        weights = self.fitted.weights
        group = next((n for n, names in enumerate(self.groups, 1) if member.name in names), None)
        weight = None if weights is None else weights[member.name]
        path, selection = str(member.run.path), member.info.selection
        ends = self.fitted.intervals.get(member.name)
        interval = (ends.low, ends.high) if ends else None
        return Part(member.name, path, selection, weight, group, member.published, interval)

    @property
    def record(self) -> Record:
        """The content of `ensemble.json`."""
        branches = (Part(name, "", self.selection, None, n) for n, (name, _) in enumerate(self.branches, 1))
        parts = (*map(self.part, self.members), *branches)
        return Record(self.method.describe(), self.selection, _describe_inner(self), parts, self.published)

    @property
    def used_members(self) -> list[EnsembleMember]:
        """The members that contribute to predictions: all but those of weight 0."""
        weights = self.fitted.weights
        return [member for member in self.members if weights is None or weights[member.name] > 0]


def print_ensemble(ensemble: Ensemble) -> None:
    """Prints the members with weights, metrics and published accuracies, the confusion matrix, and the gain."""
    console = Console(width=WIDTH, markup=False, highlight=False)
    mark = _selection_note(ensemble)
    console.print(_members_table(ensemble, mark))
    if ensemble.on_searched is not None:
        print(f"on the clips of the search: {summary_line(ensemble.on_searched)}")
    if ensemble.inner is None:
        print(f"no inner table: {ensemble.problem}")
    elif ensemble.inner is not ensemble.test:
        how = ", each clip by a search without its film or subject" if ensemble.on_searched is not None else ""
        print(f"inner split{how}: {summary_line(ensemble.inner)}{mark}")
    for member in ensemble.members:
        left_out = int((member.test.missing & ~ensemble.test.missing).sum())
        if left_out:
            total = counted(len(ensemble.test), "clip")
            print(f"{member.name}: left out in {left_out} of {total}, for which it has no prediction")
    console.print(_confusion_table(ensemble.test, mark))
    result, *warnings = result_lines(ensemble.test)
    print("\n".join((f"reported split: {result}{mark}", *warnings)))
    gain = difference_line(ensemble.gain, "the ensemble", ensemble.best_member.name)
    print(f"gain over the best member, {gain}{mark}")


def _selection_note(ensemble: Ensemble) -> str:
    """Returns the note beside results on clips on which the ensemble or a member was chosen; else nothing."""
    if ensemble.selection != "best_on_test":
        return ""
    searched = ensemble.method.searches
    return f" (best_on_test: {'the ensemble' if searched else 'a member'} was chosen on these very clips)"


def _members_table(ensemble: Ensemble, mark: str) -> Table:
    table = Table(title=f"{ensemble.method.describe()}; reported split{mark}")
    for column in ("member", "weight", "published %", *metric_header(METRICS), "none", "selection"):
        table.add_column(column, justify="left" if column in ("member", "selection") else "right", overflow="fold")
    record, branches = ensemble.record, dict(ensemble.branches)
    tables = {member.name: member.test for member in ensemble.members} | branches
    rows = [
        (part.name, part.share_with_interval, part.published, tables[part.name], part.selection)
        for part in record.parts
    ]
    for name, share, published, predictions, selection in [
        *rows,
        ("ensemble", "", ensemble.published, ensemble.test, ensemble.selection),
    ]:
        if predictions is ensemble.test:
            table.add_section()
        values = metric_cells(predictions, METRICS)
        table.add_row(name, share, per_cent(published), *values, str(int(predictions.missing.sum())), selection)
    return table


def _confusion_table(predictions: PredictionTable, mark: str) -> Table:
    names = (*predictions.class_names, NONE)[: len(predictions.class_names) + int(predictions.missing.any())]
    table = Table(title=f"confusion matrix of the ensemble, true classes in rows, per cent of a row{mark}")
    table.add_column("true")
    for name in ("clips", *names):
        table.add_column(name, justify="right")
    for name, counts in zip(predictions.class_names, scores(predictions).confusion.tolist(), strict=True):
        shares = (f"{100 * count / max(sum(counts), 1):.2f}" for count in counts[: len(names)])
        table.add_row(name, str(sum(counts)), *shares)
    return table


def refuse_other_folder(out: Path, runs: Sequence[Path]) -> None:
    """Refuses to write an ensemble over something else.

    Raises:
        ValueError: the folder is one of the members, or holds something other than an ensemble.
    """
    if out.resolve() in [run.resolve() for run in runs]:
        raise ValueError(f"--out {out} is one of the members; choose another folder for the ensemble")
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not path_of(RunFolder(out)).is_file():
        raise ValueError(f"--out {out} holds something other than an ensemble; choose an empty or new folder")


def write_ensemble(ensemble: Ensemble, out: Path, config: dict[str, object] | None = None) -> Path:
    """Writes an ensemble as a run's folder, with a report.

    The folder holds the configuration, the fitted weights of a joint late fusion, the prediction tables, the members'
    predictions as streams, their list of clips if all have the same, and `run.json`.

    Args:
        ensemble: the ensemble to write.
        out: the folder.
        config: the content of `config.yaml`; None to list the members' folders and the method.

    Returns:
        The path of the report's page.
    """
    run = RunFolder(out)
    run.report.unlink(missing_ok=True)  # an existing report means a complete run
    content = configuration(ensemble) if config is None else config
    atomic_write(run.config, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    ensemble.record.write(run)
    if ensemble.fitted.fusion is None:
        fusion_path(run).unlink(missing_ok=True)  # an earlier ensemble may have left one
    else:
        ensemble.fitted.fusion.write(fusion_path(run))
    ensemble.test.write(run.predictions("test"))
    if ensemble.inner is None:
        run.predictions("inner").unlink(missing_ok=True)  # an earlier ensemble may have left one
    else:
        ensemble.inner.write(run.predictions("inner"))
    outputs_of(ensemble).write(run.outputs("test"))
    _write_clips(run, [member.run for member in ensemble.members])
    run.write_info(info_of(ensemble, out))
    return write_report(run)


def _write_clips(run: RunFolder, members: Sequence[RunFolder]) -> None:
    """Writes the members' list of clips, which holds the annotators' votes, unless some differ in it or have none."""
    lists = {member.clips.read_bytes() if member.clips.exists() else b"" for member in members}
    if len(lists) == 1 and b"" not in lists:
        atomic_write(run.clips, lists.pop())
    else:
        run.clips.unlink(missing_ok=True)  # an earlier ensemble may have left one


def configuration(ensemble: Ensemble) -> dict[str, object]:
    """Returns the content of `config.yaml` for an ensemble of given runs."""
    return {
        "ensemble": {
            "method": ensemble.method.describe(),
            "selection": ensemble.selection + _selection_note(ensemble),
            "members": [str(member.run.path) for member in ensemble.members],
        }
    }


def _describe_inner(ensemble: Ensemble) -> str:
    """Describes the predictions of the inner table."""
    if ensemble.inner is None:
        return f"no table: {ensemble.problem}"
    if ensemble.inner is ensemble.test:
        return "the reported split itself"
    return "as the members'" if ensemble.on_searched is None else "each clip by a search without its film or subject"


def outputs_of(ensemble: Ensemble) -> ClipOutputs:
    """Returns the predictions of members and branches as streams, and those of the members as the clips' features.

    Clips for which no part has a prediction are left out.
    """
    members = [(member.name, member.test) for member in ensemble.members]
    parts = [*members, *ensemble.branches]
    probabilities = np.stack([table.probabilities for _, table in parts], axis=1)  # (N, S, C)
    predicted = ~np.isnan(probabilities).all(axis=(1, 2))
    streams = probabilities[predicted].astype(np.float32)
    return ClipOutputs(
        tuple(ensemble.test.clip_id[predicted].tolist()),
        feature=streams[:, : len(members)].reshape(len(streams), -1),
        frame_index=np.empty((len(streams), 0), np.int64),
        streams=streams,
        stream_names=tuple(name for name, _ in parts),
    )


def info_of(ensemble: Ensemble, out: Path) -> RunInfo:
    """Returns the content of `run.json`; costs are summed over the used members if all of them are known."""
    first, infos = ensemble.members[0].info, [member.info for member in ensemble.used_members]
    operations = [info.multiply_adds for info in infos if info.multiply_adds is not None]
    seconds = [info.seconds_per_clip for info in infos if info.seconds_per_clip is not None]
    same_conditions = len({(info.device, info.precision, info.batch_size) for info in infos}) == 1
    timed = same_conditions and len(seconds) == len(infos)
    return RunInfo(
        experiment=out.resolve().parent.name,
        model=ensemble.method.name,
        dataset=first.dataset,
        class_names=ensemble.test.class_names,
        fold=first.fold,
        seed=int(ensemble.test.seed[0]),
        selection=ensemble.selection,
        epoch=NO_EPOCH,
        store=first.store,
        parameters=sum(info.parameters for info in infos),
        multiply_adds=sum(operations) if len(operations) == len(infos) else None,
        seconds_per_clip=sum(seconds) if timed else None,
        batch_size=infos[0].batch_size if timed else None,
        device=infos[0].device if timed else "",
        precision=infos[0].precision if timed else "",
        seconds=sum(info.seconds for info in infos),
        exclusive_in=first.exclusive_in,
        split_faults=first.split_faults,
        classes_from_stills=first.classes_from_stills,
    )
