"""What an ensemble comes to: printed, and written as a run like any other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from data_modules.utils.files import atomic_write
from fer_lightning.ensemble.members import Member, ensemble_table, probabilities_of
from fer_lightning.ensemble.methods import Fitted, JointFusion, Method
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.comparison import PairedDifference, difference_line, paired_difference
from fer_lightning.evaluation.metrics import METRICS, scores
from fer_lightning.evaluation.predictions import NONE, PredictionTable
from fer_lightning.report.page import write_report
from fer_lightning.report.summary import metric_cells, metric_header, summary_line
from fer_lightning.runs.ensemble_record import Part, Record, fusion_path, path_of, per_cent
from fer_lightning.runs.folder import RunFolder, RunInfo

NO_EPOCH = -1  # an ensemble is not trained in epochs
WIDTH = 160


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One model of several runs, and what it says."""

    members: tuple[Member, ...]
    method: Method
    selection: str  # inner, last or best_on_test; see `members.combined_selection`
    fitted: Fitted
    test: PredictionTable
    inner: PredictionTable | None  # of a search: each clip by a search without its film or subject
    on_searched: PredictionTable | None  # the clips it was searched on; better than what others would give
    problem: str  # why there is no inner table
    published: float | None = None  # accuracy that the paper gives for the whole, per cent

    def with_published(self, parts: Sequence[float | None], whole: float | None) -> "Ensemble":
        """The same with the accuracies that a paper gives, per cent: of the members in their order, of the whole."""
        pairs = zip(self.members, parts, strict=True)
        members = tuple(replace(member, published=published) for member, published in pairs)
        return replace(self, members=members, published=whole)

    @property
    def best_member(self) -> Member:
        """The member that is most accurate on the reported split, the hardest to beat; ties by name."""
        return min(self.members, key=lambda member: (-int(member.test.correct.sum()), member.name))

    @property
    def gain(self) -> PairedDifference:
        """Over the best member, on the reported split."""
        return paired_difference(self.test, self.best_member.test)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The members' names in the groups of a joint late fusion; other methods have none."""
        names = [member.name for member in self.members]
        return self.method.named(names) if isinstance(self.method, JointFusion) else ()

    @property
    def branches(self) -> list[tuple[str, PredictionTable]]:
        """What each group of a joint late fusion says alone on the reported split, by the group's name."""
        if self.fitted.fusion is None:
            return []
        said = self.fitted.fusion.predict_branches(
            probabilities_of({member.name: member.test for member in self.members})
        )
        return [
            (
                f"branch of group {number}",
                ensemble_table({m.name: m.test for m in self.members if m.name in group}, values),
            )
            for number, (group, values) in enumerate(zip(self.groups, said, strict=True), start=1)
        ]

    def part(self, member: Member) -> Part:
        """A member as `ensemble.json` tells it."""
        weights = self.fitted.weights
        group = next((n for n, names in enumerate(self.groups, 1) if member.name in names), None)
        weight = None if weights is None else weights[member.name]
        path, selection = str(member.run.path), member.info.selection
        return Part(member.name, path, selection, weight, group, member.published)

    @property
    def record(self) -> Record:
        """What `ensemble.json` tells."""
        branches = (Part(name, "", self.selection, None, n) for n, (name, _) in enumerate(self.branches, 1))
        parts = (*map(self.part, self.members), *branches)
        return Record(self.method.describe(), self.selection, _inner(self), parts, self.published)

    @property
    def counted(self) -> list[Member]:
        """The members that have a say."""
        weights = self.fitted.weights
        return [member for member in self.members if weights is None or weights[member.name] > 0]


def print_ensemble(ensemble: Ensemble) -> None:
    """Members and weights, measures beside published ones, the confusion matrix, and the gain over the best member."""
    console = Console(width=WIDTH, markup=False, highlight=False)
    mark = _mark(ensemble)
    console.print(_members_table(ensemble, mark))
    if ensemble.on_searched is not None:
        print(f"where it was searched: {summary_line(ensemble.on_searched)}")
    if ensemble.inner is None:
        print(f"no inner table: {ensemble.problem}")
    elif ensemble.inner is not ensemble.test:
        how = ", each clip by a search without its film or subject" if ensemble.on_searched is not None else ""
        print(f"inner split{how}: {summary_line(ensemble.inner)}{mark}")
    for member in ensemble.members:
        left_out = int((member.test.missing & ~ensemble.test.missing).sum())
        if left_out:
            print(f"{member.name}: left out in {left_out} of {len(ensemble.test)} clips, of which it says nothing")
    console.print(_confusion_table(ensemble.test, mark))
    print(f"reported split: {summary_line(ensemble.test)}{mark}")
    gain = difference_line(ensemble.gain, "the ensemble", ensemble.best_member.name)
    print(f"gain over the best member, {gain}{mark}")


def _mark(ensemble: Ensemble) -> str:
    """What stands wherever a number does that was chosen on what it measures."""
    if ensemble.selection != "best_on_test":
        return ""
    searched = ensemble.method.searches
    return f" (best_on_test: {'the ensemble' if searched else 'a member'} was chosen on these very clips)"


def _members_table(ensemble: Ensemble, mark: str) -> Table:
    table = Table(title=f"{ensemble.method.describe()}; reported split{mark}")
    for column in ("member", "weight", "published %", *metric_header(METRICS), "none", "selection"):
        table.add_column(column, justify="left" if column in ("member", "selection") else "right", overflow="fold")
    record, branches = ensemble.record, dict(ensemble.branches)
    said = {member.name: member.test for member in ensemble.members} | branches
    rows = [(part.name, part.share, part.published, said[part.name], part.selection) for part in record.parts]
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
    """Keeps an ensemble from being written over something else.

    Raises:
        ValueError: the folder is one of the members, or holds what is no ensemble.
    """
    if out.resolve() in [run.resolve() for run in runs]:
        raise ValueError(f"--out {out} is one of the members; give the ensemble a folder of its own")
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not path_of(RunFolder(out)).is_file():
        raise ValueError(f"--out {out} holds something other than an ensemble; give this one a folder of its own")


def write_ensemble(ensemble: Ensemble, out: Path, asked: dict[str, object] | None = None) -> Path:
    """Writes a run's folder: configuration, what was fitted, prediction tables, members as streams, `run.json`, report.

    Args:
        ensemble: what to write.
        out: the folder.
        asked: what `config.yaml` is to say; None for the members' folders and the method.

    Returns the report's page.
    """
    run = RunFolder(out)
    run.report.unlink(missing_ok=True)  # where it is, all of it is
    content = configuration(ensemble) if asked is None else asked
    atomic_write(run.config, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    ensemble.record.write(run)
    if ensemble.fitted.fusion is None:
        fusion_path(run).unlink(missing_ok=True)  # of an earlier ensemble
    else:
        ensemble.fitted.fusion.write(fusion_path(run))
    ensemble.test.write(run.predictions("test"))
    if ensemble.inner is None:
        run.predictions("inner").unlink(missing_ok=True)  # of an earlier ensemble
    else:
        ensemble.inner.write(run.predictions("inner"))
    outputs_of(ensemble).write(run.outputs("test"))
    run.write_info(info_of(ensemble, out))
    return write_report(run)


def configuration(ensemble: Ensemble) -> dict[str, object]:
    """What `config.yaml` says of an ensemble of runs."""
    return {
        "ensemble": {
            "method": ensemble.method.describe(),
            "selection": ensemble.selection + _mark(ensemble),
            "members": [str(member.run.path) for member in ensemble.members],
        }
    }


def _inner(ensemble: Ensemble) -> str:
    """What the inner table is."""
    if ensemble.inner is None:
        return f"no table: {ensemble.problem}"
    if ensemble.inner is ensemble.test:
        return "the reported split itself"
    return "as the members'" if ensemble.on_searched is None else "each clip by a search without its film or subject"


def outputs_of(ensemble: Ensemble) -> ClipOutputs:
    """What each part says, as streams, and the members' probabilities as the clip's feature; clips that any answers."""
    said = [(member.name, member.test) for member in ensemble.members]
    parts = [*said, *ensemble.branches]
    probabilities = np.stack([table.probabilities for _, table in parts], axis=1)  # (N, S, C)
    seen = ~np.isnan(probabilities).all(axis=(1, 2))
    streams = probabilities[seen].astype(np.float32)
    return ClipOutputs(
        tuple(ensemble.test.clip_id[seen].tolist()),
        feature=streams[:, : len(said)].reshape(len(streams), -1),
        frame_index=np.empty((len(streams), 0), np.int64),
        streams=streams,
        stream_names=tuple(name for name, _ in parts),
    )


def info_of(ensemble: Ensemble, out: Path) -> RunInfo:
    """What `run.json` says. Costs are the sums of those of the members that have a say, where all of them are known."""
    first, infos = ensemble.members[0].info, [member.info for member in ensemble.counted]
    operations = [info.multiply_adds for info in infos if info.multiply_adds is not None]
    seconds = [info.seconds_per_clip for info in infos if info.seconds_per_clip is not None]
    alike = len({(info.device, info.precision, info.batch_size) for info in infos}) == 1
    timed = alike and len(seconds) == len(infos)
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
    )
